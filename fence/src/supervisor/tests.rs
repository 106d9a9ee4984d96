//! The supervisor's promises, on the engine's fake and a pretended init: everything above the engine is real.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use engine::Engine;
use engine::fake::{Fake, Step};
use tokio::sync::watch;

use super::{Chunk, Error, Parts, Policy, RepairTimes, Stream, Supervisor, pretend_init};
use crate::container::{
    ContainerSpec, ImageSource, PortMapping, ProcessId, ProcessSpec, Properties, State, WindowSize,
};
use crate::events::Journal;
use crate::image::{Keeper, Wanted};
use crate::init::InitBinary;
use crate::inventory::Inventory;
use crate::network::{FakeFirewall, PortPool};

mod life;
mod peas;
mod rebuild;
mod recovery;
mod retire;

struct Configured;

#[async_trait]
impl Wanted for Configured {
    async fn now(&self) -> Vec<String> {
        vec!["app:1".into()]
    }

    async fn changed(&self) {
        std::future::pending().await
    }
}

/// A node whose engine is a fake. Dropping `supervisor` alone leaves the rest for the next one.
pub(crate) struct Node {
    dir: tempfile::TempDir,
    engine: Fake,
    firewall: Arc<FakeFirewall>,
    policy: watch::Sender<Arc<Policy>>,
    pub(crate) supervisor: Supervisor,
}

impl Node {
    pub(crate) fn new() -> Node {
        let dir = tempfile::tempdir().unwrap();
        let engine = Fake::new();
        engine.add_image_as("app:1", engine::fake::image(&["serve", "--now"]));
        engine.on_start(pretend_init::on_start);
        std::fs::write(dir.path().join("init"), "init").unwrap();
        let policy = watch::Sender::new(Arc::new(Policy::sample()));
        let firewall = Arc::new(FakeFirewall::default());
        let supervisor = supervisor(dir.path(), &engine, &firewall, &policy);
        Node {
            dir,
            engine,
            firewall,
            policy,
            supervisor,
        }
    }

    /// Another fence on the same node, as after a kill -9 of the one before.
    async fn restarted(&self) -> Supervisor {
        let supervisor = supervisor(self.dir.path(), &self.engine, &self.firewall, &self.policy);
        supervisor.adopt().await.unwrap();
        supervisor
    }

    async fn engine_has(&self) -> usize {
        self.engine.list(&self.supervisor.labels()).await.unwrap().len()
    }

    fn directories(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("c")).map_or(0, Iterator::count)
    }

    async fn recorded(&self) -> usize {
        self.supervisor.parts().inventory.all().await.unwrap().len()
    }
}

fn supervisor(
    dir: &Path,
    engine: &Fake,
    firewall: &Arc<FakeFirewall>,
    policy: &watch::Sender<Arc<Policy>>,
) -> Supervisor {
    let engine: Arc<dyn Engine> = Arc::new(engine.clone());
    Supervisor::new(Parts {
        images: Keeper::new(
            engine.clone(),
            Arc::new(Configured),
            dir.join("image.json"),
            dir.join("accounts.json"),
        ),
        engine,
        inventory: Inventory::open(&dir.join("inventory.db")).unwrap(),
        events: Journal::open(&dir.join("events")),
        logs: crate::logs::Store::new(&dir.join("logs")),
        firewall: firewall.clone(),
        ports: PortPool::new(48_000, 200),
        init: InitBinary::store(&dir.join("init"), &dir.join("store")).unwrap(),
        run_dir: dir.join("c"),
        retiring: dir.join("retiring.json"),
        policy: policy.subscribe(),
        node_name: "n1".into(),
        node_id: "id-of-n1".into(),
        repair_times: RepairTimes {
            grace: Duration::from_millis(50),
            first: Duration::from_millis(20),
            longest: Duration::from_secs(60),
        },
    })
}

fn named(handle: &str) -> ContainerSpec {
    ContainerSpec {
        handle: Some(handle.parse().unwrap()),
        ..ContainerSpec::default()
    }
}

