//! The agent as a member, on a store and processes in memory.

use std::path::Path;

use cluster::config::Name;
use cluster::nodes::report::{alive_key, state};
use cluster::nodes::{DockerSettings, Nodes, Record, Report, Role};
use cluster::process::{self, OrderAction, Process, State, Wanted, give};
use cluster::store::Txn;
use cluster::store::memory::MemoryStore;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::agent::backoff::Timing;
use crate::agent::memory::Memory;
use crate::agent::probe::{Answer, Probe};
use crate::agent::process_control::fake::FakeProcesses;
use crate::agent::process_control::{Launch, ProcessControl};
use crate::agent::supervisor::Supervisor;
use crate::fence_api;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

struct Ready;

#[async_trait::async_trait]
impl Probe for Ready {
    async fn ask(&self) -> Answer {
        let (problem, pid) = (String::new(), None);
        Answer { problem, pid }
    }
}

/// A micro cloud's node, whose processes are in memory, and whose store is in memory.
struct Node {
    directory: TempDir,
    store: Arc<dyn Store>,
    control: Arc<FakeProcesses>,
    file: NodeFile,
    agent: Option<JoinHandle<()>>,
}

impl Node {
    /// One whose agent runs.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = NodeFile::micro(&name("one"), DockerSettings::default());
        let mut node = Node {
            directory,
            store: Arc::new(MemoryStore::new()),
            control: Arc::default(),
            file,
            agent: None,
        };
        std::fs::create_dir_all(node.paths().kato_lib()).unwrap();
        node.file.save(&node.paths()).unwrap();
        node.start();
        node
    }

    fn paths(&self) -> Paths {
        Paths::from_root(Some(self.directory.path()))
    }

    /// Start the agent, anew where it runs.
    fn start(&mut self) {
        self.stop();
        let (paths, log) = (self.paths(), self.directory.path().join("log"));
        let table = move |node: &NodeFile| entries(node, &log);
        let file = NodeFile::load(&paths).unwrap();
        let memory = Memory::load(&paths.agent_state()).unwrap();
        let control = Arc::clone(&self.control) as Arc<dyn ProcessControl>;
        let timing = Timing {
            ask_running: Duration::from_millis(5),
            ..Timing::default()
        };
        let desk = Desk {
            supervisor: Supervisor::start_up(table(&file), control, memory, timing),
            agent: crate::agent::own_info(),
            fence: fence_api::Client::new(&paths),
            shutdown: CancellationToken::new(),
            standing: watch::Sender::new(None),
        };
        let member = Member {
            store: Arc::clone(&self.store),
            table: Box::new(table),
            ..Member::new(&paths, file, Arc::new(desk))
        };
        self.agent = Some(tokio::spawn(async move { member.run().await }));
    }

    fn stop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.abort();
        }
    }

    fn nodes(&self) -> Nodes {
        Nodes::new(Arc::clone(&self.store))
    }

    /// Wait until the node's report is so.
    async fn reported(&self, is_so: impl Fn(&Report) -> bool) -> Report {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let now = state(self.store.as_ref(), self.file.id).await.unwrap().report;
            if let Some(report) = now.as_ref().filter(|report| is_so(report)) {
                return report.clone();
            }
            assert!(Instant::now() < deadline, "still {now:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_alive(&self) -> bool {
        state(self.store.as_ref(), self.file.id).await.unwrap().alive.is_some()
    }

    async fn eventually_alive(&self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.is_alive().await {
            assert!(Instant::now() < deadline, "not alive");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn order(&self, process: Process, action: OrderAction) -> u64 {
        let within = Duration::from_secs(30);
        give(self.store.as_ref(), self.file.id, process, action, within, "admin")
            .await
            .unwrap()
    }

    async fn change(&self, change: impl Fn(&mut Record)) {
        let change = |record: &mut Record| {
            change(record);
            Ok(())
        };
        self.nodes().change(self.file.id, change).await.unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Docker is somebody else's; fence is a process in memory.
fn entries(node: &NodeFile, log: &Path) -> Vec<Entry> {
    let mut processes = process::of_roles(&node.roles);
    processes.retain(|process| matches!(process, Process::Docker | Process::Fence));
    let entry = |process: Process| Entry {
        process,
        launch: (process == Process::Fence).then(|| Launch {
            process,
            unit: String::new(),
            program: "fence".into(),
            args: Vec::new(),
            log: log.to_path_buf(),
            place: None,
        }),
        probe: Arc::new(Ready),
        log: log.to_path_buf(),
    };
    processes.into_iter().map(entry).collect()
}

fn fence_is(report: &Report, state: State) -> bool {
    report.process(Process::Fence).is_some_and(|seen| seen.state == state)
}

#[tokio::test]
async fn a_micro_clouds_node_makes_its_record_and_says_how_it_is() {
    let node = Node::new();
    let report = node.reported(|report| fence_is(report, State::Running)).await;
    assert_eq!(
        (report.name.as_str(), report.roles.as_slice()),
        ("one", [Role::Base, Role::Dea].as_slice())
    );
    assert_eq!(report.processes[0].process, Process::Agent);
    node.eventually_alive().await;
    let record = node.nodes().find("one").await.unwrap();
    assert_eq!((record.id, record.realm.as_str()), (node.file.id, "default"));
}

#[tokio::test]
async fn a_sign_of_life_and_a_record_that_are_lost_come_back() {
    let node = Node::new();
    node.reported(|report| fence_is(report, State::Running)).await;
    node.nodes().remove(node.file.id).await.unwrap();
    node.reported(|report| fence_is(report, State::Running)).await;
    node.eventually_alive().await;
    assert_eq!(node.nodes().find("one").await.unwrap().id, node.file.id);
    // The lease itself is gone.
    let lease = node
        .store
        .get(&alive_key(node.file.id))
        .await
        .unwrap()
        .unwrap()
        .lease
        .unwrap();
    node.store.revoke(lease).await.unwrap();
    node.eventually_alive().await;
}

#[tokio::test]
async fn an_order_is_done_once_and_answered_with_its_number() {
    let mut node = Node::new();
    let before = node.reported(|report| fence_is(report, State::Running)).await;
    let number = node.order(Process::Fence, OrderAction::Restart).await;
    let answered = |report: &Report| {
        report
            .orders
            .get(&Process::Fence)
            .is_some_and(|done| done.number >= number)
    };
    let after = node
        .reported(|report| answered(report) && fence_is(report, State::Running))
        .await;
    assert_eq!(after.orders[&Process::Fence].problem, "");
    assert_ne!(
        after.process(Process::Fence).unwrap().pid,
        before.process(Process::Fence).unwrap().pid
    );
    assert_eq!(node.control.started().len(), 2);
    // The next agent knows that it was done.
    node.start();
    let since = after.processes[0].since;
    node.reported(|report| report.processes[0].since != since && fence_is(report, State::Running))
        .await;
    let number = node.order(Process::Fence, OrderAction::Stop).await;
    let answered = |report: &Report| {
        report
            .orders
            .get(&Process::Fence)
            .is_some_and(|done| done.number >= number)
    };
    let stopped = node
        .reported(|report| answered(report) && fence_is(report, State::Stopped))
        .await;
    assert_eq!(stopped.process(Process::Fence).unwrap().wanted, Wanted::Stopped);
    assert_eq!(node.control.started().len(), 2);
}

#[tokio::test]
async fn an_order_of_the_time_when_no_agent_ran_is_done_by_the_next() {
    let mut node = Node::new();
    node.reported(|report| fence_is(report, State::Running)).await;
    node.stop();
    let number = node.order(Process::Fence, OrderAction::Stop).await;
    node.start();
    node.reported(|report| {
        report
            .orders
            .get(&Process::Fence)
            .is_some_and(|done| done.number >= number)
    })
    .await;
    assert_eq!(node.control.alive().len(), 0);
}

#[tokio::test]
async fn what_cannot_be_done_is_answered_with_the_reason() {
    let node = Node::new();
    node.reported(|report| fence_is(report, State::Running)).await;
    for (process, reason) in [
        (Process::Docker, "was on this machine before"),
        (Process::Config, "is no process of this node"),
        (Process::Agent, "on its own node"),
    ] {
        node.order(process, OrderAction::Restart).await;
        let report = node.reported(|report| report.orders.contains_key(&process)).await;
        let problem = &report.orders[&process].problem;
        assert!(problem.contains(reason), "{problem}");
    }
}

#[tokio::test]
async fn processes_go_and_come_with_their_role() {
    let node = Node::new();
    node.reported(|report| fence_is(report, State::Running)).await;
    node.order(Process::Fence, OrderAction::Stop).await;
    node.reported(|report| fence_is(report, State::Stopped)).await;
    node.change(|record| record.roles = vec![]).await;
    let without = node.reported(|report| report.process(Process::Fence).is_none()).await;
    assert_eq!(without.roles, [Role::Base]);
    assert_eq!(NodeFile::load(&node.paths()).unwrap().roles, [Role::Base]);
    assert_eq!(node.control.alive().len(), 0);
    // What was wanted of it before is forgotten, and nobody makes itself the core.
    node.change(|record| record.roles = vec![Role::Base, Role::Dea, Role::Core])
        .await;
    let with = node.reported(|report| fence_is(report, State::Running)).await;
    assert_eq!(with.roles, [Role::Base, Role::Dea]);
    assert_eq!(node.control.alive().len(), 1);
}

#[tokio::test]
async fn a_new_name_is_in_the_nodes_file_and_in_its_report() {
    let node = Node::new();
    let before = node.reported(|report| fence_is(report, State::Running)).await;
    node.change(|record| record.name = name("uno")).await;
    node.reported(|report| report.name.as_str() == "uno").await;
    let file = NodeFile::load(&node.paths()).unwrap();
    assert_eq!((file.name.as_str(), file.id), ("uno", node.file.id));
    let after = node.reported(|report| fence_is(report, State::Running)).await;
    assert_eq!(after.process(Process::Fence), before.process(Process::Fence));
}

#[tokio::test]
async fn the_revision_of_the_configuration_is_reported_when_it_changes() {
    let node = Node::new();
    node.reported(|report| report.config_revision == Some(0)).await;
    let head = r#"{"format":1,"last":1}"#;
    node.store.txn(Txn::new().put("config/head", head)).await.unwrap();
    node.reported(|report| report.config_revision > Some(0)).await;
}

#[tokio::test]
async fn how_far_a_node_is_being_retired_is_in_its_report() {
    const SAID: &str = r#"{"ready": true, "retiring": {"since": "2026-01-02T03:04:05Z", "seconds_left": 540, "active": 5,
        "stopped": 2}}"#;
    let mut node = Node::new();
    let socket = node.paths().garden_socket();
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = tokio::net::UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            // Who asked may be gone again.
            let _ = stream.read(&mut head).await;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{SAID}", SAID.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    // Fence is asked anew.
    node.start();
    let report = node.reported(|report| report.retiring.is_some()).await;
    let retiring = report.retiring.unwrap();
    assert_eq!((retiring.seconds_left, retiring.active, retiring.stopped), (540, 5, 2));
}
