//! A machine that asks a cluster to let it in, and is not yet: it asks when its agent runs, and when it gives up it is a micro
//! cloud and tells nobody the token.

use cluster::identity::Pki;
use cluster::nodes::Kind;

use crate::harness::{Node, until};

#[test]
fn a_node_that_is_attached_without_an_agent_asks_when_one_runs() {
    let core = Node::core();
    let node = Node::new("edge");
    let (ca, door) = (core.ca(), core.door());
    let attach = [
        "node",
        "attach",
        "--name",
        "edge",
        "--ca-fingerprint",
        &ca,
        "--no-start",
        &door,
    ];
    let said = node.done(&attach);
    assert!(
        said.contains(&format!("kato node pair {}", node.fingerprint())),
        "{said}"
    );
    assert_eq!(node.file().kind, Kind::Cluster);
    assert!(node.refused(5, &["process", "list"]).contains("does not run"));
    assert_eq!(core.json(&["node", "pending", "-j"]), serde_json::json!([]));
    // Known by its key before it has asked.
    core.done(&["node", "pair", &node.fingerprint(), "default", "edge1"]);
    node.done(&["start"]);
    until("the node is in", || node.file().name.as_str() == "edge1");
    node.refused(2, &["node", "attach", "--no-start", "--no-wait", &door]);
}

#[test]
fn a_node_that_was_never_let_in_is_detached_and_forgets_its_token() {
    let core = Node::core();
    let node = Node::new("edge");
    let (ca, door) = (core.ca(), core.door());
    node.done(&[
        "node",
        "attach",
        "--name",
        "edge",
        "--ca-fingerprint",
        &ca,
        "--no-wait",
        &door,
    ]);
    assert!(!Pki::new(node.paths().pki()).node_certificate().exists());
    // A token that is kept because the core did not answer.
    node.done(&["stop"]);
    let token = node.paths().pki().join("join-token");
    std::fs::write(&token, "s").expect("the token is kept");
    let detached = node.kato(&["node", "detach"]);
    let said = String::from_utf8_lossy(&detached.stderr);
    assert!(detached.status.success(), "{said}{}", node.logs());
    assert!(said.contains("never let in"), "{said}");
    assert_eq!(node.file().kind, Kind::Micro);
    assert!(!token.exists(), "the token is forgotten");
    assert_eq!(node.done(&["config", "get", "fence", "max_containers"]), "256");
}
