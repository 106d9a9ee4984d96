//! An image of Debian's registry, for a core that reaches no other registry: the program and the libraries it needs, and
//! nothing else. Its name has the hash of what is in it, so that it is made once. One that is run by hand has its settings
//! in it as well; what these are is [`crate::by_hand`]'s to say.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use engine::{BuildSpec, Engine, Image};
use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tar::{Builder, EntryType, Header};

use crate::settings::{DATA_INSIDE, PORT_INSIDE, SETTINGS_INSIDE};
use crate::{Error, Result};

/// Where Debian's package `docker-registry` has it.
pub const PROGRAM: &str = "/usr/bin/docker-registry";
/// Debian starts a service of it at once, at the port that the cluster's is to have.
const INSTALL: &str = "apt-get install docker-registry && systemctl disable --now docker-registry";
pub(crate) const DISABLE: &str = "systemctl disable --now docker-registry";
/// What it is called inside: as in the image `registry:2`.
pub const INSIDE: &str = "/bin/registry";
/// The largest program and library that are packed.
const MAX_FILE: u64 = 256 << 20;
/// How long the dynamic linker may take to tell what the program needs.
const LINKER: Duration = Duration::from_secs(10);
/// How long systemd may take to tell of a unit.
const SYSTEMD: Duration = Duration::from_secs(5);
/// What the recipe is called in the context of a build.
const RECIPE: &str = "Dockerfile";
const ATTEMPT: &str = "pack a registry of this machine into an image";

/// A file of an image.
pub(crate) struct Inside {
    /// Where it is there.
    pub path: PathBuf,
    /// What is in it.
    pub content: Vec<u8>,
    /// Who may do what with it.
    pub mode: u32,
}

/// The image made of the program at `program`; made now where it is not there.
pub async fn image(engine: &dyn Engine, program: &Path) -> Result<Image> {
    let files = files(program).await?;
    let (archive, name) = (archive(&files).await?, name(&files));
    match engine.image(&name).await {
        Err(error) if error.is_not_found() => {}
        found => return found.map_err(Error::engine(format!("look for the image {name}"))),
    }
    let tar = Box::pin(Cursor::new(archive));
    engine.import(&name, tar).await.map_err(Error::engine(ATTEMPT))
}

/// A new image of this name, made of the program and `settings`, that serves when it is started without a further word.
pub(crate) async fn with_settings(
    engine: &dyn Engine,
    program: &Path,
    name: &str,
    settings: Vec<Inside>,
) -> Result<Image> {
    let mut files = files(program).await?;
    files.extend(settings);
    let recipe = format!(
        "FROM scratch\nCOPY root /\nVOLUME {DATA_INSIDE}\nEXPOSE {PORT_INSIDE}\n\
         CMD [\"{INSIDE}\", \"serve\", \"{SETTINGS_INSIDE}/config.yml\"]\n"
    );
    let context = context(&files, &recipe).await?;
    let spec = BuildSpec {
        name: name.to_owned(),
        dockerfile: RECIPE.to_owned(),
        ..BuildSpec::default()
    };
    let (said, _) = mpsc::channel(1);
    let built = engine.build(&spec, Box::pin(Cursor::new(context)), said).await;
    built.map_err(Error::engine(ATTEMPT))
}

/// Whether Debian's own service of it runs; not, where nobody can tell.
pub(crate) async fn service_is_active() -> bool {
    let mut command = Command::new("systemctl");
    command.args(["is-active", "--quiet", "docker-registry.service"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let told = timeout(SYSTEMD, command.kill_on_drop(true).status()).await;
    matches!(told, Ok(Ok(status)) if status.success())
}

/// The program and what it needs.
async fn files(program: &Path) -> Result<Vec<Inside>> {
    if !program.is_file() {
        let reason = format!("there is no {} to make a registry of", program.display());
        return Err(Error::refused(reason, INSTALL));
    }
    let mut all = vec![(program.to_path_buf(), PathBuf::from(INSIDE))];
    for library in libraries(program).await? {
        all.push((library.clone(), library));
    }
    let read = |(from, path): (PathBuf, PathBuf)| {
        let content = cluster::files::read_limited(&from, MAX_FILE).map_err(Error::file("read", &from))?;
        Ok(Inside {
            path,
            content,
            mode: 0o755,
        })
    };
    all.into_iter().map(read).collect()
}

/// What the program is linked with, as the dynamic linker says; nothing where it is static.
async fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let mut command = Command::new("ldd");
    command.arg(program).stdin(Stdio::null()).kill_on_drop(true);
    let said = match timeout(LINKER, command.output()).await {
        Ok(said) => said.map_err(|error| Error::failed(ATTEMPT, format!("ldd cannot be run: {error}")))?,
        Err(_) => return Err(Error::failed(ATTEMPT, "ldd did not end")),
    };
    Ok(linked(&String::from_utf8_lossy(&said.stdout)))
}

/// The files in what `ldd` says: `NAME => FILE (ADDRESS)`, and the linker itself without a name.
fn linked(said: &str) -> Vec<PathBuf> {
    let file = |line: &str| {
        let line = line.trim();
        let rest = line.split_once("=> ").map_or(line, |(_, file)| file);
        let file = rest.split_whitespace().next()?;
        file.starts_with('/').then(|| PathBuf::from(file))
    };
    said.lines().filter_map(file).collect()
}

/// A root file system with these files.
async fn archive(files: &[Inside]) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    append(&mut tar, "", files).await?;
    tar.into_inner().await.map_err(failed)
}

