//! Garden: ending a container's processes and keeping the container.

use tests::garden::{ContainerSpec, ProcessSpec};
use tests::harness::{LIMIT, Node, until};

type Story = anyhow::Result<()>;

#[test]
fn killing_ends_all_processes_at_once_and_keeps_the_container() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    let deaf = web.run(&ProcessSpec::script(
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    ))?;
    deaf.stdout.wait_for("ready", LIMIT)?;
    let plain = web.run(&ProcessSpec::new("sleep", &["1000"]).user("stackato"))?;
    web.garden.stop("web", true)?;
    assert_eq!((deaf.wait()?, plain.wait()?), (137, 137));
    assert_eq!(web.garden.info("web")?.state, "stopped");
    assert!(web.garden.lookup("web")?);
    assert!(node.first_pid("web") > 0, "the first process lives, files are in reach");
    Ok(())
}

#[test]
fn stopping_asks_first() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    let polite = web.run(&ProcessSpec::script(
        "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done",
    ))?;
    polite.stdout.wait_for("ready", LIMIT)?;
    web.garden.stop("web", false)?;
    assert_eq!(polite.wait()?, 3);
    assert!(polite.stdout.text().ends_with("bye\n"), "{:?}", polite.stdout.text());
    assert_eq!(web.garden.info("web")?.state, "stopped");
    Ok(())
}

#[test]
fn stopping_kills_what_does_not_listen() -> Story {
    let node = Node::with_config(&[("stop_timeout", "1")]);
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    let deaf = web.run(&ProcessSpec::script(
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    ))?;
    deaf.stdout.wait_for("ready", LIMIT)?;
    web.garden.stop("web", false)?;
    assert_eq!(deaf.wait()?, 137);
    Ok(())
}

#[test]
fn stopping_reaches_children_that_left_their_parent() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    web.shell("setsid sh -c 'sleep 1000 & sleep 1000 &' </dev/null >/dev/null 2>&1")?;
    let sleeping = || node.pids_named("web", "sleep").len();
    until("both sleep", LIMIT, || (sleeping() == 2).then_some(()));
    web.garden.stop("web", true)?;
    assert_eq!(sleeping(), 0, "all are dead when the call returns");
    Ok(())
}

#[test]
fn stopping_twice_and_stopping_nothing_is_fine() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    web.garden.stop("web", false)?;
    web.garden.stop("web", true)?;
    assert_eq!(
        web.garden.stop("nobody", true).unwrap_err().to_string(),
        "unknown handle: nobody"
    );
    web.garden.destroy("web")?;
    Ok(())
}
