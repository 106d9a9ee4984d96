//! What a fence makes of what another left half done, and of what cannot be put right at once.

use engine::{ContainerId, Labels};

use super::super::{LABEL_INSTANCE, LABEL_NODE, Problem};
use super::*;
use crate::container::Handle;
use crate::inventory::Record;

const PORT: PortMapping = PortMapping {
    host_port: 0,
    container_port: 80,
};

impl Node {
    /// The record of the only container is this, and the fence that wrote it was killed.
    pub(super) async fn killed_with(&self, change: impl FnOnce(&mut Record)) -> Supervisor {
        let entry = self.supervisor.entries().remove(0);
        entry.change(&self.supervisor.parts().inventory, change).await.unwrap();
        entry.link.close();
        self.restarted().await
    }

    /// A container that the engine has and no record knows.
    pub(super) async fn stray(&self, instance: &str, node: &str) -> ContainerId {
        let labels = Labels::from([
            (LABEL_INSTANCE.to_owned(), instance.to_owned()),
            (LABEL_NODE.to_owned(), node.to_owned()),
        ]);
        let spec = engine::ContainerSpec {
            image: "app:1".into(),
            labels,
            ..engine::ContainerSpec::default()
        };
        self.engine.create(&format!("fence-{instance}"), &spec).await.unwrap()
    }

    pub(super) async fn nothing_is_left(&self) {
        assert_eq!(
            (self.engine_has().await, self.directories(), self.recorded().await),
            (0, 0, 0)
        );
        assert!(self.firewall.forwards().is_empty());
    }
}

pub(super) async fn problems(supervisor: &Supervisor) -> Vec<Problem> {
    supervisor.status().await.problems
}

pub(super) async fn compared_until(supervisor: &Supervisor, what: &str, condition: impl AsyncFn() -> bool) {
    until(what, async || {
        if supervisor.is_repair_due() {
            supervisor.reconcile().await.unwrap();
        }
        condition().await
    })
    .await;
}

#[tokio::test]
async fn a_container_that_turns_up_after_its_create_was_undone_is_removed() {
    let node = Node::new();
    let info = node.supervisor.create(named("web")).await.unwrap();
    node.engine.remove(&ContainerId(info.engine_id)).await.unwrap();
    // The engine was asked for it, and has nothing to show yet.
    let next = node
        .killed_with(|record| (record.state, record.pid, record.engine_id) = (State::Creating, 0, String::new()))
        .await;
    next.reconcile().await.unwrap();
    assert_eq!(node.recorded().await, 0);
    next.create(named("web")).await.unwrap();
    node.stray(&info.instance, "id-of-n1").await;
    compared_until(&next, "it is gone", async || node.engine_has().await == 1).await;
    assert_eq!(next.list(&Properties::default()).len(), 1, "the new one of that name");
}

#[tokio::test]
async fn a_create_that_the_engine_answers_too_late_leaves_nothing() {
    let node = Node::new();
    node.engine.lose_answer_at(Step::Create, 1);
    node.engine.fail_at(Step::List, 1);
    node.supervisor.create(named("web")).await.unwrap_err();
    assert_eq!(node.recorded().await, 1, "its record stays until its container is gone");
    compared_until(&node.supervisor, "it is", async || node.recorded().await == 0).await;
    node.nothing_is_left().await;
}

#[tokio::test]
async fn what_no_record_knows_is_removed_after_a_grace_time_and_what_is_foreign_never() {
    let node = Node::new();
    // Without it the inventory is as new as if it had been lost.
    node.supervisor.reconcile().await.unwrap();
    let instance = uuid::Uuid::now_v7().to_string();
    node.stray(&instance, "id-of-n1").await;
    let foreign = node.stray("other", "id-of-another-node").await;
    let run_dir = node.dir.path().join("c");
    std::fs::create_dir_all(run_dir.join(&instance)).unwrap();
    std::fs::create_dir_all(run_dir.join("somebody's")).unwrap();
    node.supervisor.reconcile().await.unwrap();
    assert_eq!(
        (node.engine_has().await, node.directories()),
        (1, 2),
        "it may just be being made"
    );
    compared_until(&node.supervisor, "both are gone", async || {
        node.engine_has().await == 0 && node.directories() == 1
    })
    .await;
    assert!(node.engine.inspect(&foreign).await.is_ok());
    assert!(run_dir.join("somebody's").is_dir());
    assert_eq!(problems(&node.supervisor).await, []);
}