fn process(path: &str, args: &[&str]) -> ProcessSpec {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    ProcessSpec {
        path: path.into(),
        args,
        ..ProcessSpec::default()
    }
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_created_container_is_active_listed_and_recorded() {
    let node = Node::new();
    let info = node.supervisor.create(named("web")).await.unwrap();
    assert_eq!(info.state, State::Active);
    assert_eq!(info.image, "app:1");
    assert_eq!(info.limits, Policy::sample().default_limits);
    assert!(!info.started);
    assert_eq!(node.supervisor.list(&Properties::default()), [info.handle]);
    assert_eq!(node.recorded().await, 1);
}

#[tokio::test]
async fn a_handle_can_be_used_once() {
    let node = Node::new();
    node.supervisor.create(named("web")).await.unwrap();
    let error = node.supervisor.create(named("web")).await.unwrap_err();
    assert_eq!(error.to_string(), "Handle 'web' already in use");
}

#[tokio::test]
async fn a_failed_create_leaves_nothing_behind() {
    for step in [Step::Create, Step::Start, Step::Inspect] {
        let node = Node::new();
        node.engine.fail_at(step, 1);
        let spec = ContainerSpec {
            ports: vec![PortMapping {
                host_port: 0,
                container_port: 80,
            }],
            ..named("web")
        };
        let error = node.supervisor.create(spec).await.unwrap_err();
        assert!(matches!(error, Error::Engine { .. }), "{step:?}: {error}");
        assert!(node.supervisor.list(&Properties::default()).is_empty());
        assert_eq!(
            (node.engine_has().await, node.directories(), node.recorded().await),
            (0, 0, 0),
            "{step:?}"
        );
        assert!(node.firewall.forwards().is_empty());
        node.supervisor.create(named("web")).await.unwrap();
    }
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_leaves_nothing_behind() {
    let node = Node::new();
    node.engine.lose_answer_at(Step::Create, 1);
    node.supervisor.create(named("web")).await.unwrap_err();
    assert_eq!(
        (node.engine_has().await, node.directories(), node.recorded().await),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn a_failed_destroy_can_be_repeated_and_forgets_only_at_the_end() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    node.engine.fail_at(Step::Remove, 1);
    node.supervisor.destroy(&handle).await.unwrap_err();
    assert_eq!(node.recorded().await, 1);
    node.supervisor.destroy(&handle).await.unwrap();
    assert_eq!(
        (node.engine_has().await, node.directories(), node.recorded().await),
        (0, 0, 0)
    );
    assert!(matches!(
        node.supervisor.destroy(&handle).await,
        Err(Error::ContainerNotFound { .. })
    ));
}

#[tokio::test]
async fn what_a_process_writes_and_how_it_ends_arrives() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let attachment = node
        .supervisor
        .run(&handle, process("echo", &["a", "b"]))
        .await
        .unwrap();
    assert_eq!(attachment.wait().await.unwrap().0, 0);
    let mut output = attachment.take_output(Stream::Stdout).unwrap();
    assert_eq!(output.next().await.unwrap(), Some(Chunk::Data(Bytes::from("a b"))));
    assert_eq!(output.next().await.unwrap(), None);
}

#[tokio::test]
async fn outputs_can_be_taken_by_stream_id_after_the_end_and_once() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let attachment = node.supervisor.run(&handle, process("echo", &["x"])).await.unwrap();
    attachment.wait().await.unwrap();
    let (id, stream_id) = (attachment.process_id().clone(), attachment.stream_id().to_owned());
    drop(attachment);
    let take = || node.supervisor.take_output(&handle, &id, &stream_id, Stream::Stdout);
    let mut output = take().unwrap();
    assert!(take().is_none());
    assert_eq!(output.next().await.unwrap(), Some(Chunk::Data(Bytes::from("x"))));
}

#[tokio::test]
async fn refusals_of_init_are_told_apart() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let missing = node.supervisor.run(&handle, process("missing", &[])).await;
    assert!(matches!(missing.err(), Some(Error::ExecutableNotFound { .. })));
    let spec = ProcessSpec {
        id: Some("p".parse().unwrap()),
        ..process("sleep", &[])
    };
    let _first = node.supervisor.run(&handle, spec.clone()).await.unwrap();
    assert!(matches!(
        node.supervisor.run(&handle, spec).await.err(),
        Some(Error::ProcessExists { .. })
    ));
    let unknown = node.supervisor.attach(&handle, &"q".parse().unwrap()).await;
    assert!(matches!(unknown.err(), Some(Error::ProcessNotFound { .. })));
}

