//! A root file system on this node, a tar file or a directory, as an image.
//!
//! The image is named after what the tree looks like (names, sizes, times), so that the same tree is read once and a
//! changed one again.

use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::{Engine, Image};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::{Error, Result, find};

/// Where the names of these images begin.
pub const REPOSITORY: &str = "fence/rootfs";
/// How much of an archive is on its way to the engine at a time, in bytes.
const PIPE: usize = 256 * 1024;

/// The image of this root file system, made if it is not there yet.
pub async fn image_of(engine: &dyn Engine, path: &str) -> Result<Image> {
    let root = PathBuf::from(path);
    let read = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let seen = root.clone();
    let looked = tokio::task::spawn_blocking(move || fingerprint(&seen)).await;
    let (kind, hash) = looked
        .map_err(|_| Error::NotARoot { path: path.to_owned() })?
        .map_err(read)?;
    let name = format!("{REPOSITORY}:{hash}");
    if let Some(image) = find(engine, &name).await? {
        return Ok(image);
    }
    let import = |source| Error::Import {
        path: path.to_owned(),
        source,
    };
    match kind {
        Kind::Tar => {
            let file = tokio::fs::File::open(&root).await.map_err(read)?;
            engine.import(&name, Box::pin(file)).await.map_err(import)
        }
        Kind::Directory => {
            let (writer, reader) = tokio::io::duplex(PIPE);
            let packing = tokio::spawn(pack(root, writer));
            let image = engine.import(&name, Box::pin(reader)).await;
            match (packing.await, image) {
                (Ok(Ok(())), image) => image.map_err(import),
                // The engine gave up first, and packing broke off for want of a reader.
                (Ok(Err(packing)), Err(error)) if packing.kind() == ErrorKind::BrokenPipe => Err(import(error)),
                // What went wrong in packing is the cause of what the engine says.
                (Ok(Err(packing)), _) => {
                    let _ = engine.remove_image(&name).await;
                    Err(read(packing))
                }
                (Err(_), _) => Err(Error::NotARoot { path: path.to_owned() }),
            }
        }
        Kind::Other => Err(Error::NotARoot { path: path.to_owned() }),
    }
}

/// The images made here, with when each was first seen since it was last known to be in use. It is kept in memory, by a
/// clock that nobody sets: what the wall clock says, or an image's own date, makes none of them old. A fence that is
/// started anew begins anew.
#[derive(Debug, Default)]
pub struct Unused {
    since: HashMap<String, Instant>,
}

