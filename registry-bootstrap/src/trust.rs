//! What a node's Docker needs to use registries: whom to believe at the cluster's, and accounts at it and at others.
//!
//! Docker reads both files at each use, so that nothing is restarted. The file of accounts is root's own and may have more in
//! it; that stays as it is.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cluster::files;
use cluster::nodes::Paths;
use engine::RegistryAuth;
use serde_json::{Map, Value, json};

use crate::accounts::Holder;
use crate::{Error, Result};

/// The largest file of accounts that is read.
const MAX_FILE: u64 = 1 << 20;

/// Under what Docker keeps the account at the registry that is meant where none is named.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Have Docker believe the registry at `location` by this CA (PEM). Whether that is news.
pub fn believe(paths: &Paths, location: &str, ca: &str) -> Result<bool> {
    let directory = paths.docker_trust().join(location);
    let file = directory.join("ca.crt");
    if files::read_limited(&file, MAX_FILE).is_ok_and(|known| known == ca.as_bytes()) {
        return Ok(false);
    }
    make(&directory, 0o755)?;
    files::write_atomic(&file, ca.as_bytes(), 0o644).map_err(Error::file("write", &file))?;
    Ok(true)
}

/// Have Docker believe the registry at `location` no more.
pub fn forget(paths: &Paths, location: &str) -> Result<()> {
    let directory = paths.docker_trust().join(location);
    match std::fs::remove_file(directory.join("ca.crt")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::file("remove what is believed in", &directory)(error));
        }
        _ => {}
    }
    // What else an administrator put there stays.
    let _ = std::fs::remove_dir(&directory);
    Ok(())
}

/// For whom an account is written.
#[derive(Clone, Copy)]
pub enum For<'a> {
    /// For the node, whose account at the cluster's `own` registry gives way to one of an administrator there, but for the
    /// one that the cluster `refused`.
    Node {
        own: &'a str,
        refused: Option<&'a RegistryAuth>,
    },
    /// For an administrator, who goes before all.
    Administrator,
}

/// Have root's Docker log in with these accounts, by registry; one of `gone` is logged out. Whether that is news.
pub fn log_in(paths: &Paths, who: For<'_>, accounts: &BTreeMap<String, RegistryAuth>, gone: &[String]) -> Result<bool> {
    let path = paths.docker_accounts();
    // The agent and kato may be at it at once.
    let _turn = turn(paths)?;
    let mut whole = read(&path)?;
    let before = whole.clone();
    let auths = whole.entry("auths").or_insert_with(|| json!({}));
    let Value::Object(auths) = auths else {
        return Err(Error::refused(
            format!("{} has accounts in a form that is not known", path.display()),
            "move it away",
        ));
    };
    for registry in gone {
        auths.remove(key(registry));
    }
    for (registry, account) in accounts {
        if !gone.contains(registry) && gives_way(who, registry, account_in(&path, registry).as_ref()) {
            continue;
        }
        let words = BASE64_STANDARD.encode(format!("{}:{}", account.username, account.password));
        auths.insert(key(registry).to_owned(), json!({ "auth": words }));
    }
    if whole == before || (before.is_empty() && accounts.is_empty()) {
        return Ok(false);
    }
    let text = serde_json::to_vec_pretty(&whole).map_err(|error| Error::failed("write Docker's accounts", error))?;
    if let Some(directory) = path.parent() {
        make(directory, 0o700)?;
    }
    files::write_atomic(&path, &text, 0o600).map_err(Error::file("write", &path))?;
    Ok(true)
}

/// The account that root's Docker has at this registry, where it has one that can be read.
pub fn account(paths: &Paths, registry: &str) -> Option<RegistryAuth> {
    account_in(&paths.docker_accounts(), registry)
}

/// Whether this account is one of the cluster's administrators.
pub fn is_administrators(account: &RegistryAuth) -> bool {
    matches!(Holder::of(&account.username), Some(Holder::Administrator(_)))
}

fn gives_way(who: For<'_>, registry: &str, present: Option<&RegistryAuth>) -> bool {
    match (who, present) {
        (For::Node { own, refused }, Some(present)) => {
            registry == own && is_administrators(present) && refused != Some(present)
        }
        _ => false,
    }
}

fn account_in(path: &Path, registry: &str) -> Option<RegistryAuth> {
    match key(registry) {
        DOCKER_HUB => engine::account(path, "any"),
        other => engine::account(path, &format!("{other}/any")),
    }
}

