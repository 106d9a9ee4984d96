//! `kato image` at a real registry, with the real door before it: lists of any length, what is odd in them, and what is not
//! let into the configuration.

use std::sync::Arc;

use cluster::config::Name;
use cluster::identity::{Credential, Key, Pki};
use cluster::nodes::registry::Nodes;
use cluster::nodes::report::report_key;
use cluster::nodes::{DockerSettings, NodeFile, Record, Role};
use cluster::store::{Store, Txn};
use registry_bootstrap::accounts::{Accounts, Holder};
use registry_bootstrap::manifest::{DOCKER_INDEX, OCI_IMAGE, OCI_INDEX};
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

/// A DEA of this architecture that the tree knows of.
fn dea(core: &Node, name: &str, architecture: &str) {
    let pki = Pki::new(core.paths().pki());
    let store = Arc::new(core.store_as(&pki.root_certificate(), &pki.root_key(), &pki.ca()));
    let file = NodeFile::micro(&Name::new(name).expect("a name"), DockerSettings::default());
    let mut record = Record::of_node(&file, "test");
    record.roles = vec![Role::Base, Role::Dea];
    record.fingerprint = format!("{:0>64}", record.id.simple().to_string());
    let report = json!({
        "name": name, "at": "2026-11-28T00:00:00Z", "version": "1", "architecture": architecture, "roles": ["base", "dea"],
        "addresses": [], "processes": [], "config_revision": null,
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        Nodes::new(store.clone() as Arc<dyn Store>)
            .add(&record)
            .await
            .expect("a record");
        let put = Txn::new().put(report_key(record.id), report.to_string().into_bytes());
        store.txn(put).await.expect("a report");
    });
}

#[test]
fn every_image_is_checked_before_it_is_configured_wherever_it_stands() {
    let core = Node::core();
    let registry = Registry::of(&core);
    dea(&core, "dea1", "amd64");
    dea(&core, "dea2", "arm64");
    let at = |name: &str| format!("{}/{name}", registry.location);
    let index = |name: &str, architectures: &[&str]| {
        let entries = architectures.iter().map(|architecture| {
            let digest = registry.image(name, &format!("1-{architecture}"), architecture);
            json!({"mediaType": OCI_IMAGE, "size": 1, "digest": digest, "platform": {"architecture": architecture, "os": "linux"}})
        });
        let index = json!({"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": entries.collect::<Vec<_>>()});
        registry.manifest(name, "1", &index.to_string());
        at(&format!("{name}:1"))
    };
    let (both, arm) = (index("both", &["amd64", "arm64"]), index("arm", &["arm64"]));
    let before = core.done(&["config", "set", "fence", "docker/image", &both]);
    let words = format!("{arm} has nothing for the architecture of dea1");

    let list = |names: &[&str]| json!(names).to_string();
    let map = json!({"docker": {"images": [arm]}}).to_string();
    for args in [
        &["fence", "docker/image", &list(&[&arm])] as &[&str],
        &["fence", "docker/images", &list(&[&arm, &at("arm:1-arm64")])],
        &["fence", "docker", &json!({"image": arm}).to_string()],
        &["fence", "/", &map],
        &["-n", "dea1", "fence", "docker/image", &arm],
        // An image that is for another machine is pulled all the same, and what comes after it is not come to.
        &["fence", "docker/image", &list(&[&at("arm:1-arm64"), &both])],
    ] {
        let said = core.refused(3, &[&["config", "set"], args].concat());
        assert!(
            said.contains("has nothing for the architecture of dea1"),
            "{args:?}: {said}"
        );
    }
    assert_eq!(core.done(&["config", "get", "fence", "docker/image"]), before);

    // With something for everybody in the list it is told, and taken; as it is where nobody is meant who lacks it.
    let said = core.said(&["config", "set", "fence", "docker/image", &list(&[&arm, &both])]);
    assert!(said.contains(&words), "{said}");
    core.done(&["config", "set", "-n", "dea2", "fence", "docker/image", &arm]);
    let pushed = core.said(&["config", "push", "fence", "docker/image", &at("none:1")]);
    assert!(pushed.contains("none:1 does not exist"), "{pushed}");

    // A document, and what was configured before, are held to the same.
    core.done(&["config", "set", "--force", "fence", "docker/image", &arm]);
    let revision = core.json(&["config", "history", "-j"])[0]["revision"].to_string();
    let export = core.done(&["data", "export"]);
    core.done(&["config", "set", "fence", "docker/image", &both]);
    let said = core.refused(3, &["config", "rollback", &revision, "fence", "docker/image"]);
    assert!(said.contains(&words), "{said}");
    core.done(&["config", "del", "fence", "docker/image"]);
    let imported = core.kato_with(&export, &["data", "import", "-"]);
    let said = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(imported.status.code() == Some(3) && said.contains(&words), "{said}");
    core.done(&["config", "rollback", "--force", &revision, "fence", "docker/image"]);

    // What the registry serves as this digest is something else.
    let digest = registry.image("app", "1", "amd64");
    let by_digest = at(&format!("app@{digest}"));
    registry.spoil(
        &digest,
        &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).to_string(),
    );
    let said = core.refused(
        3,
        &["config", "set", "fence", "docker/image", &list(&[&both, &by_digest])],
    );
    assert!(said.contains("is not what its digest says"), "{said}");
}
