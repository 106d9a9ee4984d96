//! Processes with an image of their own: what is left of them after failures, kills and ends of all kinds.

use engine::{ContainerId, Event, EventKind, IpcMode, Labels, NetworkMode, ProcessMode};

use super::super::pea::LABEL_PEA;
use super::super::{LABEL_INSTANCE, LABEL_NODE};
use super::recovery::compared_until;
use super::*;
use crate::container::{ExitStatus, Handle, Limits, PeaSpec};

fn pea(id: &str, path: &str) -> ProcessSpec {
    ProcessSpec {
        id: Some(id.parse().unwrap()),
        pea: Some(PeaSpec {
            image: ImageSource::Named {
                name: "pea:1".into(),
                username: String::new(),
                password: String::new(),
            },
            ..PeaSpec::default()
        }),
        ..process(path, &[])
    }
}

async fn with_web() -> (Node, Handle) {
    let node = Node::new();
    node.engine.add_image_as("pea:1", engine::fake::image(&[]));
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    (node, handle)
}

impl Node {
    async fn helper(&self) -> ContainerId {
        let all = self.engine.list(&self.supervisor.labels()).await.unwrap();
        let helper = all.into_iter().find(|seen| seen.labels.contains_key(LABEL_PEA));
        helper.expect("a helper").id
    }

    /// The container, and nothing of a process with an image of its own.
    async fn only_the_container_is_left(&self) -> bool {
        let peas: usize = self.supervisor.parts().inventory.all().await.unwrap()[0].peas.len();
        (self.engine_has().await, self.directories(), peas) == (1, 1, 0)
    }
}

#[tokio::test]
async fn it_has_what_its_container_has() {
    let (node, handle) = with_web().await;
    let _running = node.supervisor.run(&handle, pea("p", "sleep")).await.unwrap();
    let of = ContainerId(node.supervisor.info(&handle).await.unwrap().engine_id);
    let spec = node.engine.spec(&node.helper().await).unwrap();
    assert_eq!(spec.network, NetworkMode::Of(of.clone()));
    assert_eq!(spec.processes, ProcessMode::Of(of.clone()));
    assert_eq!(spec.ipc, IpcMode::Of(of.clone()));
    assert!(spec.no_new_privileges && spec.hostname.is_empty());
    assert_eq!(spec.labels[LABEL_NODE], "id-of-n1");
    assert_eq!(spec.command.last().unwrap(), "--guest");
    assert_eq!(spec.limits, node.engine.spec(&of).unwrap().limits);
    let processes = node.supervisor.info(&handle).await.unwrap().processes;
    assert_eq!(processes[0].id.as_str(), "p");
}

#[tokio::test]
async fn limits_of_its_own_stand_instead_of_its_containers() {
    let (node, handle) = with_web().await;
    let mut spec = pea("p", "sleep");
    spec.pea.as_mut().unwrap().limits = Some(Limits {
        memory_bytes: Some(32 << 20),
        ..Limits::default()
    });
    let _running = node.supervisor.run(&handle, spec).await.unwrap();
    let limits = node.engine.spec(&node.helper().await).unwrap().limits;
    assert_eq!(limits.memory_bytes, Some(32 << 20));
    assert_eq!(limits.pids, Policy::sample().default_limits.pids);
}

#[tokio::test]
async fn one_that_cannot_be_leaves_nothing() {
    for step in [Step::Host, Step::Create, Step::Start, Step::Inspect] {
        let (node, handle) = with_web().await;
        node.engine.fail_at(step, 1);
        node.supervisor.run(&handle, pea("p", "sleep")).await.err().unwrap();
        assert!(node.only_the_container_is_left().await, "{step:?}");
    }
    let (node, handle) = with_web().await;
    node.engine.lose_answer_at(Step::Create, 1);
    node.supervisor.run(&handle, pea("p", "sleep")).await.err().unwrap();
    assert!(node.only_the_container_is_left().await);
    let missing = node.supervisor.run(&handle, pea("p", "missing")).await.err().unwrap();
    assert!(matches!(missing, Error::ProcessRefused { .. }), "{missing}");
    assert!(node.only_the_container_is_left().await);
    assert!(node.supervisor.info(&handle).await.unwrap().processes.is_empty());
}