#[tokio::test]
async fn a_clean_up_that_fails_does_not_spin_and_is_told_until_it_is_done() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    node.engine.fail_at(Step::Remove, 1_000_000);
    node.supervisor.destroy(&handle).await.unwrap_err();
    let before = node.engine.calls(Step::Remove);
    for _ in 0..100 {
        node.supervisor.reconcile().await.unwrap();
    }
    let tries = node.engine.calls(Step::Remove) - before;
    assert!((1..20).contains(&tries), "{tries} tries");
    let told = problems(&node.supervisor).await;
    assert_eq!(told.len(), 1);
    assert!(
        told[0].what.contains("web") && told[0].why.contains("told to fail"),
        "{told:?}"
    );
    assert!(told[0].since.parse::<jiff::Timestamp>().is_ok());
    node.engine.fail_at(Step::Remove, 0);
    node.supervisor.engine_is_back();
    node.supervisor.reconcile().await.unwrap();
    assert_eq!(problems(&node.supervisor).await, []);
    node.nothing_is_left().await;
}

#[tokio::test]
async fn a_main_that_runs_makes_its_container_active() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    node.supervisor.start(&handle, vec!["sleep".into()]).await.unwrap();
    // The answer to a start of a stopped container was on its way.
    let next = node.killed_with(|record| record.state = State::Stopped).await;
    until("it is active", async || {
        let info = next.info(&handle).await.unwrap();
        (info.state, info.started) == (State::Active, true)
    })
    .await;
}

#[tokio::test]
async fn a_start_that_was_noted_and_never_ran_is_taken_back() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let next = node.killed_with(|record| record.started = true).await;
    until("it is taken back", async || {
        let entry = next.entry(&handle).unwrap();
        let started = entry.record().started;
        !started
    })
    .await;
    assert_eq!(next.info(&handle).await.unwrap().state, State::Active);
    assert!(next.start(&handle, vec!["sleep".into()]).await.unwrap().started);
}

#[tokio::test]
async fn a_first_process_that_was_started_and_not_recorded_is_taken_over() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let forgotten = |record: &mut Record| {
        (record.state, record.pid) = (State::Stopped, 0);
        record.ip.clear();
    };
    let next = node.killed_with(forgotten).await;
    next.reconcile().await.unwrap();
    let attachment = next.run(&handle, process("echo", &["x"])).await.unwrap();
    assert_eq!(attachment.wait().await.unwrap().0, 0);
}

#[tokio::test]
async fn a_container_whose_engine_id_is_unknown_is_found_by_its_label() {
    let node = Node::new();
    let before = node.supervisor.create(named("web")).await.unwrap();
    let next = node.killed_with(|record| record.engine_id.clear()).await;
    next.reconcile().await.unwrap();
    let after = next.info(&before.handle).await.unwrap();
    assert_eq!((after.state, after.engine_id), (State::Active, before.engine_id));
    next.destroy(&before.handle).await.unwrap();
    node.nothing_is_left().await;
}

#[tokio::test]
async fn a_lost_container_that_is_back_can_be_started() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let next = node
        .killed_with(|record| (record.state, record.pid) = (State::Lost, 0))
        .await;
    next.reconcile().await.unwrap();
    assert_eq!(next.info(&handle).await.unwrap().state, State::Stopped);
    assert!(next.start(&handle, vec!["sleep".into()]).await.unwrap().started);
}

#[tokio::test]
async fn half_a_destroy_is_not_undone_by_a_start() {
    let node = Node::new();
    let spec = ContainerSpec {
        ports: vec![PORT],
        start: true,
        ..named("web")
    };
    let handle = node.supervisor.create(spec).await.unwrap().handle;
    node.engine.fail_at(Step::Remove, 1);
    node.supervisor.destroy(&handle).await.unwrap_err();
    let refused = node.supervisor.start(&handle, Vec::new()).await.unwrap_err();
    assert!(matches!(refused, Error::WrongState { .. }), "{refused}");
    assert!(node.firewall.forwards().is_empty());
    compared_until(&node.supervisor, "it is gone", async || node.recorded().await == 0).await;
    node.nothing_is_left().await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_port_given_or_not_given() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    for _ in 0..20 {
        let asked = node.supervisor.net_in(&handle, PORT);
        // One that has begun, and nobody waits for.
        let _ = tokio::time::timeout(Duration::from_micros(200), asked).await;
    }
    let entry = node.supervisor.entry(&handle).unwrap();
    // Whoever is at work on it has ended by then.
    until("all are done", async || {
        let _life = entry.life.lock().await;
        let recorded = node.supervisor.parts().inventory.all().await.unwrap().remove(0).ports;
        let mut bound: Vec<u16> = entry.ports().iter().map(crate::network::PortGuard::port).collect();
        let mut told: Vec<u16> = recorded.iter().map(|port| port.host_port).collect();
        bound.sort_unstable();
        told.sort_unstable();
        assert_eq!(told.len(), entry.record().ports.len());
        bound == told && node.firewall.forwards().len() == bound.len()
    })
    .await;
}