impl Unused {
    /// Remove those of which no container is made and that were there for more than `age` by `now`. The next container
    /// of the same tree makes its image again.
    pub async fn prune(&mut self, engine: &dyn Engine, age: Duration, now: Instant) -> engine::Result<()> {
        let tags = engine.images().await?.into_iter().flat_map(|image| image.tags);
        let there: BTreeSet<String> = tags.filter(|tag| is_ours(tag)).collect();
        self.since.retain(|name, _| there.contains(name));
        for name in there {
            let since = *self.since.entry(name.clone()).or_insert(now);
            if now.saturating_duration_since(since) <= age {
                continue;
            }
            match engine.remove_image(&name).await {
                Ok(()) => {
                    tracing::info!(name, "removed the image of a root file system that nobody uses");
                    // The same tree may be there again before the next look.
                    self.since.remove(&name);
                }
                // A container is made of it.
                Err(engine::Error::Conflict { .. }) => {
                    self.since.insert(name, now);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_ours(tag: &str) -> bool {
    tag.strip_prefix(REPOSITORY).is_some_and(|rest| rest.starts_with(':'))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tar,
    Directory,
    Other,
}

async fn pack(root: PathBuf, writer: tokio::io::DuplexStream) -> std::io::Result<()> {
    let mut archive = tokio_tar::Builder::new(writer);
    archive.follow_symlinks(false);
    archive.append_dir_all(".", &root).await?;
    let mut writer = archive.into_inner().await?;
    writer.shutdown().await
}

/// What is there, and a name for what it looks like.
fn fingerprint(root: &Path) -> std::io::Result<(Kind, String)> {
    let top = std::fs::metadata(root)?;
    let kind = match () {
        () if top.is_dir() => Kind::Directory,
        () if top.is_file() => Kind::Tar,
        () => Kind::Other,
    };
    let mut hash = Sha256::new();
    hash.update(root.as_os_str().as_encoded_bytes());
    let mut open = vec![root.to_path_buf()];
    while let Some(path) = open.pop() {
        let meta = std::fs::symlink_metadata(&path)?;
        hash.update(path.as_os_str().as_encoded_bytes());
        for number in [
            meta.ino(),
            meta.size(),
            u64::from(meta.mode()),
            u64::from(meta.uid()),
            u64::from(meta.gid()),
        ] {
            hash.update(number.to_le_bytes());
        }
        for number in [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()] {
            hash.update(number.to_le_bytes());
        }
        let follow = path == root && kind == Kind::Directory;
        if meta.is_dir() || follow {
            let mut below: Vec<PathBuf> = std::fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<std::io::Result<_>>()?;
            below.sort();
            open.extend(below);
        }
    }
    let hash: String = hash
        .finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((kind, hash))
}

#[cfg(test)]
mod tests {
    use engine::fake::{Fake, Step};

    use super::*;

    #[test]
    fn a_changed_tree_has_another_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        let (_, before) = fingerprint(dir.path()).unwrap();
        assert_eq!(fingerprint(dir.path()).unwrap().1, before);
        std::fs::write(dir.path().join("a"), "22").unwrap();
        assert_ne!(fingerprint(dir.path()).unwrap().1, before);
    }

    #[tokio::test]
    async fn an_engine_that_gives_up_is_not_taken_for_an_unreadable_tree() {
        let dir = tempfile::tempdir().unwrap();
        // More than is on its way at a time, so that packing is not done when the engine fails.
        std::fs::write(dir.path().join("large"), vec![1; 4 * PIPE]).unwrap();
        let path = dir.path().to_str().unwrap();
        let engine = Fake::new();
        engine.fail_at(Step::Import, 1);
        let error = image_of(&engine, path).await.unwrap_err();
        assert!(matches!(error, Error::Import { .. }), "{error:?}");
        assert!(image_of(&engine, path).await.is_ok());
    }

    #[tokio::test]
    async fn a_root_file_system_waits_for_an_engine_that_is_away() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Fake::new();
        engine.go_down();
        let error = image_of(&engine, dir.path().to_str().unwrap()).await.unwrap_err();
        assert!(error.is_temporary(), "{error:?}");
    }

    /// The names in an archive of what lies in a folder.
    async fn packed(root: &Path) -> std::io::Result<Vec<Vec<u8>>> {
        use futures_util::StreamExt;
        let (writer, reader) = tokio::io::duplex(PIPE);
        let packing = tokio::spawn(pack(root.to_path_buf(), writer));
        let mut entries = tokio_tar::Archive::new(reader).entries()?;
        let mut names = Vec::new();
        while let Some(entry) = entries.next().await {
            names.push(entry?.path_bytes()?.to_vec());
        }
        packing.await.unwrap()?;
        names.sort();
        Ok(names)
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

        #[test]
        fn any_name_is_packed_as_it_is(
            names in proptest::collection::btree_set(proptest::collection::vec(1u8.., 1..250), 1..6),
        ) {
            use std::os::unix::ffi::OsStringExt;
            let dir = tempfile::tempdir().unwrap();
            let mut expected = vec![b"./".to_vec()];
            for name in names {
                let file = PathBuf::from(std::ffi::OsString::from_vec(name.clone()));
                let plain = file.file_name().is_some_and(|last| last.as_encoded_bytes() == name);
                if plain && std::fs::write(dir.path().join(&file), "x").is_ok() {
                    expected.push([b"./", &name[..]].concat());
                }
            }
            expected.sort();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let found = runtime.block_on(packed(dir.path())).unwrap();
            let bare = |names: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
                let strip = |name: Vec<u8>| name.strip_prefix(b"./").map(<[u8]>::to_vec).unwrap_or(name);
                let mut names: Vec<_> = names.into_iter().map(strip).filter(|name| !matches!(&name[..], b"" | b"." | b"/")).collect();
                names.sort();
                names
            };
            proptest::prop_assert_eq!(bare(found), bare(expected));
        }
    }

    #[tokio::test]
    async fn what_is_no_file_does_not_keep_packing_waiting() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("endless")).unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("round")).unwrap();
        let bounded = |packing| tokio::time::timeout(Duration::from_secs(20), packing);
        bounded(packed(dir.path()))
            .await
            .expect("packing waits for ever")
            .unwrap();
        // An archive cannot hold a socket.
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let (writer, mut reader) = tokio::io::duplex(PIPE);
        let reading = tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
        let refused = pack(dir.path().to_path_buf(), writer).await.unwrap_err();
        assert!(refused.to_string().contains("socket"), "{refused}");
        reading.await.unwrap().unwrap();
    }

    #[test]
    fn what_is_missing_is_an_error() {
        assert!(fingerprint(Path::new("/nowhere/at/all")).is_err());
    }

    async fn left(engine: &Fake) -> Vec<String> {
        let images = engine.images().await.unwrap();
        let mut left: Vec<String> = images.into_iter().flat_map(|image| image.tags).collect();
        left.sort();
        left
    }

    #[tokio::test]
    async fn images_that_nobody_used_for_long_go_and_no_others() {
        const AGE: Duration = Duration::from_secs(3600);
        let engine = Fake::new();
        let used = engine.add_image(&format!("{REPOSITORY}:used"));
        // By their own dates all of these are as old, or as young, as the wall clock has it.
        engine.add_image(&format!("{REPOSITORY}:unused"));
        engine.add_image("app:1");
        let spec = engine::ContainerSpec {
            image: used.id.0,
            ..engine::ContainerSpec::default()
        };
        let made = engine.create("one", &spec).await.unwrap();
        let (mut unused, start) = (Unused::default(), Instant::now());
        for seen in [start, start + AGE] {
            unused.prune(&engine, AGE, seen).await.unwrap();
            assert_eq!(left(&engine).await.len(), 3, "none was seen for long enough");
        }
        let later = start + AGE + Duration::from_secs(1);
        unused.prune(&engine, AGE, later).await.unwrap();
        let kept = ["app:1".to_owned(), format!("{REPOSITORY}:used")];
        assert_eq!(left(&engine).await, kept);
        // One that was made again, or whose last container has gone, has its whole time again.
        engine.add_image(&format!("{REPOSITORY}:unused"));
        engine.remove(&made).await.unwrap();
        unused.prune(&engine, AGE, later + AGE).await.unwrap();
        assert_eq!(left(&engine).await.len(), 3);
        unused.prune(&engine, AGE, later + AGE + AGE + AGE).await.unwrap();
        assert_eq!(left(&engine).await, ["app:1"]);
    }
}
