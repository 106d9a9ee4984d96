//! What is told of a container's life, and containers that are frozen.

use super::*;

/// The types of what was told of a container.
fn told(supervisor: &Supervisor, handle: &str) -> Vec<&'static str> {
    let batch = supervisor.events_after(0, Some(handle), 1000);
    batch.events.iter().map(|event| event.what.name()).collect()
}

fn handle(name: &str) -> crate::container::Handle {
    name.parse().unwrap()
}

#[tokio::test]
async fn a_life_is_told_from_create_to_destroy_over_a_restart() {
    let node = Node::new();
    node.supervisor.create(named("web")).await.unwrap();
    let job = ProcessSpec {
        id: Some("job".parse().unwrap()),
        ..process("echo", &["x"])
    };
    let job = node.supervisor.run(&handle("web"), job).await.unwrap();
    job.wait().await.unwrap();
    until("the end is told", async || {
        told(&node.supervisor, "web").contains(&"process_ended")
    })
    .await;
    let mut expected = vec!["created", "process_started", "process_ended"];
    assert_eq!(told(&node.supervisor, "web"), expected);
    let upto = *node.supervisor.last_event().borrow();

    let next = node.killed_with(|_| ()).await;
    next.start(&handle("web"), Vec::new()).await.unwrap();
    next.stop(&handle("web"), true).await.unwrap();
    next.stop(&handle("web"), true).await.unwrap();
    next.destroy(&handle("web")).await.unwrap();
    let after = next.events_after(upto, None, 1000);
    assert!(!after.missed && after.events.iter().all(|event| event.number > upto));
    expected.extend(["started", "main_ended", "stopped", "destroyed"]);
    assert_eq!(told(&next, "web"), expected);
}

#[tokio::test]
async fn a_create_that_fails_tells_nothing() {
    let node = Node::new();
    node.engine.fail_at(Step::Start, 1);
    node.supervisor.create(named("web")).await.unwrap_err();
    assert!(told(&node.supervisor, "web").is_empty());
}

#[tokio::test]
async fn a_frozen_container_refuses_at_once_and_goes_on_when_resumed() {
    let node = Node::new();
    node.supervisor.create(named("web")).await.unwrap();
    let web = handle("web");
    for _ in 0..2 {
        assert!(node.supervisor.pause(&web).await.unwrap().paused);
    }
    let refused = node.supervisor.run(&web, process("cat", &[])).await.err().unwrap();
    assert!(matches!(refused, Error::Paused { .. }), "{refused}");
    let refused = node.supervisor.start(&web, Vec::new()).await.unwrap_err();
    assert!(matches!(refused, Error::Paused { .. }), "{refused}");
    let refused = node
        .supervisor
        .attach(&web, &"any".parse().unwrap())
        .await
        .err()
        .unwrap();
    assert!(matches!(refused, Error::Paused { .. }), "{refused}");

    let next = node.killed_with(|_| ()).await;
    next.reconcile().await.unwrap();
    assert!(next.info(&web).await.unwrap().paused, "a restart changes nothing");
    for _ in 0..2 {
        assert!(!next.resume(&web).await.unwrap().paused);
    }
    next.run(&web, process("cat", &[])).await.unwrap();
    assert_eq!(told(&next, "web")[..3], ["created", "paused", "resumed"]);
}

#[tokio::test]
async fn a_frozen_container_can_be_stopped_and_destroyed() {
    let node = Node::new();
    for name in ["a", "b"] {
        node.supervisor.create(named(name)).await.unwrap();
        node.supervisor.pause(&handle(name)).await.unwrap();
    }
    node.supervisor.stop(&handle("a"), true).await.unwrap();
    let info = node.supervisor.info(&handle("a")).await.unwrap();
    assert_eq!((info.state, info.paused), (State::Stopped, false));
    node.supervisor.destroy(&handle("b")).await.unwrap();
    assert_eq!(node.engine_has().await, 1);
}

#[tokio::test]
async fn what_somebody_froze_at_the_engine_is_seen_and_so_is_a_pause_that_was_cut_off() {
    let node = Node::new();
    let made = node.supervisor.create(named("web")).await.unwrap();
    let id = engine::ContainerId(made.engine_id);
    node.engine.pause(&id).await.unwrap();
    node.supervisor.reconcile().await.unwrap();
    assert!(node.supervisor.info(&handle("web")).await.unwrap().paused);
    node.engine.resume(&id).await.unwrap();
    node.supervisor.reconcile().await.unwrap();
    assert!(!node.supervisor.info(&handle("web")).await.unwrap().paused);
    node.engine.fail_at(Step::Pause, 1);
    node.supervisor.pause(&handle("web")).await.unwrap_err();
    assert!(!node.supervisor.info(&handle("web")).await.unwrap().paused);
}
