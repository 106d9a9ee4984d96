//! What can follow on kato's command line in a cluster, and when the cluster is away.

use std::time::{Duration, Instant};

use crate::harness::{Node, until};

/// What fish is offered for the last of these words, each with what it is, options left out.
fn offered(node: &Node, words: &[&str]) -> String {
    let mut asked = node.command(&[&["--", "kato"], words].concat());
    let output = asked.env("KATO_COMPLETE", "fish").output().expect("kato runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines()
        .filter(|line| !line.starts_with('-'))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn nodes_that_wait_are_offered_by_fingerprint_and_a_store_that_is_away_holds_up_nobody() {
    let core = Node::core();
    let edge = Node::new("edge");
    edge.done(&[
        "node",
        "attach",
        "--name",
        "edge",
        "--no-wait",
        "--ca-fingerprint",
        &core.ca(),
        &core.door(),
    ]);
    let offer = format!("{}\tedge", &edge.fingerprint()[..16]);
    until("the core has heard of the node", || {
        offered(&core, &["node", "pair", ""]).contains(&offer)
    });
    assert_eq!(offered(&core, &["node", "unpair", ""]), "core");
    // Not let in, it knows no names.
    assert_eq!(offered(&edge, &["node", "unpair", ""]), "");
    core.done(&["process", "stop", "config"]);
    let begun = Instant::now();
    assert_eq!(offered(&core, &["node", "unpair", ""]), "");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
