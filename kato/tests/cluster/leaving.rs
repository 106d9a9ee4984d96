//! A machine that asked a cluster to let it in, and gives up before it was: it is a micro cloud, and tells nobody the token.

use cluster::identity::Pki;
use cluster::nodes::Kind;

use crate::harness::Node;

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
