//! Manifests in a registry's directory that nothing names: no tag, no index that has one, no configuration. Forgotten, their
//! content is the collector's to take. Only for a registry that is stopped.
//!
//! Where a tag or an index cannot be read, it is not known what it names: that repository stays as it is, and is told.
//!
//! ```text
//! docker/registry/v2/repositories/NAME/_manifests/revisions/sha256/HEX/link   a manifest of this repository
//!                                     /_manifests/tags/TAG/current/link       what a tag names
//!                    blobs/sha256/HH/HEX/data                                 the content of both
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cluster::files;
use serde::Deserialize;

use crate::{Error, Result, manifest};

/// The largest manifest, as registries have it, and the longest link.
const MAX_MANIFEST: u64 = 4 << 20;
const MAX_LINK: u64 = 256;
/// How deep the parts of a repository's name may lie.
const MAX_DEPTH: usize = 32;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// What was forgotten, as `repository@digest`.
    pub forgotten: Vec<String>,
    /// Which repositories stay as they are, each with why.
    pub unclear: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
}

/// What names something, as far as that can be told.
enum Named {
    These(BTreeSet<String>),
    Unclear(String),
}

/// Forget them, but for those `in_use`.
pub fn forget(data: &Path, in_use: &BTreeSet<String>) -> Result<Forgotten> {
    let top = data.join("docker/registry/v2");
    let mut all = Vec::new();
    repositories(&top.join("repositories"), 0, &mut all)?;
    let mut done = Forgotten::default();
    for repository in all {
        let name = repository.strip_prefix(top.join("repositories")).unwrap_or(&repository);
        let revisions = repository.join("_manifests/revisions/sha256");
        let revisions = entries(&revisions)?.into_iter();
        let revisions: BTreeMap<String, PathBuf> = revisions
            .map(|path| (format!("sha256:{}", file_name(&path)), path))
            .collect();
        match named(&top, &repository, &revisions, in_use)? {
            Named::Unclear(why) => done.unclear.push(format!("{}: {why}", name.display())),
            Named::These(named) => {
                for (digest, revision) in revisions.iter().filter(|(digest, _)| !named.contains(*digest)) {
                    fs::remove_dir_all(revision).map_err(Error::file("forget the manifest in", revision))?;
                    done.forgotten.push(format!("{}@{digest}", name.display()));
                }
            }
        }
    }
    done.forgotten.sort_unstable();
    done.unclear.sort_unstable();
    Ok(done)
}

/// The digests of a repository that something names.
fn named(
    top: &Path,
    repository: &Path,
    revisions: &BTreeMap<String, PathBuf>,
    in_use: &BTreeSet<String>,
) -> Result<Named> {
    let mut waiting: Vec<String> = in_use
        .iter()
        .filter(|digest| revisions.contains_key(*digest))
        .cloned()
        .collect();
    for tag in entries(&repository.join("_manifests/tags"))? {
        match link(&tag.join("current/link"))? {
            Link::None => {}
            Link::To(digest) => waiting.push(digest),
            Link::Odd => return Ok(Named::Unclear(format!("its tag {} leads nowhere", file_name(&tag)))),
        }
    }
    let mut named = BTreeSet::new();
    while let Some(digest) = waiting.pop() {
        if !named.insert(digest.clone()) {
            continue;
        }
        let Some(inner) = inner(top, &digest)? else {
            return Ok(Named::Unclear(format!("what it has as {digest} is not that")));
        };
        // What an index names and the repository does not have is at another place, or nowhere.
        waiting.extend(inner.into_iter().filter(|digest| revisions.contains_key(digest)));
    }
    Ok(Named::These(named))
}

/// Where a tag leads.
enum Link {
    None,
    To(String),
    Odd,
}

