//! A node that is taken out of service: what runs goes on for its time, nothing new is started, and nothing is destroyed.

use tests::harness::{LIMIT, Node, until};

type Story = anyhow::Result<()>;

fn state(node: &Node, handle: &str) -> String {
    let info = node.kato_json(&["container", "info", "-j", handle]);
    info["state"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_node_empties_and_comes_back_into_service() -> Story {
    let node = Node::fence_only();
    for handle in ["web", "job"] {
        let created = [
            "container",
            "create",
            "--handle",
            handle,
            "--start",
            "--",
            "sleep",
            "600",
        ];
        node.kato(&created).ok();
    }
    node.kato(&["node", "retire", "--no-wait", "--timeout", "3600"]).ok();
    until("fence has heard of it", LIMIT, || {
        node.status().ok().filter(|status| !status["retiring"].is_null())
    });
    let refused = node.kato(&["container", "create", "--handle", "new"]).expect_code(3);
    assert!(
        refused.err().contains("this node is being retired"),
        "{}",
        refused.err()
    );
    assert!(refused.err().contains("kato node retire --cancel"), "{}", refused.err());
    let ran = node
        .kato(&["container", "run", "web", "--", "echo", "on"])
        .expect_code(0);
    assert_eq!(ran.out(), "on\n");

    // Neither a fence that is killed nor one that is started ends it, or begins it anew.
    node.kill_fence();
    node.start_fence();
    assert_eq!(
        (state(&node, "web"), state(&node, "job")),
        ("active".into(), "active".into())
    );
    node.kato(&["container", "create", "--handle", "new"]).expect_code(3);

    let done = node.kato(&["node", "retire", "--timeout", "0"]).expect_code(0);
    assert!(done.out().contains("Nothing runs on node"), "{}", done.out());
    assert_eq!(
        (state(&node, "web"), state(&node, "job")),
        ("stopped".into(), "stopped".into())
    );
    assert_eq!(node.containers_in_docker().len(), 2, "none is destroyed");
    node.kato(&["container", "start", "web"]).expect_code(3);

    node.kato(&["node", "retire", "--cancel"]).ok();
    until("fence has heard of it", LIMIT, || {
        node.status().ok().filter(|status| status["retiring"].is_null())
    });
    node.kato(&["container", "create", "--handle", "new"]).ok();
    node.kato(&["container", "start", "web"]).ok();
    assert_eq!(state(&node, "web"), "active");
    Ok(())
}
