//! What the supervisor and its workers promise, on processes in memory and on one real one.
//!
//! Times are short so that back-off is seen soon; nothing is asserted about them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cluster::process::{Observed, Process, State, Wanted};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::backoff::Timing;
use super::error::Error;
use super::memory::{Memory, Wish};
use super::probe::{Answer, Probe};
use super::process_control::fake::FakeProcesses;
use super::process_control::own::OwnProcesses;
use super::process_control::{Ask, End, Launch, ProcessControl};
use super::supervisor::Supervisor;
use super::table::Entry;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn timing() -> Timing {
    Timing {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(4),
        fatal_after: 3,
        healthy_after: DEADLINE,
        ask_starting: Duration::from_millis(1),
        ask_running: Duration::from_millis(5),
        answer_within: Duration::from_secs(5),
        needs_within: DEADLINE,
        end_within: Duration::from_millis(50),
        die_within: DEADLINE,
    }
}

/// A process that is ready when a test says so.
#[derive(Clone)]
struct Switch(Arc<AtomicBool>);

#[async_trait]
impl Probe for Switch {
    async fn ask(&self) -> Answer {
        let problem = if self.0.load(Ordering::SeqCst) {
            ""
        } else {
            "it is switched off"
        };
        Answer {
            problem: problem.to_owned(),
            pid: None,
        }
    }
}

/// A node whose processes are in memory.
struct Node {
    directory: TempDir,
    control: Arc<FakeProcesses>,
    ready: Switch,
    timing: Timing,
}

impl Node {
    fn new() -> Self {
        let ready = Switch(Arc::new(AtomicBool::new(true)));
        let directory = tempfile::tempdir().unwrap();
        Node {
            directory,
            control: Arc::default(),
            ready,
            timing: timing(),
        }
    }

    fn state_file(&self) -> PathBuf {
        self.directory.path().join("agent.json")
    }

    fn memory(&self) -> Memory {
        Memory::load(&self.state_file()).unwrap()
    }

    fn entry(&self, process: Process, program: Option<&str>) -> Entry {
        let log = self.directory.path().join("log");
        let launch = program.map(|program| Launch {
            process,
            unit: String::new(),
            program: program.into(),
            args: Vec::new(),
            log: log.clone(),
            place: None,
        });
        Entry {
            process,
            launch,
            probe: Arc::new(self.ready.clone()),
            log,
        }
    }

    /// An agent that looks after fence, with this program.
    fn agent(&self, program: &str) -> Supervisor {
        self.agent_of(vec![self.entry(Process::Fence, Some(program))])
    }

    fn agent_of(&self, table: Vec<Entry>) -> Supervisor {
        Supervisor::start_up(
            table,
            Arc::clone(&self.control) as Arc<dyn ProcessControl>,
            self.memory(),
            self.timing,
        )
    }

    fn pid(&self, program: &str) -> Option<u32> {
        self.control.alive().get(program).copied()
    }
}

async fn seen(agent: &Supervisor, process: Process) -> Observed {
    agent
        .list()
        .await
        .into_iter()
        .find(|seen| seen.process == process)
        .unwrap()
}