#[tokio::test]
async fn stop_ends_the_processes_and_start_runs_the_images_command_again() {
    let node = Node::new();
    let started = node
        .supervisor
        .create(ContainerSpec {
            start: true,
            ..named("web")
        })
        .await
        .unwrap();
    assert!(started.started);
    assert_eq!(started.main.command, ["serve", "--now"]);
    let handle = started.handle;
    node.supervisor.stop(&handle, false).await.unwrap();
    let stopped = node.supervisor.info(&handle).await.unwrap();
    assert_eq!(
        (stopped.state, stopped.started, stopped.main.exit_status),
        (State::Stopped, false, Some(143))
    );
    let again = node.supervisor.start(&handle, Vec::new()).await.unwrap();
    assert_eq!((again.state, again.started), (State::Active, true));
}

#[tokio::test]
async fn a_command_is_not_passed_over_because_another_runs() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let sleep = || vec!["sleep".to_owned(), "9".to_owned()];
    let pid = async |command| {
        let started = node.supervisor.start(&handle, command).await?;
        Ok::<_, Error>(started.processes[0].pid)
    };
    let first = pid(sleep()).await.unwrap();
    assert_eq!(pid(Vec::new()).await.unwrap(), first);
    assert_eq!(
        pid(sleep()).await.unwrap(),
        first,
        "asked again, as where the answer was lost"
    );
    let refused = pid(vec!["sleep".into()]).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "could not start another command in web: the container is running one already"
    );
}

#[tokio::test]
async fn the_size_of_the_node_is_told_where_the_engine_keeps_its_data_out_of_sight() {
    let capacity = Node::new().supervisor.capacity().await.unwrap();
    assert!(capacity.disk_bytes > 0 && capacity.memory_bytes > 0, "{capacity:?}");
}

#[tokio::test]
async fn the_end_of_main_stops_the_container() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let other = node.supervisor.run(&handle, process("sleep", &[])).await.unwrap();
    node.supervisor.start(&handle, vec!["echo".into()]).await.unwrap();
    until("it is stopped", async || {
        node.supervisor.info(&handle).await.unwrap().state == State::Stopped
    })
    .await;
    assert_eq!(other.wait().await.unwrap().0, 137);
    assert_eq!(node.supervisor.info(&handle).await.unwrap().main.exit_status, Some(0));
}

#[tokio::test]
async fn the_next_fence_has_the_containers_and_their_processes() {
    let node = Node::new();
    let spec = ContainerSpec {
        properties: [("k".to_owned(), "v".to_owned())].into(),
        ports: vec![PortMapping {
            host_port: 0,
            container_port: 80,
        }],
        ..named("web")
    };
    let before = node.supervisor.create(spec).await.unwrap();
    let on_a_terminal = ProcessSpec {
        tty: Some(WindowSize::default()),
        ..process("sleep", &[])
    };
    let attachment = node.supervisor.run(&before.handle, on_a_terminal).await.unwrap();
    let process = attachment.process_id().clone();
    for entry in node.supervisor.entries() {
        entry.link.close();
    }
    let next = node.restarted().await;
    until("init is back", async || {
        next.attach(&before.handle, &process).await.is_ok()
    })
    .await;
    let after = next.info(&before.handle).await.unwrap();
    assert_eq!(
        (after.instance, after.ports, after.properties),
        (before.instance, before.ports, before.properties)
    );
    assert!(
        after.processes.len() == 1 && after.processes[0].tty,
        "{:?}",
        after.processes
    );
}

