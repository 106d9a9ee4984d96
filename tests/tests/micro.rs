//! A micro cloud: set up, its processes started, stopped and kept running, told apart where something is wrong.

use std::time::Duration;

use serde_json::Value;
use tests::harness::{LIMIT, Node, is_alive, kill_hard, until};

type Story = anyhow::Result<()>;

/// The pid of a process of the node, as `kato process list` shows it.
fn pid_of(node: &Node, process: &str) -> Option<i32> {
    let listed = node.kato_json(&["process", "list", "-j", process]);
    listed[0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())
}

fn state_of(node: &Node, process: &str) -> Value {
    node.kato_json(&["process", "list", "-j", process])[0]["state"].clone()
}

#[test]
fn setting_up_twice_is_like_setting_up_once() -> Story {
    let node = Node::bare();
    node.kato(&["node", "setup", "micro"]).ok();
    node.kato(&["process", "ready", "--block", "60", "fence"]).ok();
    let handle = node.kato(&["container", "create", "--start"]).ok().trim().to_owned();
    let before = (
        node.id(),
        pid_of(&node, "agent"),
        pid_of(&node, "fence"),
        node.first_pid(&handle),
    );
    assert!(before.1.is_some() && before.2.is_some(), "{before:?}");
    node.kato(&["node", "setup", "micro"]).ok();
    let after = (
        node.id(),
        pid_of(&node, "agent"),
        pid_of(&node, "fence"),
        node.first_pid(&handle),
    );
    assert_eq!(after, before);
    Ok(())
}

#[test]
fn before_it_is_set_up_every_command_says_so() -> Story {
    let node = Node::bare();
    for args in [
        &["status"][..],
        &["container", "list"],
        &["config", "get", "fence", "docker/image"],
        &["process", "list"],
    ] {
        let said = node.kato(args);
        assert_ne!(said.code, 0, "kato {args:?}: {}", said.out());
        assert!(
            said.err().contains("kato node setup micro"),
            "kato {args:?}: {}",
            said.err()
        );
        assert_eq!(said.out(), "", "kato {args:?}");
    }
    Ok(())
}

#[test]
fn ready_waits_and_says_ready() -> Story {
    let node = Node::micro();
    assert_eq!(node.kato(&["process", "ready", "fence"]).ok().trim(), "READY");
    assert_eq!(
        node.kato(&["process", "ready", "--block", "30", "all"]).ok().trim(),
        "READY"
    );
    node.kato(&["process", "stop", "fence"]).ok();
    let waited = node.kato(&["process", "ready", "--block", "1", "fence"]).expect_code(5);
    assert!(
        !waited.out().contains("READY\n") || waited.out().contains("NOT"),
        "{}",
        waited.out()
    );
    assert_eq!(state_of(&node, "fence"), "STOPPED");
    node.kato(&["process", "start", "fence"]).ok();
    assert_eq!(
        node.kato(&["process", "ready", "--block", "30", "fence"]).ok().trim(),
        "READY"
    );
    Ok(())
}

#[test]
fn a_process_that_dies_is_started_again() -> Story {
    let node = Node::micro();
    let handle = node.kato(&["container", "create", "--start"]).ok().trim().to_owned();
    let (fence, first) = (node.fence_pid(), node.first_pid(&handle));
    kill_hard(fence);
    until("another fence is ready", LIMIT, || {
        node.status()
            .ok()
            .filter(|status| status["ready"] == true && status["pid"] != fence)
    });
    assert!(is_alive(first) && node.first_pid(&handle) == first, "the container");
    Ok(())
}

#[test]
fn a_new_agent_finds_what_the_old_one_left() -> Story {
    let node = Node::micro();
    let (agent, fence) = (pid_of(&node, "agent").unwrap_or(0), node.fence_pid());
    kill_hard(agent);
    until("the agent is gone", LIMIT, || (!is_alive(agent)).then_some(()));
    assert!(is_alive(fence), "fence does not depend on the agent's life");
    node.kato(&["start"]).ok();
    until("the new agent knows fence", LIMIT, || {
        (state_of(&node, "fence") == "RUNNING").then_some(())
    });
    assert_eq!(pid_of(&node, "fence"), Some(fence), "fence is the same");
    assert_ne!(pid_of(&node, "agent"), Some(agent));
    Ok(())
}

#[test]
fn stopping_the_node_leaves_containers_running() -> Story {
    let node = Node::micro();
    let handle = node.kato(&["container", "create", "--start"]).ok().trim().to_owned();
    let (first, fence, agent) = (node.first_pid(&handle), node.fence_pid(), pid_of(&node, "agent"));
    node.kato(&["stop"]).ok();
    assert!(!is_alive(fence) && is_alive(first));
    assert_eq!(node.containers_in_docker().len(), 1);
    let said = node.kato(&["container", "list"]).expect_code(5);
    assert!(said.err().contains("hint:"), "{}", said.err());
    node.kato(&["start"]).ok();
    node.kato(&["process", "ready", "--block", "30", "fence"]).ok();
    assert_eq!(node.first_pid(&handle), first);
    assert!(agent.is_some());
    Ok(())
}

#[test]
fn what_is_not_in_order_is_told_with_the_next_step() -> Story {
    let node = Node::micro();
    node.kato(&["config", "set", "fence", "docker/image", "exampleco/not-there:1"])
        .ok();
    let said = until("the status tells of the missing image", LIMIT, || {
        let said = node.kato(&["status"]);
        (said.code != 0).then_some(said)
    });
    assert_eq!(said.code, 1);
    assert!(
        said.out().contains("exampleco/not-there:1") && said.out().contains("hint:"),
        "{}",
        said.out()
    );
    assert!(
        said.out().contains(&tests::harness::base_image()),
        "what is in use instead: {}",
        said.out()
    );
    node.kato(&["config", "del", "fence", "docker/image"]).ok();
    until("all is in order again", LIMIT, || {
        (node.kato(&["status"]).code == 0).then_some(())
    });
    Ok(())
}

#[test]
fn versions_of_all_parts_are_told() -> Story {
    let node = Node::micro();
    let said = node.kato(&["version"]).ok();
    for part in ["kato", "fence", "fence-init", "Docker"] {
        assert!(said.to_lowercase().contains(&part.to_lowercase()), "{part} in\n{said}");
    }
    assert!(
        said.contains(env!("CARGO_PKG_VERSION")) && said.contains(std::env::consts::ARCH),
        "{said}"
    );
    Ok(())
}

#[test]
fn restarting_fence_is_done_when_the_new_one_is_ready() -> Story {
    let node = Node::micro();
    for _ in 0..3 {
        let before = node.fence_pid();
        node.kato(&["process", "restart", "fence"]).ok();
        let status = node.status()?;
        assert_eq!(status["ready"], true, "right after the command: {status}");
        assert_ne!(status["pid"], before);
        until("the old one is gone", Duration::from_secs(5), || {
            (!is_alive(before)).then_some(())
        });
    }
    Ok(())
}