/// Wait until the process is seen so.
async fn eventually(agent: &Supervisor, process: Process, is_so: impl Fn(&Observed) -> bool) -> Observed {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let now = seen(agent, process).await;
        if is_so(&now) {
            return now;
        }
        assert!(Instant::now() < deadline, "still {now:?}");
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_is_wanted_is_started_without_an_order() {
    let node = Node::new();
    let agent = node.agent("fence");
    agent.ready(&[], None).await.unwrap();
    let now = seen(&agent, Process::Fence).await;
    assert_eq!(
        (now.state, now.pid, now.wanted),
        (State::Running, node.pid("fence"), Wanted::Running)
    );
}

#[tokio::test]
async fn who_is_needed_is_ready_before_the_other_is_started() {
    let node = Node::new();
    let docker = Switch(Arc::new(AtomicBool::new(false)));
    let first = Entry {
        probe: Arc::new(docker.clone()),
        ..node.entry(Process::Docker, Some("docker"))
    };
    let agent = node.agent_of(vec![first, node.entry(Process::Fence, Some("fence"))]);
    eventually(&agent, Process::Docker, |seen| seen.problem == "it is switched off").await;
    assert_eq!(node.control.started(), ["docker"]);
    docker.0.store(true, Ordering::SeqCst);
    agent.ready(&[Process::Fence], None).await.unwrap();
    assert_eq!(node.control.started(), ["docker", "fence"]);
}

#[tokio::test]
async fn a_process_does_not_wait_for_ever_for_what_it_needs() {
    let mut node = Node::new();
    node.timing.needs_within = Duration::from_millis(1);
    let off = Switch(Arc::new(AtomicBool::new(false)));
    let first = Entry {
        probe: Arc::new(off),
        ..node.entry(Process::Docker, Some("docker"))
    };
    let agent = node.agent_of(vec![first, node.entry(Process::Fence, Some("fence"))]);
    agent.ready(&[Process::Fence], Some(DEADLINE)).await.unwrap();
}

#[tokio::test]
async fn what_was_stopped_stays_stopped_for_the_next_agent() {
    let node = Node::new();
    let agent = node.agent("fence");
    agent.ready(&[], None).await.unwrap();
    agent.stop(&[Process::Fence], DEADLINE).await.unwrap();
    assert_eq!(node.pid("fence"), None);
    drop(agent);
    let next = node.agent("fence");
    eventually(&next, Process::Fence, |seen| {
        seen.state == State::Stopped && seen.wanted == Wanted::Stopped
    })
    .await;
    assert_eq!(node.control.started(), ["fence"]);
    next.start(&[Process::Fence], DEADLINE).await.unwrap();
    assert_eq!(node.control.started(), ["fence", "fence"]);
}

#[tokio::test]
async fn an_agent_that_ends_leaves_processes_to_the_next() {
    let node = Node::new();
    let agent = node.agent("fence");
    agent.ready(&[], None).await.unwrap();
    let before = seen(&agent, Process::Fence).await;
    drop(agent);
    let next = node.agent("fence");
    next.ready(&[], None).await.unwrap();
    let after = seen(&next, Process::Fence).await;
    assert_eq!((after.pid, after.since), (before.pid, before.since));
    assert_eq!(node.control.started(), ["fence"]);
}

#[tokio::test]
async fn a_process_that_an_agent_could_not_remember_is_known_by_its_answer() {
    struct Says(u32);
    #[async_trait]
    impl Probe for Says {
        async fn ask(&self) -> Answer {
            Answer {
                problem: String::new(),
                pid: Some(self.0),
            }
        }
    }
    let node = Node::new();
    let entry = node.entry(Process::Fence, Some("fence"));
    let process = node.control.start(entry.launch.as_ref().unwrap()).await.unwrap();
    let agent = node.agent_of(vec![Entry {
        probe: Arc::new(Says(process.pid)),
        ..entry
    }]);
    agent.ready(&[], None).await.unwrap();
    assert_eq!(seen(&agent, Process::Fence).await.pid, Some(process.pid));
    assert_eq!(node.control.started(), ["fence"]);
}

#[tokio::test]
async fn a_process_that_dies_is_started_again() {
    let node = Node::new();
    let agent = node.agent("fence");
    agent.ready(&[], None).await.unwrap();
    let first = node.pid("fence");
    node.control.crash("fence", End::Code(1));
    eventually(&agent, Process::Fence, |seen| seen.is_ready() && seen.pid != first).await;
}

#[tokio::test]
async fn a_process_that_dies_again_and_again_is_fatal_and_still_tried() {
    let node = Node::new();
    let agent = node.agent("exit-7");
    let now = eventually(&agent, Process::Fence, |seen| seen.state == State::Fatal).await;
    assert_eq!(now.problem, "it ended with exit code 7");
    let tried = node.control.started().len();
    eventually(&agent, Process::Fence, |_| node.control.started().len() > tried).await;
    std::fs::write(node.directory.path().join("log"), "the last words\n").unwrap();
    let Err(Error::NotAsWanted { seen, log, .. }) = agent.restart(&[Process::Fence], DEADLINE).await else {
        panic!("it cannot have become ready")
    };
    assert_eq!((seen.generation, log), (1, vec!["the last words".to_owned()]));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told() {
    let node = Node::new();
    let agent = node.agent("missing");
    let now = eventually(&agent, Process::Fence, |seen| seen.state == State::Backoff).await;
    assert!(now.problem.starts_with("could not start missing"), "{now:?}");
}

#[tokio::test]
async fn a_restart_answers_when_the_new_one_is_ready() {
    let node = Node::new();
    let agent = node.agent("fence");
    agent.ready(&[], None).await.unwrap();
    let first = node.pid("fence");
    agent.restart(&[Process::Fence], DEADLINE).await.unwrap();
    let now = seen(&agent, Process::Fence).await;
    assert!(
        now.is_ready() && now.pid != first && now.pid == node.pid("fence"),
        "{now:?}"
    );
}

#[tokio::test]
async fn a_restart_that_one_agent_promised_is_done_by_the_next() {
    let node = Node::new();
    let agent = node.agent("fence");
    agent.ready(&[], None).await.unwrap();
    let first = node.pid("fence");
    drop(agent);
    node.memory()
        .set_wish(
            Process::Fence,
            Wish {
                run: true,
                generation: 1,
            },
        )
        .unwrap();
    let next = node.agent("fence");
    next.ready(&[], None).await.unwrap();
    assert_ne!(node.pid("fence"), first);
    assert_eq!(node.control.alive().len(), 1);
}

#[tokio::test]
async fn a_process_that_takes_no_notice_is_killed() {
    let node = Node::new();
    let agent = node.agent("stubborn");
    agent.ready(&[], None).await.unwrap();
    agent.stop(&[], DEADLINE).await.unwrap();
    assert!(node.control.alive().is_empty());
}

#[tokio::test]
async fn not_being_ready_in_time_says_why() {
    let node = Node::new();
    node.ready.0.store(false, Ordering::SeqCst);
    let agent = node.agent("fence");
    eventually(&agent, Process::Fence, |seen| !seen.problem.is_empty()).await;
    let error = agent.ready(&[Process::Fence], Some(Duration::ZERO)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "fence is not ready: it is STARTING: it is switched off"
    );
    node.ready.0.store(true, Ordering::SeqCst);
    agent.ready(&[Process::Fence], None).await.unwrap();
}

#[tokio::test]
async fn a_process_that_stops_answering_runs_with_a_problem() {
    let node = Node::new();
    let agent = node.agent("fence");
    agent.ready(&[], None).await.unwrap();
    node.ready.0.store(false, Ordering::SeqCst);
    let error = agent.ready(&[], Some(Duration::ZERO)).await.unwrap_err();
    assert!(error.to_string().ends_with("it is switched off"), "{error}");
    eventually(&agent, Process::Fence, |seen| {
        seen.state == State::Running && !seen.is_in_order()
    })
    .await;
    assert_eq!(node.control.started(), ["fence"]);
}

#[tokio::test]
async fn what_somebody_else_runs_is_watched_and_left_alone() {
    let node = Node::new();
    let agent = node.agent_of(vec![
        node.entry(Process::Docker, None),
        node.entry(Process::Fence, Some("fence")),
    ]);
    agent.ready(&[], None).await.unwrap();
    assert_eq!(seen(&agent, Process::Docker).await.wanted, Wanted::External);
    let error = agent.stop(&[Process::Docker], DEADLINE).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::External {
                process: Process::Docker
            }
        ),
        "{error}"
    );
    agent.restart(&[], DEADLINE).await.unwrap();
    agent.stop(&[], DEADLINE).await.unwrap();
    assert_eq!(node.control.started(), ["fence", "fence"]);
    assert_eq!(seen(&agent, Process::Docker).await.state, State::Running);
    let error = agent.start(&[Process::Agent], DEADLINE).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::NotHere {
                process: Process::Agent
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn what_no_role_has_any_more_is_shown_and_can_be_stopped() {
    let node = Node::new();
    let agent = node.agent("fence");
    agent.ready(&[], None).await.unwrap();
    drop(agent);
    let next = node.agent_of(Vec::new());
    assert_eq!(seen(&next, Process::Fence).await.state, State::Rogue);
    next.stop(&[Process::Fence], DEADLINE).await.unwrap();
    assert!(next.list().await.is_empty() && node.control.alive().is_empty());
}

#[tokio::test]
async fn an_order_that_cannot_be_remembered_is_not_carried_out() {
    let node = Node::new();
    let agent = node.agent("fence");
    agent.ready(&[], None).await.unwrap();
    std::fs::remove_dir_all(node.directory.path()).unwrap();
    let error = agent.stop(&[Process::Fence], DEADLINE).await.unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
    assert!(node.pid("fence").is_some() && seen(&agent, Process::Fence).await.is_ready());
}

/// Ready while a file is there.
struct FileThere(PathBuf);

#[async_trait]
impl Probe for FileThere {
    async fn ask(&self) -> Answer {
        let problem = if self.0.exists() { "" } else { "it made no file" };
        Answer {
            problem: problem.to_owned(),
            pid: None,
        }
    }
}

/// A process that says which one it is.
struct Says(u32);

#[async_trait]
impl Probe for Says {
    async fn ask(&self) -> Answer {
        Answer {
            problem: String::new(),
            pid: Some(self.0),
        }
    }
}

#[tokio::test]
async fn who_answers_is_adopted_if_it_is_the_program_and_a_stranger_never() {
    for (program, adopted) in [("fence", true), ("stranger", false)] {
        let node = Node::new();
        let mut entry = node.entry(Process::Fence, Some("fence"));
        let launch = Launch {
            program: program.into(),
            ..entry.launch.clone().unwrap()
        };
        let before = node.control.start(&launch).await.unwrap();
        entry.probe = Arc::new(Says(before.pid));
        let agent = node.agent_of(vec![entry]);
        let seen = eventually(&agent, Process::Fence, Observed::is_ready).await;
        assert_eq!(seen.pid == Some(before.pid), adopted, "{program}");
        agent.stop(&[], DEADLINE).await.unwrap();
        assert_eq!(node.control.is_alive(&before).await.unwrap(), !adopted, "{program}");
    }
}

fn real_entry(directory: &Path) -> Entry {
    let program = directory.join("program");
    std::fs::write(
        &program,
        "#!/bin/sh\necho started\ntouch \"$1\"\nexec tail -f /dev/null\n",
    )
    .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (log, ready) = (directory.join("logs/fence.log"), directory.join("ready"));
    let launch = Launch {
        process: Process::Fence,
        unit: String::new(),
        program,
        args: vec![ready.clone().into()],
        log: log.clone(),
        place: None,
    };
    Entry {
        process: Process::Fence,
        launch: Some(launch),
        probe: Arc::new(FileThere(ready)),
        log,
    }
}

#[tokio::test]
async fn a_real_process_is_adopted_by_the_next_agent_and_started_again_when_it_dies() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("agent.json");
    let entry = real_entry(directory.path());
    let agent = |control: Arc<OwnProcesses>| {
        let timing = Timing {
            end_within: DEADLINE,
            ..timing()
        };
        Supervisor::start_up(vec![entry.clone()], control, Memory::load(&state).unwrap(), timing)
    };
    let first = agent(Arc::default());
    first.ready(&[], Some(DEADLINE)).await.unwrap();
    let pid = seen(&first, Process::Fence).await.pid;
    drop(first);

    let control = Arc::new(OwnProcesses::default());
    let next = agent(Arc::clone(&control));
    next.ready(&[], Some(DEADLINE)).await.unwrap();
    assert_eq!(seen(&next, Process::Fence).await.pid, pid);

    let process = control.identify(pid.unwrap()).await.unwrap().unwrap();
    control.ask(&process, Ask::Die).await.unwrap();
    eventually(&next, Process::Fence, |seen| seen.is_ready() && seen.pid != pid).await;
    // The file that says ready is the first one's, so the second may not have come to its words yet.
    let deadline = Instant::now() + DEADLINE;
    while std::fs::read_to_string(&entry.log).unwrap() != "started\nstarted\n" {
        assert!(Instant::now() < deadline, "the second one said nothing");
        sleep(Duration::from_millis(1)).await;
    }
    next.stop(&[], DEADLINE).await.unwrap();
    assert_eq!(seen(&next, Process::Fence).await.state, State::Stopped);
}
