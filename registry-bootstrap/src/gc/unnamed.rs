//! Manifests in a registry's directory that nothing names: no tag, no index that has one, no configuration. Forgotten, their
//! content is the collector's to take. Only for a registry that is stopped.
//!
//! ```text
//! docker/registry/v2/repositories/NAME/_manifests/revisions/sha256/HEX/link   a manifest of this repository
//!                                     /_manifests/tags/TAG/current/link       what a tag names
//!                    blobs/sha256/HH/HEX/data                                 the content of both
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cluster::files;
use serde::Deserialize;

use crate::{Error, Result};

/// The largest manifest, as registries have it.
const MAX_MANIFEST: u64 = 4 << 20;
/// How deep the parts of a repository's name may lie.
const MAX_DEPTH: usize = 32;

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
}

/// Forget them, but for those `in_use`; which they were, as `repository@digest`.
pub fn forget(data: &Path, in_use: &BTreeSet<String>) -> Result<Vec<String>> {
    let top = data.join("docker/registry/v2");
    let mut all = Vec::new();
    repositories(&top.join("repositories"), 0, &mut all)?;
    let mut forgotten = Vec::new();
    for repository in all {
        let name = repository.strip_prefix(top.join("repositories")).unwrap_or(&repository);
        let named = named(&top, &repository, in_use)?;
        let revisions = repository.join("_manifests/revisions/sha256");
        for revision in entries(&revisions)? {
            let digest = format!("sha256:{}", file_name(&revision));
            if !named.contains(&digest) {
                fs::remove_dir_all(&revision).map_err(Error::file("forget the manifest in", &revision))?;
                forgotten.push(format!("{}@{digest}", name.display()));
            }
        }
    }
    forgotten.sort_unstable();
    Ok(forgotten)
}

/// The digests of a repository that something names.
fn named(top: &Path, repository: &Path, in_use: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let mut waiting: Vec<String> = in_use.iter().cloned().collect();
    for tag in entries(&repository.join("_manifests/tags"))? {
        let link = tag.join("current/link");
        match files::read_limited(&link, 256) {
            Ok(digest) => waiting.push(String::from_utf8_lossy(&digest).trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file("read", &link)(error)),
        }
    }
    let mut named = BTreeSet::new();
    while let Some(digest) = waiting.pop() {
        let Some(path) = blob(top, &digest) else { continue };
        if !named.insert(digest) {
            continue;
        }
        match files::read_limited(&path, MAX_MANIFEST) {
            // What is no index names no others.
            Ok(content) => {
                let index = serde_json::from_slice::<Index>(&content);
                waiting.extend(
                    index
                        .into_iter()
                        .flat_map(|index| index.manifests)
                        .map(|entry| entry.digest),
                );
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Rather nothing is collected than too much.
            Err(error) => return Err(Error::file("read", &path)(error)),
        }
    }
    Ok(named)
}

fn blob(top: &Path, digest: &str) -> Option<PathBuf> {
    let hex = digest.strip_prefix("sha256:")?;
    let good = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then(|| top.join("blobs/sha256").join(&hex[..2]).join(hex).join("data"))
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

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn manifest(data: &Path, repository: &str, n: u8, content: &str) {
        let top = data.join("docker/registry/v2");
        write(blob(&top, &digest(n)).unwrap(), content);
        let hex = digest(n).replace("sha256:", "");
        let revision = format!("repositories/{repository}/_manifests/revisions/sha256/{hex}/link");
        write(top.join(revision), &digest(n));
    }

    fn tag(data: &Path, repository: &str, tag: &str, n: u8) {
        let link = format!("docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}/current/link");
        write(data.join(link), &digest(n));
    }

    #[test]
    fn what_nothing_names_is_forgotten_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let index = format!(
            r#"{{"manifests": [{{"digest": "{}"}}, {{"digest": "nonsense"}}]}}"#,
            digest(2)
        );
        manifest(data, "team/app", 1, &index);
        manifest(data, "team/app", 2, "{}");
        manifest(data, "team/app", 3, "{}");
        manifest(data, "team/app", 4, "{}");
        manifest(data, "team", 5, "{}");
        tag(data, "team/app", "latest", 1);
        let in_use = BTreeSet::from([digest(4)]);
        let forgotten = forget(data, &in_use).unwrap();
        assert_eq!(
            forgotten,
            [format!("team/app@{}", digest(3)), format!("team@{}", digest(5))]
        );
        assert!(forget(data, &in_use).unwrap().is_empty());
    }

    #[test]
    fn an_empty_registry_has_nothing_to_forget() {
        let folder = tempfile::tempdir().unwrap();
        assert!(forget(folder.path(), &BTreeSet::new()).unwrap().is_empty());
    }
}