#[tokio::test]
async fn rules_that_cannot_be_removed_keep_their_container() {
    let node = Node::new();
    let spec = ContainerSpec {
        ports: vec![PORT],
        ..named("web")
    };
    let handle = node.supervisor.create(spec).await.unwrap().handle;
    node.firewall.refuse(true);
    node.supervisor.destroy(&handle).await.unwrap_err();
    assert_eq!(node.recorded().await, 1, "its address must not be given to another one");
    assert!(node.supervisor.reconcile().await.is_err());
    assert_eq!(problems(&node.supervisor).await.len(), 2);
    node.firewall.refuse(false);
    compared_until(&node.supervisor, "it is gone", async || node.recorded().await == 0).await;
    node.nothing_is_left().await;
    until("all is well", async || {
        node.supervisor.reconcile().await.is_ok() && problems(&node.supervisor).await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn with_the_disk_full_nothing_is_promised_and_nothing_is_lost() {
    let node = Node::new();
    let web = node.supervisor.create(named("web")).await.unwrap().handle;
    node.supervisor.start(&web, vec!["sleep".into()]).await.unwrap();
    let inventory = node.supervisor.parts().inventory.clone();
    inventory.set_full(true).await;
    assert!(node.supervisor.create(named("new")).await.is_err());
    assert!(node.supervisor.net_in(&web, PORT).await.is_err());
    assert!(node.supervisor.destroy(&web).await.is_err());
    let stopped = node.supervisor.stop(&web, true).await;
    assert!(matches!(stopped, Err(Error::Inventory { .. })), "{stopped:?}");
    assert!(node.supervisor.start(&web, Vec::new()).await.is_err());
    assert_eq!((node.recorded().await, node.engine_has().await), (1, 1));
    assert!(node.firewall.forwards().is_empty());
    inventory.set_full(false).await;
    compared_until(&node.supervisor, "all is well", async || {
        node.supervisor.reconcile().await.is_ok() && problems(&node.supervisor).await.is_empty()
    })
    .await;
    let info = node.supervisor.info(&web).await.unwrap();
    assert_eq!((info.state, info.main.exit_status), (State::Stopped, Some(137)));
    node.supervisor.create(named("new")).await.unwrap();
    node.supervisor.destroy(&web).await.unwrap();
    assert_eq!((node.recorded().await, node.directories()), (1, 1));
}

#[tokio::test]
async fn a_record_that_makes_no_sense_is_told_and_keeps_its_directory() {
    let node = Node::new();
    // Without it the inventory is as new as if it had been lost.
    node.supervisor.reconcile().await.unwrap();
    let instance = uuid::Uuid::now_v7().to_string();
    node.stray(&instance, "id-of-n1").await;
    std::fs::create_dir_all(node.dir.path().join("c").join(&instance)).unwrap();
    let inventory = &node.supervisor.parts().inventory;
    inventory.put_unreadable(&instance, "odd").await;
    until("it is told", async || {
        node.supervisor.reconcile().await.unwrap();
        problems(&node.supervisor)
            .await
            .iter()
            .any(|problem| problem.what.contains("odd"))
    })
    .await;
    // What is nobody's at all is removed in the meantime.
    node.stray(&uuid::Uuid::now_v7().to_string(), "id-of-n1").await;
    compared_until(&node.supervisor, "a stray is removed", async || {
        node.engine_has().await == 1
    })
    .await;
    assert_eq!(node.directories(), 1);
}

#[tokio::test]
async fn a_container_that_cannot_be_taken_over_is_told_and_is_later() {
    let node = Node::new();
    let info = node.supervisor.create(named("web")).await.unwrap();
    for entry in node.supervisor.entries() {
        entry.link.close();
    }
    let directory = node.dir.path().join("c").join(&info.instance);
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, "in the way").unwrap();
    let next = node.restarted().await;
    assert_eq!(problems(&next).await.len(), 1);
    let taken = next.create(named("web")).await.unwrap_err();
    assert!(matches!(taken, Error::HandleInUse { .. }), "{taken}");
    std::fs::remove_file(&directory).unwrap();
    compared_until(&next, "it is taken over", async || {
        next.info(&info.handle).await.is_ok()
    })
    .await;
    assert_eq!(problems(&next).await, []);
}

#[tokio::test]
async fn what_cannot_be_done_to_a_lost_container_is_refused() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let next = node.killed_with(|record| record.state = State::Lost).await;
    assert!(matches!(next.stop(&handle, true).await, Err(Error::WrongState { .. })));
    assert!(matches!(
        next.start(&handle, Vec::new()).await,
        Err(Error::WrongState { .. })
    ));
}

/// The machine was switched off and on: nothing runs, and what was in memory is gone. The next fence, adopted.
async fn rebooted(node: &Node) -> Supervisor {
    for entry in node.supervisor.entries() {
        entry.link.close();
        node.engine.exit(&ContainerId(entry.record().engine_id.clone()), 255);
        std::fs::rename(&entry.directory, node.dir.path().join(format!("was-{}", entry.handle))).unwrap();
    }
    let next = node.restarted().await;
    next.machine_was_started().await.unwrap();
    next
}

fn started(handle: &str) -> ContainerSpec {
    ContainerSpec {
        start: true,
        ..named(handle)
    }
}

fn main_runs(supervisor: &Supervisor, handle: &Handle) -> bool {
    let entry = supervisor.entry(handle).unwrap();
    let main = entry.link.process(&ProcessId::main());
    main.is_some_and(|main| main.exit().is_none())
}

#[tokio::test]
async fn what_was_active_when_the_machine_ended_comes_back_and_what_was_stopped_does_not() {
    let node = Node::new();
    let web = node.supervisor.create(started("web")).await.unwrap();
    let idle = node.supervisor.create(named("idle")).await.unwrap();
    node.supervisor.stop(&idle.handle, true).await.unwrap();
    let next = rebooted(&node).await;
    node.engine.fail_at(Step::Start, 1);
    next.reconcile().await.unwrap();
    let told = problems(&next).await;
    assert!(told.len() == 1 && told[0].what.contains("web"), "{told:?}");
    assert_eq!(
        next.info(&web.handle).await.unwrap().state,
        State::Active,
        "it is about to come back"
    );
    compared_until(&next, "it is back", async || main_runs(&next, &web.handle)).await;
    until("nothing is left to do", async || problems(&next).await.is_empty()).await;
    assert!(next.info(&web.handle).await.unwrap().started);
    assert_eq!(next.info(&idle.handle).await.unwrap().state, State::Stopped);
    // Noted once more, as by a fence that was killed before it could note the boot: nothing happens to what runs.
    let starts = node.engine.calls(Step::Start);
    next.machine_was_started().await.unwrap();
    next.reconcile().await.unwrap();
    assert_eq!(node.engine.calls(Step::Start), starts);
    assert!(next.entries().iter().all(|entry| !entry.record().comes_back));
}

#[tokio::test]
async fn a_main_process_comes_back_though_the_way_there_is_rough() {
    let node = Node::new();
    let with_port = ContainerSpec {
        ports: vec![PORT],
        ..started("web")
    };
    let web = node.supervisor.create(with_port).await.unwrap();
    let next = rebooted(&node).await;
    assert!(node.firewall.forwards().is_empty() || next.apply_forwards().await.is_ok());
    assert_eq!(
        node.firewall.forwards(),
        [],
        "its old address may be another container's"
    );
    // Its first process runs, its ports cannot be led there, and its first process has connected all the same.
    node.firewall.refuse(true);
    let _ = next.reconcile().await;
    let entry = next.entry(&web.handle).unwrap();
    until("its first process is there", async || entry.link.is_connected()).await;
    next.settle_main(&entry).await.unwrap();
    node.firewall.refuse(false);
    compared_until(&next, "main is back", async || main_runs(&next, &web.handle)).await;
    until("nothing is left to do", async || problems(&next).await.is_empty()).await;
    assert!(next.info(&web.handle).await.unwrap().started);
    assert_eq!(node.firewall.forwards().len(), 1);
}
