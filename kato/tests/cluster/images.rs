//! `kato image` at a real registry, with the real door before it: lists of any length.

use serde_json::json;

use crate::harness::Node;
use crate::registry::Registry;

/// More than the door takes questions of one address at once.
const MANY: usize = 250;

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