#[tokio::test]
async fn a_create_that_was_cut_off_is_undone_by_the_next_fence() {
    let node = Node::new();
    node.supervisor.create(named("web")).await.unwrap();
    let entry = node.supervisor.entries().remove(0);
    entry
        .change(&node.supervisor.parts().inventory, |record| {
            record.state = State::Creating
        })
        .await
        .unwrap();
    entry.link.close();
    let next = node.restarted().await;
    assert!(next.list(&Properties::default()).is_empty());
    next.reconcile().await.unwrap();
    assert_eq!(
        (node.engine_has().await, node.directories(), node.recorded().await),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn a_container_removed_behind_fences_back_is_lost_and_can_be_destroyed() {
    let node = Node::new();
    let info = node.supervisor.create(named("web")).await.unwrap();
    node.engine.remove(&engine::ContainerId(info.engine_id)).await.unwrap();
    node.supervisor.reconcile().await.unwrap();
    assert_eq!(node.supervisor.info(&info.handle).await.unwrap().state, State::Lost);
    assert!(node.supervisor.run(&info.handle, process("echo", &[])).await.is_err());
    node.supervisor.destroy(&info.handle).await.unwrap();
    assert_eq!(node.recorded().await, 0);
}

#[tokio::test]
async fn foreign_containers_are_left_alone() {
    let node = Node::new();
    let spec = engine::ContainerSpec {
        image: "app:1".into(),
        ..engine::ContainerSpec::default()
    };
    let foreign = node.engine.create("foreign", &spec).await.unwrap();
    node.supervisor.reconcile().await.unwrap();
    assert!(node.engine.inspect(&foreign).await.is_ok());
}

#[tokio::test]
async fn without_a_client_a_container_is_destroyed_after_its_grace_time() {
    let node = Node::new();
    let nanoseconds = Duration::from_millis(200).as_nanos() as u64;
    let held = node.supervisor.create(named("held")).await.unwrap().handle;
    let hold = node.supervisor.hold(&held).unwrap();
    node.supervisor.set_grace_time(&held, nanoseconds).await.unwrap();
    // Its time ends after that of the one that is held would have.
    let alone = node.supervisor.create(named("alone")).await.unwrap().handle;
    node.supervisor.set_grace_time(&alone, nanoseconds).await.unwrap();
    let there = || node.supervisor.list(&Properties::default());
    until("the one without a client is gone", async || !there().contains(&alone)).await;
    assert_eq!(there(), [held], "a hold keeps it");
    drop(hold);
    until("it is gone", async || there().is_empty()).await;
    until("nothing is left", async || {
        node.engine_has().await == 0 && node.recorded().await == 0
    })
    .await;
}

#[tokio::test]
async fn ports_are_given_once_and_led_to_the_container() {
    let node = Node::new();
    let a = node.supervisor.create(named("a")).await.unwrap().handle;
    let b = node.supervisor.create(named("b")).await.unwrap().handle;
    let given = node
        .supervisor
        .net_in(
            &a,
            PortMapping {
                host_port: 0,
                container_port: 80,
            },
        )
        .await
        .unwrap();
    let taken = node
        .supervisor
        .net_in(
            &b,
            PortMapping {
                host_port: given.host_port,
                container_port: 80,
            },
        )
        .await;
    assert!(matches!(taken, Err(Error::PortInUse { .. })));
    assert_eq!(node.firewall.forwards().len(), 1);
    node.supervisor.destroy(&a).await.unwrap();
    assert!(node.firewall.forwards().is_empty());
}

#[tokio::test]
async fn what_the_node_does_not_allow_is_refused_before_anything_is_made() {
    let node = Node::new();
    let privileged = ContainerSpec {
        privileged: true,
        ..named("p")
    };
    assert!(matches!(
        node.supervisor.create(privileged.clone()).await,
        Err(Error::NotAllowed { .. })
    ));
    node.policy.send_replace(Arc::new(Policy {
        privileged_allowed: true,
        max_containers: 1,
        ..Policy::sample()
    }));
    node.supervisor.create(privileged).await.unwrap();
    assert!(matches!(
        node.supervisor.create(named("q")).await,
        Err(Error::Exhausted { .. })
    ));
    assert_eq!(node.recorded().await, 1);
}

#[tokio::test]
async fn an_image_that_is_nowhere_is_a_clear_error() {
    let node = Node::new();
    let image = ImageSource::Named {
        name: "nowhere:1".into(),
        username: String::new(),
        password: String::new(),
    };
    let error = node
        .supervisor
        .create(ContainerSpec { image, ..named("web") })
        .await
        .unwrap_err();
    assert!(error.chain().contains("nowhere:1"), "{}", error.chain());
}

#[tokio::test]
async fn properties_are_kept_and_filtered_by() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    node.supervisor.set_property(&handle, "k", "v".into()).await.unwrap();
    let filter = |value: &str| Properties::from([("k".to_owned(), value.to_owned())]);
    assert_eq!(node.supervisor.list(&filter("v")).len(), 1);
    assert!(node.supervisor.list(&filter("w")).is_empty());
    node.supervisor.remove_property(&handle, "k").await.unwrap();
    let gone = node.supervisor.property(&handle, "k").unwrap_err();
    assert_eq!(gone.to_string(), "property does not exist: k");
}

#[tokio::test]
async fn what_comes_for_an_ended_process_is_passed_over() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let attachment = node.supervisor.run(&handle, process("cat", &[])).await.unwrap();
    let control = attachment.control();
    control.write(Bytes::from("hello"), None).await.unwrap();
    let mut output = attachment.take_output(Stream::Stdout).unwrap();
    assert_eq!(output.next().await.unwrap(), Some(Chunk::Data(Bytes::from("hello"))));
    control.close_input().await.unwrap();
    assert_eq!(attachment.wait().await.unwrap().0, 0);
    control.signal(15).await.unwrap();
    control.write(Bytes::from("late"), None).await.unwrap();
}

