//! Garden: containers that nobody asks for are destroyed when their grace time is over.

use std::time::Duration;

use tests::garden::{ContainerSpec, ProcessSpec};
use tests::harness::{LIMIT, Node, until};

type Story = anyhow::Result<()>;

const SECOND: i64 = 1_000_000_000;

/// Watched through Docker: a request that names the handle would start the time anew.
fn wait_until_gone(node: &Node) {
    until("the container is destroyed", LIMIT, || {
        node.containers_in_docker().is_empty().then_some(())
    });
    until("it is no longer listed", LIMIT, || {
        node.garden().list(&[]).ok().filter(Vec::is_empty)
    });
}

#[test]
fn without_a_client_the_container_is_destroyed() -> Story {
    let node = Node::fence_only();
    let spec = ContainerSpec {
        handle: "web".into(),
        grace_time: SECOND,
        ..ContainerSpec::default()
    };
    node.garden().create(&spec)?;
    wait_until_gone(&node);
    assert_eq!(
        node.garden().info("web").unwrap_err().to_string(),
        "unknown handle: web"
    );
    Ok(())
}

#[test]
fn an_open_connection_holds_it_off() -> Story {
    let node = Node::fence_only();
    let spec = ContainerSpec {
        handle: "web".into(),
        grace_time: SECOND,
        ..ContainerSpec::default()
    };
    let web = node.container(&spec)?;
    // It takes the process three times the grace time to say so.
    let process = web.run(&ProcessSpec::script("sleep 3; echo still here; exec sleep 1000"))?;
    process.stdout.wait_for("still here", LIMIT)?;
    assert!(web.garden.lookup("web")?);
    drop(process);
    wait_until_gone(&node);
    Ok(())
}

#[test]
fn it_can_be_set_later() -> Story {
    let node = Node::fence_only();
    node.garden().create(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    node.garden().set_grace_time("web", Duration::from_millis(300))?;
    wait_until_gone(&node);
    let error = node.garden().set_grace_time("web", Duration::from_secs(1)).unwrap_err();
    assert_eq!(error.kind(), Some("ContainerNotFoundError"));
    Ok(())
}

#[test]
fn the_nodes_default_counts_where_the_client_gives_none() -> Story {
    let node = Node::with_config(&[("container_grace_time", "1")]);
    node.garden().create(&ContainerSpec {
        handle: "short".into(),
        ..ContainerSpec::default()
    })?;
    wait_until_gone(&node);
    Ok(())
}

#[test]
fn it_goes_on_after_a_restart_of_the_daemon() -> Story {
    let node = Node::fence_only();
    let spec = ContainerSpec {
        handle: "web".into(),
        grace_time: SECOND,
        ..ContainerSpec::default()
    };
    node.garden().create(&spec)?;
    node.kill_fence();
    node.start_fence();
    wait_until_gone(&node);
    Ok(())
}
