//! A node that is being retired: nothing new, time for what runs, and then it is stopped.

use tokio::task::JoinHandle;

use super::*;
use crate::container::Handle;
use crate::supervisor::Retiring;

const LONG: Duration = Duration::from_secs(600);

impl Node {
    /// What the config says from now on.
    fn wants_to_retire(&self, timeout: Option<Duration>) {
        self.policy.send_replace(Arc::new(Policy {
            retire: timeout,
            ..Policy::sample()
        }));
    }

    async fn container(&self, handle: &str) -> Handle {
        let spec = ContainerSpec {
            start: true,
            ..named(handle)
        };
        self.supervisor.create(spec).await.unwrap().handle
    }
}

/// The task beside the faces; ended when dropped.
struct Task(JoinHandle<()>);

impl Task {
    fn of(supervisor: &Supervisor) -> Task {
        let supervisor = supervisor.clone();
        Task(tokio::spawn(async move { supervisor.retire_when_wanted().await }))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn told(supervisor: &Supervisor) -> Option<Retiring> {
    supervisor.status().await.retiring
}

async fn state(supervisor: &Supervisor, handle: &Handle) -> State {
    supervisor.info(handle).await.unwrap().state
}

async fn all_stopped(supervisor: &Supervisor) {
    until("nothing runs", async || {
        told(supervisor).await.is_some_and(|retiring| retiring.active == 0)
    })
    .await;
}

#[tokio::test]
async fn what_runs_goes_on_and_nothing_new_is_started() {
    let node = Node::new();
    let (web, idle) = (node.container("web").await, node.container("idle").await);
    node.supervisor.stop(&idle, true).await.unwrap();
    assert_eq!(told(&node.supervisor).await, None);
    let _task = Task::of(&node.supervisor);
    node.wants_to_retire(Some(LONG));
    until("it is told", async || {
        told(&node.supervisor)
            .await
            .is_some_and(|retiring| !retiring.since.is_empty())
    })
    .await;
    let retiring = told(&node.supervisor).await.unwrap();
    assert_eq!((retiring.active, retiring.stopped), (1, 1));
    assert!((500..=600).contains(&retiring.seconds_left), "{retiring:?}");
    assert!(matches!(
        node.supervisor.create(named("new")).await,
        Err(Error::Retiring)
    ));
    assert!(matches!(
        node.supervisor.start(&idle, Vec::new()).await,
        Err(Error::Retiring)
    ));
    // What runs already is no start.
    node.supervisor.start(&web, Vec::new()).await.unwrap();
    let job = node.supervisor.run(&web, process("echo", &["a"])).await.unwrap();
    assert_eq!(job.wait().await.unwrap().0, 0);
    assert_eq!(node.recorded().await, 2);
}

#[tokio::test]
async fn when_the_time_is_up_all_are_stopped_and_none_is_destroyed() {
    let node = Node::new();
    let mut handles = Vec::new();
    for n in 0..12 {
        handles.push(node.container(&format!("c{n}")).await);
    }
    let job = node.supervisor.run(&handles[0], process("sleep", &[])).await.unwrap();
    // One that is stopped, and in which something runs.
    node.supervisor.stop(&handles[1], true).await.unwrap();
    let late = node.supervisor.run(&handles[1], process("sleep", &[])).await.unwrap();
    let _task = Task::of(&node.supervisor);
    node.wants_to_retire(Some(Duration::from_millis(50)));
    all_stopped(&node.supervisor).await;
    for handle in &handles {
        assert_eq!(state(&node.supervisor, handle).await, State::Stopped, "{handle}");
    }
    job.wait().await.unwrap();
    late.wait().await.unwrap();
    assert_eq!((node.recorded().await, node.engine_has().await), (12, 12));
    let retiring = told(&node.supervisor).await.unwrap();
    assert_eq!((retiring.seconds_left, retiring.active, retiring.stopped), (0, 0, 12));
    let refused = node.supervisor.run(&handles[0], process("echo", &[])).await;
    assert!(matches!(refused.err(), Some(Error::Retiring)));
    assert!(matches!(
        node.supervisor.start(&handles[0], Vec::new()).await,
        Err(Error::Retiring)
    ));
    node.supervisor.destroy(&handles[0]).await.unwrap();
}

#[tokio::test]
async fn cancelling_lets_all_go_on_as_before() {
    let node = Node::new();
    let web = node.container("web").await;
    let _task = Task::of(&node.supervisor);
    node.wants_to_retire(Some(LONG));
    let remembered = node.dir.path().join("retiring.json");
    until("it is on disk", async || remembered.exists()).await;
    node.wants_to_retire(None);
    until("it is forgotten", async || !remembered.exists()).await;
    assert_eq!(told(&node.supervisor).await, None);
    assert_eq!(state(&node.supervisor, &web).await, State::Active);
    let other = node.container("other").await;
    node.supervisor.stop(&other, true).await.unwrap();
    node.supervisor.start(&other, Vec::new()).await.unwrap();
}

#[tokio::test]
async fn a_restart_neither_begins_anew_nor_ends_early() {
    let node = Node::new();
    let web = node.container("web").await;
    let remembered = node.dir.path().join("retiring.json");
    let elapsed = |ms: u64| format!(r#"{{"since":"2026-01-02T03:04:05Z","elapsed_ms":{ms}}}"#);
    node.wants_to_retire(Some(LONG));
    node.supervisor.entries().remove(0).link.close();
    // Ten seconds are left, whatever time of day it is.
    std::fs::write(&remembered, elapsed(590_000)).unwrap();
    let next = node.restarted().await;
    next.reconcile().await.unwrap();
    let task = Task::of(&next);
    let retiring = told(&next).await.unwrap();
    assert_eq!(retiring.since, "2026-01-02T03:04:05Z");
    assert!(retiring.seconds_left <= 10, "{retiring:?}");
    assert_eq!((retiring.active, state(&next, &web).await), (1, State::Active));
    drop(task);
    next.entries().remove(0).link.close();
    std::fs::write(&remembered, elapsed(600_000)).unwrap();
    let last = node.restarted().await;
    last.reconcile().await.unwrap();
    let _task = Task::of(&last);
    all_stopped(&last).await;
    assert_eq!(state(&last, &web).await, State::Stopped);
}

#[tokio::test]
async fn a_tree_that_cannot_be_read_cancels_nothing() {
    let node = Node::new();
    let remembered = node.dir.path().join("retiring.json");
    let text = r#"{"since":"2026-01-02T03:04:05Z","elapsed_ms":1000}"#;
    std::fs::write(&remembered, text).unwrap();
    let mut policy = Policy::sample();
    policy.config.stale = true;
    node.policy.send_replace(Arc::new(policy));
    let next = node.restarted().await;
    let _task = Task::of(&next);
    node.wants_to_retire(Some(LONG));
    assert_eq!(told(&next).await.unwrap().since, "2026-01-02T03:04:05Z");
    assert_eq!(std::fs::read_to_string(&remembered).unwrap(), text);
}

#[tokio::test]
async fn what_cannot_be_stopped_is_told_and_tried_again() {
    let node = Node::new();
    let web = node.container("web").await;
    let _task = Task::of(&node.supervisor);
    // Its first process does not answer any more.
    node.supervisor.entries().remove(0).link.close();
    node.wants_to_retire(Some(Duration::ZERO));
    let problem = async || {
        let problems = node.supervisor.status().await.problems;
        problems
            .iter()
            .any(|problem| problem.what.contains("container web could not be stopped"))
    };
    until("it is told", problem).await;
    assert_eq!(told(&node.supervisor).await.unwrap().active, 1);
    node.wants_to_retire(None);
    until("it is no problem any more", async || !problem().await).await;
    assert_eq!(state(&node.supervisor, &web).await, State::Active);
}

#[tokio::test]
async fn a_retired_node_starts_nothing_again_after_the_machine_was() {
    let node = Node::new();
    let info = node
        .supervisor
        .create(ContainerSpec {
            start: true,
            ..named("web")
        })
        .await
        .unwrap();
    node.engine.exit(&engine::ContainerId(info.engine_id.clone()), 137);
    node.supervisor.entries().remove(0).link.close();
    let remembered = node.dir.path().join("retiring.json");
    std::fs::write(&remembered, r#"{"since":"2026-01-02T03:04:05Z","elapsed_ms":600000}"#).unwrap();
    node.wants_to_retire(Some(LONG));
    let next = node.restarted().await;
    next.machine_was_started().await.unwrap();
    next.reconcile().await.unwrap();
    assert_eq!(state(&next, &info.handle).await, State::Stopped);
    let seen = node.engine.inspect(&engine::ContainerId(info.engine_id)).await.unwrap();
    assert_ne!(seen.state, engine::ContainerState::Running);
}