/// The same below `root`, and a recipe beside it.
async fn context(files: &[Inside], recipe: &str) -> Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    append(&mut tar, "root/", files).await?;
    let mut header = header(EntryType::Regular, 0o644, recipe.len() as u64);
    let appended = tar.append_data(&mut header, RECIPE, recipe.as_bytes()).await;
    appended.map_err(failed)?;
    tar.into_inner().await.map_err(failed)
}

fn failed(error: std::io::Error) -> Error {
    Error::failed(ATTEMPT, error)
}

/// Each at its place below `above`, and the directories that the program needs.
async fn append(tar: &mut Builder<Vec<u8>>, above: &str, files: &[Inside]) -> Result<()> {
    for directory in [
        "tmp/",
        "etc/",
        "var/",
        "var/lib/",
        "var/lib/registry/",
        "etc/fence-registry/",
    ] {
        let mut header = header(EntryType::Directory, 0o755, 0);
        tar.append_data(&mut header, format!("{above}{directory}"), tokio::io::empty())
            .await
            .map_err(failed)?;
    }
    for file in files {
        let mut header = header(EntryType::Regular, file.mode, file.content.len() as u64);
        let inside = Path::new(above).join(file.path.strip_prefix("/").unwrap_or(&file.path));
        tar.append_data(&mut header, inside, file.content.as_slice())
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// What an image of these files is called.
fn name(files: &[Inside]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.path.as_os_str().as_encoded_bytes());
        hash.update(&file.content);
    }
    let hash = hash.finalize();
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("fence/registry:{hash}")
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::fake::{Fake, Step};

    #[test]
    fn the_linkers_words_are_understood() {
        let said = "\tlinux-vdso.so.1 (0x00007fcb)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t\
                    /lib64/ld-linux-x86-64.so.2 (0x00007fcb)\n";
        assert_eq!(
            linked(said),
            [
                Path::new("/lib/x86_64-linux-gnu/libc.so.6"),
                Path::new("/lib64/ld-linux-x86-64.so.2")
            ]
        );
        assert!(linked("\tnot a dynamic executable\n").is_empty());
    }

    #[tokio::test]
    async fn it_is_made_once() {
        let fake = Fake::new();
        let program = Path::new("/bin/busybox");
        let made = image(&fake, program).await.unwrap();
        assert_eq!(image(&fake, program).await.unwrap().id, made.id);
        assert_eq!(fake.calls(Step::Import), 1);
        assert!(made.tags[0].starts_with("fence/registry:"), "{made:?}");
        let other = image(&fake, Path::new("/bin/true")).await.unwrap();
        assert_ne!(other.id, made.id);
    }

    #[tokio::test]
    async fn a_context_has_the_recipe_beside_all_files() {
        let file = Inside {
            path: PathBuf::from("/etc/fence-registry/tls.key"),
            content: b"key".to_vec(),
            mode: 0o600,
        };
        let context = context(&[file], "FROM scratch\n").await.unwrap();
        let mut archive = tokio_tar::Archive::new(context.as_slice());
        let mut entries = archive.entries().unwrap();
        let mut found = Vec::new();
        while let Some(entry) = futures_util::StreamExt::next(&mut entries).await {
            let entry = entry.unwrap();
            found.push((
                entry.path().unwrap().display().to_string(),
                entry.header().mode().unwrap(),
            ));
        }
        assert!(found.contains(&("Dockerfile".to_owned(), 0o644)), "{found:?}");
        let key = "root/etc/fence-registry/tls.key".to_owned();
        assert!(found.contains(&(key, 0o600)), "{found:?}");
    }

    #[tokio::test]
    async fn what_is_missing_is_said() {
        let error = image(&Fake::new(), Path::new("/nowhere")).await.unwrap_err();
        assert_eq!(error.hint(), INSTALL);
    }
}
