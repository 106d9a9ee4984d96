//! Docker's own files, written for it and taken back: what is somebody else's stays.

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
    let own =
        r#"{"credHelpers": {"gcr.io": "gcloud"}, "auths": {"docker.example": {"auth": "eDp5"}}, "detachKeys": "x"}"#;
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

#[test]
fn an_account_that_the_cluster_did_not_give_is_somebody_elses() {
    let (_root, paths) = place();
    assert_eq!(foreign(&paths, "core:5000"), None);
    for (name, expected) in [
        ("bob", Some("bob")),
        ("admin-alice", None),
        ("node-00000000-0000-0000-0000-000000000001", None),
        ("node-1", Some("node-1")),
    ] {
        let all = BTreeMap::from([("core:5000".to_owned(), account_of(name))]);
        log_in(&paths, For::Administrator, &all, &[]).unwrap();
        assert_eq!(foreign(&paths, "core:5000").as_deref(), expected);
    }
    assert_eq!(foreign(&paths, "other:5000"), None);
}

#[test]
fn what_docker_asks_in_place_of_the_file_is_known() {
    let (_root, paths) = place();
    let file = paths.docker_accounts();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let store = |text: &str, registry: &str| {
        std::fs::write(&file, text).unwrap();
        credential_store(&paths, registry)
    };
    let text =
        r#"{"credsStore": "pass", "credHelpers": {"a:1": "gcloud", "b:1": "", "https://index.docker.io/v1/": "hub"}}"#;
    assert_eq!(store(text, "core:5000").as_deref(), Some("credsStore: pass"));
    assert_eq!(store(text, "a:1").as_deref(), Some("credHelpers: gcloud"));
    assert_eq!(store(text, "b:1"), None, "of this one Docker looks into the file");
    assert_eq!(store(text, "docker.io").as_deref(), Some("credHelpers: hub"));
    for none in ["", "{}", "hidden", r#"{"credsStore": ""}"#, r#"{"credsStore": 1}"#] {
        assert_eq!(store(none, "core:5000"), None, "{none}");
    }
}

#[test]
fn a_file_behind_links_is_written_and_the_links_stay() {
    let (root, paths) = place();
    let (file, home) = (paths.docker_accounts(), root.path().join("home"));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("other.json", &file).unwrap();
    std::os::unix::fs::symlink(home.join("real.json"), file.with_file_name("other.json")).unwrap();
    let ours = BTreeMap::from([("core:5000".to_owned(), account_of("bob"))]);
    for text in [None, Some(r#"{"detachKeys": "x"}"#)] {
        if let Some(text) = text {
            std::fs::write(home.join("real.json"), text).unwrap();
        }
        assert!(log_in(&paths, For::Administrator, &ours, &[]).unwrap());
        assert_eq!(account(&paths, "core:5000"), Some(account_of("bob")));
        assert!(file.is_symlink() && file.with_file_name("other.json").is_symlink());
        let real = std::fs::read_to_string(home.join("real.json")).unwrap();
        assert!(real.contains("core:5000") && text.is_none_or(|_| real.contains("detachKeys")));
    }
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let error = log_in(&paths, For::Administrator, &ours, &[]).unwrap_err();
    assert_eq!(error.kind(), crate::Kind::Refused);
}