#[tokio::test]
async fn a_create_that_fails_at_its_last_step_leaves_no_rule_behind() {
    let node = Node::new();
    let spec = ContainerSpec {
        start: true,
        command: vec!["missing".into()],
        ports: vec![PortMapping {
            host_port: 0,
            container_port: 80,
        }],
        ..named("web")
    };
    let error = node.supervisor.create(spec).await.unwrap_err();
    assert!(matches!(error, Error::ExecutableNotFound { .. }), "{error}");
    assert!(node.firewall.forwards().is_empty());
    assert_eq!(
        (node.engine_has().await, node.directories(), node.recorded().await),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn a_late_change_does_not_bring_a_destroyed_container_back() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let entry = node.supervisor.entries().remove(0);
    node.supervisor.destroy(&handle).await.unwrap();
    let late = entry
        .change(&node.supervisor.parts().inventory, |record| {
            record.events.push("late".into())
        })
        .await;
    assert!(matches!(late, Err(Error::ContainerNotFound { .. })));
    assert_eq!(node.recorded().await, 0);
    node.supervisor.create(named("web")).await.unwrap();
}

#[tokio::test]
async fn an_engine_that_does_not_answer_makes_nothing_dead() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let entry = node.supervisor.entries().remove(0);
    node.engine.fail_at(Step::Inspect, 1);
    node.supervisor.may_have_died(&entry).await;
    assert_eq!(node.supervisor.info(&handle).await.unwrap().state, State::Active);
    node.supervisor.run(&handle, process("echo", &[])).await.unwrap();
}

#[tokio::test]
async fn the_end_of_a_process_is_told_although_its_name_is_asked_for_again() {
    let node = Node::new();
    let handle = node.supervisor.create(named("web")).await.unwrap().handle;
    let id = Some("p".parse::<ProcessId>().unwrap());
    let first = node
        .supervisor
        .run(
            &handle,
            ProcessSpec {
                id: id.clone(),
                ..process("sleep", &[])
            },
        )
        .await
        .unwrap();
    let second = node
        .supervisor
        .run(
            &handle,
            ProcessSpec {
                id,
                ..process("usurp", &[])
            },
        )
        .await;
    assert!(matches!(second.err(), Some(Error::ProcessExists { .. })));
    assert_eq!(first.wait().await.unwrap().0, 7);
}

#[tokio::test]
async fn clients_of_a_container_that_died_are_told_at_once() {
    let node = Node::new();
    let info = node.supervisor.create(named("web")).await.unwrap();
    let attachment = node.supervisor.run(&info.handle, process("sleep", &[])).await.unwrap();
    let mut output = attachment.take_output(Stream::Stdout).unwrap();
    node.engine.exit(&engine::ContainerId(info.engine_id), 1);
    node.supervisor.reconcile().await.unwrap();
    let entry = node.supervisor.entries().remove(0);
    node.supervisor.may_have_died(&entry).await;
    assert_eq!(attachment.wait().await.unwrap().0, 137);
    assert_eq!(output.next().await.unwrap(), None);
    assert!(node.supervisor.run(&info.handle, process("echo", &[])).await.is_err());
    assert_eq!(node.supervisor.info(&info.handle).await.unwrap().state, State::Stopped);
}