#[tokio::test]
async fn a_name_is_one_processs() {
    let (node, handle) = with_web().await;
    let _one = node.supervisor.run(&handle, pea("p", "sleep")).await.unwrap();
    let _other = node
        .supervisor
        .run(
            &handle,
            ProcessSpec {
                id: Some("q".parse().unwrap()),
                ..process("sleep", &[])
            },
        )
        .await
        .unwrap();
    let mut taken = pea("p", "sleep");
    for spec in [taken.clone(), pea("q", "sleep"), {
        taken.pea = None;
        taken
    }] {
        let error = node.supervisor.run(&handle, spec).await.err().unwrap();
        assert!(matches!(error, Error::ProcessExists { .. }), "{error}");
    }
}

#[tokio::test]
async fn it_is_taken_over_after_a_kill_and_one_that_nobody_was_told_of_goes() {
    let (node, handle) = with_web().await;
    let kept = node.supervisor.run(&handle, pea("kept", "cat")).await.unwrap();
    let _cut_off = node.supervisor.run(&handle, pea("cut-off", "cat")).await.unwrap();
    let entry = node.supervisor.entries().remove(0);
    let cut_off = |record: &mut crate::inventory::Record| {
        let pea = record.peas.iter_mut().find(|pea| pea.process.as_str() == "cut-off");
        pea.unwrap().runs = false;
    };
    entry.change(&node.supervisor.parts().inventory, cut_off).await.unwrap();
    let links = || entry.peas().values().map(|pea| pea.link.clone()).collect::<Vec<_>>();
    links().iter().for_each(crate::init::Link::close);
    entry.link.close();
    drop(kept);
    let next = node.restarted().await;
    next.reconcile().await.unwrap();
    assert_eq!(node.engine_has().await, 2);
    let id = "kept".parse().unwrap();
    let again = next.attach(&handle, &id).await.unwrap();
    again.control().signal(15).await.unwrap();
    assert_eq!(again.wait().await.unwrap(), ExitStatus(143));
    assert!(matches!(
        next.attach(&handle, &"cut-off".parse().unwrap()).await,
        Err(Error::ProcessNotFound { .. })
    ));
}

#[tokio::test]
async fn its_end_from_outside_is_told_and_it_is_gone() {
    let (node, handle) = with_web().await;
    let running = node.supervisor.run(&handle, pea("p", "sleep")).await.unwrap();
    let helper = node.helper().await;
    node.engine.exit(&helper, 137);
    let died = EventKind::Died {
        id: helper,
        exit_code: 137,
    };
    node.supervisor.engine_event(&Event { kind: died, time_ns: 0 }).await;
    assert_eq!(running.wait().await.unwrap(), ExitStatus(137));
    assert!(node.only_the_container_is_left().await);
    assert_eq!(node.supervisor.info(&handle).await.unwrap().state, State::Active);
}

#[tokio::test]
async fn it_ends_with_its_container() {
    let (node, handle) = with_web().await;
    let running = node.supervisor.run(&handle, pea("p", "sleep")).await.unwrap();
    node.supervisor.destroy(&handle).await.unwrap();
    assert_eq!(running.wait().await.unwrap(), ExitStatus(137));
    node.nothing_is_left().await;

    let (node, handle) = with_web().await;
    let running = node.supervisor.run(&handle, pea("p", "sleep")).await.unwrap();
    let of = ContainerId(node.supervisor.info(&handle).await.unwrap().engine_id);
    node.engine.exit(&of, 137);
    node.supervisor.reconcile().await.unwrap();
    assert_eq!(running.wait().await.unwrap(), ExitStatus(137));
    assert!(node.only_the_container_is_left().await);
}

#[tokio::test]
async fn a_helper_that_no_record_knows_is_removed() {
    let (node, handle) = with_web().await;
    let _running = node.supervisor.run(&handle, pea("p", "sleep")).await.unwrap();
    let instance = node.supervisor.info(&handle).await.unwrap().instance;
    let stray = format!("{instance}.0123");
    let spec = engine::ContainerSpec {
        image: "pea:1".into(),
        labels: Labels::from([
            (LABEL_INSTANCE.to_owned(), instance),
            (LABEL_NODE.to_owned(), "id-of-n1".to_owned()),
            (LABEL_PEA.to_owned(), stray.clone()),
        ]),
        ..engine::ContainerSpec::default()
    };
    node.engine.create(&format!("fence-{stray}"), &spec).await.unwrap();
    std::fs::create_dir(node.dir.path().join("c").join(&stray)).unwrap();
    node.supervisor.reconcile().await.unwrap();
    compared_until(&node.supervisor, "the stray is gone", async || {
        (node.engine_has().await, node.directories()) == (2, 2)
    })
    .await;
}