fn link(path: &Path) -> Result<Link> {
    match files::read_limited(path, MAX_LINK) {
        Ok(text) => {
            let text = String::from_utf8_lossy(&text);
            let digest = text.trim();
            Ok(match manifest::is_digest(digest) {
                true => Link::To(digest.to_owned()),
                false => Link::Odd,
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Link::None),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(Link::Odd),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// The digests in a manifest, which are none where it is no index; `None` where it is not what it should be.
fn inner(top: &Path, digest: &str) -> Result<Option<Vec<String>>> {
    let path = blob(top, digest);
    let content = match files::read_limited(&path, MAX_MANIFEST) {
        Ok(content) => content,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge) => return Ok(None),
        // Rather nothing is collected than too much.
        Err(error) => return Err(Error::file("read", &path)(error)),
    };
    if manifest::digest(&content) != digest {
        return Ok(None);
    }
    let Ok(index) = serde_json::from_slice::<Index>(&content) else {
        return Ok(None);
    };
    let digests: Vec<String> = index.manifests.into_iter().map(|entry| entry.digest).collect();
    let all_good = digests.iter().all(|digest| manifest::is_digest(digest));
    Ok(all_good.then_some(digests))
}

/// Where content of this digest, which is one, is.
fn blob(top: &Path, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    let first: String = hex.chars().take(2).collect();
    top.join("blobs/sha256").join(first).join(hex).join("data")
}

/// The directories of repositories: those that have manifests. Their names have parts, so they lie in each other.
fn repositories(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    for path in entries(directory)? {
        match file_name(&path).as_str() {
            "_manifests" => found.push(directory.to_path_buf()),
            name if name.starts_with('_') => {}
            _ if path.is_dir() => repositories(&path, depth + 1, found)?,
            _ => {}
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(Error::file("list", directory))?,
    };
    let paths: io::Result<Vec<PathBuf>> = listed.map(|entry| entry.map(|entry| entry.path())).collect();
    paths.map_err(Error::file("list", directory))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A registry's directory.
    struct Bench(tempfile::TempDir);

    impl Bench {
        fn new() -> Self {
            Bench(tempfile::tempdir().unwrap())
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join("docker/registry/v2").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A manifest of a repository; its digest.
        fn manifest(&self, repository: &str, content: &str) -> String {
            let digest = manifest::digest(content.as_bytes());
            let hex = digest.replace("sha256:", "");
            self.write(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]), content);
            let revision = format!("repositories/{repository}/_manifests/revisions/sha256/{hex}/link");
            self.write(&revision, &digest);
            digest
        }

        fn tag(&self, repository: &str, tag: &str, digest: &str) {
            let link = format!("repositories/{repository}/_manifests/tags/{tag}/current/link");
            self.write(&link, digest);
        }

        fn forget(&self, in_use: &[&str]) -> Forgotten {
            let in_use = in_use.iter().map(|digest| (*digest).to_owned()).collect();
            forget(self.0.path(), &in_use).unwrap()
        }
    }

    fn index(digests: &[&str]) -> String {
        let entries: Vec<String> = digests
            .iter()
            .map(|digest| format!(r#"{{"digest": "{digest}"}}"#))
            .collect();
        format!(r#"{{"manifests": [{}]}}"#, entries.join(","))
    }

    #[test]
    fn what_nothing_names_is_forgotten_and_nothing_else() {
        let bench = Bench::new();
        let inner = bench.manifest("team/app", r#"{"n": 1}"#);
        let elsewhere = manifest::digest(b"of another registry");
        let top = bench.manifest("team/app", &index(&[&inner, &elsewhere]));
        let old = bench.manifest("team/app", r#"{"n": 2}"#);
        let used = bench.manifest("team/app", r#"{"n": 3}"#);
        let other = bench.manifest("team", r#"{"n": 4}"#);
        bench.tag("team/app", "latest", &top);
        let mut expected = vec![format!("team/app@{old}"), format!("team@{other}")];
        expected.sort_unstable();
        let done = bench.forget(&[&used, &elsewhere]);
        assert_eq!((done.forgotten, done.unclear), (expected, Vec::new()));
        assert_eq!(bench.forget(&[&used]), Forgotten::default());
    }

    #[test]
    fn a_repository_of_which_something_cannot_be_read_stays_as_it_is() {
        let lost = manifest::digest(b"nowhere");
        let sha512 = format!("sha512:{}", "0a".repeat(64));
        for link in ["", "nonsense", &lost, &sha512, &"x".repeat(1000)] {
            let bench = Bench::new();
            bench.manifest("app", r#"{"n": 1}"#);
            bench.tag("app", "latest", link);
            let old = bench.manifest("other", r#"{"n": 2}"#);
            let done = bench.forget(&[]);
            assert_eq!(done.forgotten, [format!("other@{old}")], "{link}");
            assert!(done.unclear[0].starts_with("app: "), "{done:?}");
        }
        let odd = [
            index(&["nonsense"]),
            index(&[&sha512]),
            r#"{"manifests": "x"}"#.to_owned(),
            r#"{"manifests": [{}]}"#.to_owned(),
            "no JSON".to_owned(),
        ];
        for content in odd {
            let bench = Bench::new();
            bench.manifest("app", r#"{"n": 1}"#);
            let top = bench.manifest("app", &content);
            bench.tag("app", "latest", &top);
            let done = bench.forget(&[]);
            assert_eq!((done.forgotten.len(), done.unclear.len()), (0, 1), "{content}");
        }
    }

    #[test]
    fn an_index_that_was_spoilt_names_what_nobody_knows() {
        let bench = Bench::new();
        bench.manifest("app", r#"{"n": 1}"#);
        let top = bench.manifest("app", &index(&[]));
        bench.tag("app", "latest", &top);
        let hex = top.replace("sha256:", "");
        bench.write(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]), "{}");
        let done = bench.forget(&[]);
        assert_eq!((done.forgotten.len(), done.unclear.len()), (0, 1));
    }

    #[test]
    fn an_empty_registry_has_nothing_to_forget() {
        assert_eq!(Bench::new().forget(&[]), Forgotten::default());
    }
}
