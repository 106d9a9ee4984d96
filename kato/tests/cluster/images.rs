//! `kato image` at a real registry, with the real door before it: lists of any length, and what is odd in them.

use cluster::identity::{Credential, Key};
use registry_bootstrap::accounts::{Accounts, Holder};
use registry_bootstrap::manifest::{OCI_IMAGE, OCI_INDEX};
use registry_bootstrap::remote::Remote;
use registry_bootstrap::settings::Places;
use serde_json::{Value, json};

use crate::harness::Node;
use crate::registry::Registry;

/// More than the door takes questions of one address at once, and more names than one page of a list has.
const MANY: usize = 250;
const PAGES: usize = 1050;

#[test]
fn a_registry_with_many_repositories_is_listed_to_its_end() {
    let core = Node::core();
    let registry = Registry::of(&core);
    for n in 0..MANY {
        registry.image(&format!("team{}/app{n:04}", n % 7), "1", "amd64");
    }
    let listed = core.json(&["image", "list", "-j"]);
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), MANY);
    for one in listed {
        let (platforms, problem) = (&one["platforms"], &one["problem"]);
        assert_eq!((platforms, problem), (&json!(["linux/amd64"]), &json!("")), "{one}");
    }
}

#[test]
fn all_pages_of_a_list_are_read() {
    let core = Node::core();
    let registry = Registry::of(&core);
    for n in 0..PAGES {
        registry.manifest("app", &format!("tag{n:04}"), "{}");
        registry.manifest(&format!("other{n:04}"), "1", "{}");
    }
    let credential = Credential::load(&core.paths().credential_file()).expect("a credential");
    let key = Key::from_pem(&credential.key).expect("a key").fingerprint();
    let accounts = Accounts::load(&Places::of(&core.paths()).secret()).expect("a secret");
    let account = accounts.of(&Holder::Administrator(credential.name), &key);
    let remote = Remote::new(&registry.location, &credential.ca, Some(account)).expect("a registry");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (all, tags) = runtime.block_on(async { (remote.repositories().await, remote.tags("app").await) });
    assert_eq!(all.expect("a list").len(), PAGES + 1);
    assert_eq!(tags.expect("a list").len(), PAGES);
}

#[test]
fn what_is_odd_is_shown_with_its_problem_and_the_others_as_well() {
    let core = Node::core();
    let registry = Registry::of(&core);
    registry.image("app", "1", "amd64");
    registry.image("app", "9", "arm64");
    registry.manifest("app", "2-broken", "no JSON");
    let unknown = json!({"schemaVersion": 2, "mediaType": "application/x.unknown", "config": {}});
    registry.manifest("app", "3-unknown", &unknown.to_string());
    let old = json!({"schemaVersion": 1, "name": "app", "tag": "4", "architecture": "amd64", "fsLayers": [], "history": [], "signatures": []});
    registry.manifest("app", "4-schema1", &old.to_string());
    let spoilt = registry.image("app", "5-spoilt", "riscv64");
    registry.spoil(
        &spoilt,
        &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).to_string(),
    );
    let config = json!({"mediaType": "x", "size": 1, "digest": format!("sha512:{}", "0a".repeat(64))});
    let sha512 = json!({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": []});
    registry.manifest("app", "6-sha512", &sha512.to_string());

    let output = core.kato(&["image", "list", "-j"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("5 of 7 could not be read"), "{said}");
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for one in all.as_array().expect("a list") {
        let is_odd = one["tag"].as_str().is_some_and(|tag| tag.contains('-'));
        assert_eq!(one["problem"] != "", is_odd, "{one}");
        assert_eq!(one["digest"] == "", is_odd, "{one}");
    }
    assert!(all.to_string().contains("only sha256 is supported"), "{all}");
    let text = core.kato(&["image", "list", "app"]);
    assert_eq!(text.status.code(), Some(6));
    let lines = String::from_utf8_lossy(&text.stdout).into_owned();
    assert_eq!(lines.lines().count(), 8, "{lines}");
}