/// Under what Docker keeps the account at this registry.
fn key(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

/// The turn of one who changes the accounts.
fn turn(paths: &Paths) -> Result<File> {
    let path = paths.kato_lib().join("docker-accounts.lock");
    make(&paths.kato_lib(), 0o755)?;
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(Error::file("open", &path))?;
    // Nobody holds it for longer than a file takes to be written.
    file.lock().map_err(Error::file("lock", &path))?;
    Ok(file)
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    let bytes = match files::read_limited(path, MAX_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
        read => read.map_err(Error::file("read", path))?,
    };
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    // Nothing of what is written there goes into a message.
    serde_json::from_slice(&bytes).map_err(|_| {
        let reason = format!("{} is no JSON map, and is left as it is", path.display());
        Error::refused(reason, "move it away")
    })
}

fn make(directory: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(directory);
    made.map_err(Error::file("make", directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn account_of(name: &str) -> RegistryAuth {
        RegistryAuth {
            username: name.to_owned(),
            password: "a:b".to_owned(),
        }
    }

    const NODE: For<'_> = For::Node {
        own: "core:5000",
        refused: None,
    };

    fn place() -> (tempfile::TempDir, Paths) {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::from_root(Some(root.path()));
        (root, paths)
    }

    #[test]
    fn accounts_come_and_go_and_all_else_stays() {
        let (_root, paths) = place();
        let file = paths.docker_accounts();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let own = r#"{"credHelpers": {"gcr.io": "gcloud"}, "auths": {"docker.example": {"auth": "eDp5"}}, "detachKeys": "x"}"#;
        std::fs::write(&file, own).unwrap();
        let ours = BTreeMap::from([("core:5000".to_owned(), account_of("node-1"))]);
        assert!(log_in(&paths, NODE, &ours, &[]).unwrap());
        assert!(!log_in(&paths, NODE, &ours, &[]).unwrap(), "it is no news");
        assert_eq!(account(&paths, "core:5000"), Some(account_of("node-1")));
        assert_eq!(account(&paths, "docker.example").unwrap().username, "x");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(log_in(&paths, NODE, &BTreeMap::new(), &["core:5000".to_owned()]).unwrap());
        let left: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(left, serde_json::from_str::<Value>(own).unwrap());
    }

    #[test]
    fn a_nodes_account_gives_way_to_an_administrators() {
        let (_root, paths) = place();
        let one = |name: &str| BTreeMap::from([("core:5000".to_owned(), account_of(name))]);
        let present = || account(&paths, "core:5000").map(|account| account.username);
        assert!(log_in(&paths, NODE, &one("node-1"), &[]).unwrap());
        assert!(log_in(&paths, For::Administrator, &one("admin-alice"), &[]).unwrap());
        assert!(!log_in(&paths, NODE, &one("node-1"), &[]).unwrap());
        assert_eq!(present().as_deref(), Some("admin-alice"));
        assert!(log_in(&paths, For::Administrator, &BTreeMap::new(), &["core:5000".to_owned()]).unwrap());
        assert!(log_in(&paths, NODE, &one("node-1"), &[]).unwrap());
        assert_eq!(present().as_deref(), Some("node-1"));
    }

    #[test]
    fn an_administrators_account_stays_at_the_clusters_own_registry_while_it_is_one() {
        let (_root, paths) = place();
        let one = |registry: &str, name: &str| BTreeMap::from([(registry.to_owned(), account_of(name))]);
        let present = |registry: &str| account(&paths, registry).map(|account| account.username);
        for registry in ["core:5000", "other:5000"] {
            log_in(&paths, For::Administrator, &one(registry, "admin-alice"), &[]).unwrap();
        }
        assert!(log_in(&paths, NODE, &one("other:5000", "robot"), &[]).unwrap());
        assert_eq!(present("other:5000").as_deref(), Some("robot"));
        let other = account_of("admin-bob");
        for (refused, left) in [(&other, "admin-alice"), (&account_of("admin-alice"), "node-1")] {
            let who = For::Node {
                own: "core:5000",
                refused: Some(refused),
            };
            log_in(&paths, who, &one("core:5000", "node-1"), &[]).unwrap();
            assert_eq!(present("core:5000").as_deref(), Some(left));
        }
    }

    #[test]
    fn dockers_own_registry_has_one_key_under_all_its_names() {
        let (_root, paths) = place();
        for name in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            let robot = BTreeMap::from([(name.to_owned(), account_of("robot"))]);
            assert!(log_in(&paths, NODE, &robot, &[]).unwrap());
            assert_eq!(account(&paths, name), Some(account_of("robot")));
            assert_eq!(
                engine::account(&paths.docker_accounts(), "busybox"),
                Some(account_of("robot"))
            );
            let file = std::fs::read_to_string(paths.docker_accounts()).unwrap();
            assert!(file.contains(r#""https://index.docker.io/v1/""#), "{file}");
            assert!(log_in(&paths, NODE, &BTreeMap::new(), &[name.to_owned()]).unwrap());
            assert_eq!(account(&paths, name), None);
        }
    }

    #[test]
    fn a_file_that_is_not_understood_is_left_alone() {
        let (_root, paths) = place();
        let file = paths.docker_accounts();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        for odd in ["hidden", "[]", r#"{"auths": []}"#] {
            std::fs::write(&file, odd).unwrap();
            let ours = BTreeMap::from([("core:5000".to_owned(), account_of("node-1"))]);
            let error = log_in(&paths, NODE, &ours, &[]).unwrap_err();
            assert_eq!(error.kind(), crate::Kind::Refused);
            assert!(!error.to_string().contains("hidden"));
            assert_eq!(std::fs::read_to_string(&file).unwrap(), odd);
        }
    }

    #[test]
    fn nothing_is_made_where_there_is_nothing_to_say() {
        let (_root, paths) = place();
        assert!(!log_in(&paths, NODE, &BTreeMap::new(), &["core:5000".to_owned()]).unwrap());
        assert!(!paths.docker_accounts().exists());
    }

    #[test]
    fn the_ca_is_where_docker_looks_for_it() {
        let (root, paths) = place();
        assert!(believe(&paths, "core:5000", "CA").unwrap());
        assert!(!believe(&paths, "core:5000", "CA").unwrap());
        let file = root.path().join("etc/docker/certs.d/core:5000/ca.crt");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "CA");
        forget(&paths, "core:5000").unwrap();
        forget(&paths, "core:5000").unwrap();
        assert!(!file.parent().unwrap().exists());
    }
}
