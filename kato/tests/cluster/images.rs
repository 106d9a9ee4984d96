//! `kato image` at a real registry, with the real door before it: lists of any length.

use cluster::identity::{Credential, Key};
use registry_bootstrap::accounts::{Accounts, Holder};
use registry_bootstrap::remote::Remote;
use registry_bootstrap::settings::Places;
use serde_json::json;

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
        assert_eq!(one["platforms"], json!(["linux/amd64"]), "{one}");
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
