//! The agent and its processes through the commands: a node whose `fence` is a script.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Machine, Ran};

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A node that is stopped when the test ends, however it ends.
pub struct Node(pub Machine);

impl Node {
    /// A node whose fence is this script, set up and not started.
    fn new(script: &str) -> Self {
        let machine = Machine::with_fence(script);
        let docker = machine.root().join("docker.sock");
        let docker = docker.to_str().expect("a path of text");
        let ran = machine.kato([
            "node",
            "setup",
            "micro",
            "--no-start",
            "--name",
            "one",
            "--docker",
            docker,
        ]);
        assert_eq!(ran.code(), 0, "{ran}");
        Node(machine)
    }

    /// A node whose fence runs, and which answers as a fence that is ready.
    pub fn running() -> Self {
        let node = Node::new("exec tail -f /dev/null");
        let status = r#"{"ready": true, "engine": {"state": "ok"}, "config": {"revision": 3},
            "image": {"configured": ["a:1"], "in_use": "a:1", "state": "ok"}}"#;
        node.0.answer_at("run/fence/garden.sock", status);
        let ran = node.kato("start");
        assert_eq!(ran.code(), 0, "{ran}");
        node
    }

    /// Run `kato` with these words.
    pub fn kato(&self, words: &str) -> Ran {
        self.0.kato(words.split(' '))
    }

    /// What `process list` says of a process.
    fn seen(&self, process: &str) -> Value {
        self.kato(&format!("process list -j {process}")).json()[0].take()
    }

    /// The process's pid, which must run.
    pub fn pid(&self, process: &str) -> u64 {
        let seen = self.seen(process);
        seen["pid"].as_u64().unwrap_or_else(|| panic!("no pid in {seen}"))
    }

    /// Wait until a process is seen so.
    fn eventually(&self, process: &str, is_so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let seen = self.seen(process);
            if is_so(&seen) {
                return;
            }
            assert!(Instant::now() < deadline, "still {seen}");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kato("stop");
    }
}

/// End a process at once.
fn kill(pid: u64) {
    signal(pid, "-KILL");
}

fn signal(pid: u64, signal: &str) {
    let sent = std::process::Command::new("/bin/kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn a_node_that_runs_is_in_order() {
    let node = Node::running();
    let ran = node.kato("status -j");
    assert_eq!(ran.code(), 0, "{ran}");
    let status = &ran.json()["nodes"][0];
    assert_eq!(
        (&status["config"]["revision"], &status["image"]["in_use"]),
        (&Value::from(3), &Value::from("a:1"))
    );
    assert_eq!(status["problems"], Value::Array(Vec::new()));
    insta::assert_snapshot!(node.kato("process ready --block 30 all"), @"
    exit: 0
    ---- stdout
    READY
    ");
}

#[test]
fn a_restart_answers_with_the_new_process() {
    let node = Node::running();
    let before = node.pid("fence");
    let ran = node.kato("process restart fence");
    let after = node.pid("fence");
    assert_ne!(after, before);
    assert_eq!(
        ran.to_string(),
        format!("exit: 0\n---- stderr\nfence restarted (pid {after})\n")
    );
}

#[test]
fn a_start_of_what_runs_says_so_and_all_are_all_of_the_node() {
    let node = Node::running();
    let pid = node.pid("fence");
    for words in ["process start fence", "process start all", "start"] {
        assert_eq!(
            node.kato(words).stderr(),
            format!("fence is running (pid {pid})\n"),
            "{words}"
        );
    }
    assert_eq!(node.kato("process stop all").stderr(), "fence stopped\n");
}

#[test]
fn what_was_stopped_stays_stopped_when_the_agent_is_restarted() {
    let node = Node::running();
    assert_eq!(node.kato("process stop fence").stderr(), "fence stopped\n");
    assert_eq!(node.kato("process restart agent").code(), 0);
    let seen = node.seen("fence");
    assert_eq!(
        (&seen["state"], &seen["wanted"]),
        (&Value::from("STOPPED"), &Value::from("stopped"))
    );
    assert_eq!(node.kato("status").code(), 0);
    let ran = node.kato("process ready fence");
    assert_eq!(ran.code(), 5, "{ran}");
    assert!(ran.stderr().ends_with("hint: kato process start fence\n"), "{ran}");
}

#[test]
fn a_killed_agent_leaves_its_processes_to_the_next() {
    let node = Node::running();
    let (agent, fence) = (node.pid("agent"), node.pid("fence"));
    kill(agent);
    let deadline = Instant::now() + DEADLINE;
    while node.kato("process list").code() == 0 {
        assert!(Instant::now() < deadline, "the agent still answers");
    }
    let ran = node.kato("status -j");
    assert_eq!(
        (ran.code(), ran.json()["nodes"][0]["processes"][2]["pid"].as_u64()),
        (1, Some(fence)),
        "{ran}"
    );
    assert_eq!(node.kato("start").code(), 0);
    assert_eq!(node.pid("fence"), fence);
}

#[test]
fn a_stop_without_an_agent_stops_what_it_left() {
    let node = Node::running();
    let fence = node.pid("fence");
    kill(node.pid("agent"));
    insta::assert_snapshot!(node.kato("stop"), @"
    exit: 0
    ---- stderr
    all processes are stopped
    ");
    // Gone, or dead and not collected yet by whoever became its parent.
    let stat = std::fs::read_to_string(format!("/proc/{fence}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

#[test]
fn an_agent_that_is_dying_still_takes_connections_and_is_replaced() {
    let node = Node::running();
    kill(node.pid("agent"));
    let socket = node.0.root().join("run/kato/agent.sock");
    std::fs::remove_file(&socket).expect("the socket that it left");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    // Closed with the question unread, which its peer sees as a reset.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let ran = node.kato("process list");
    assert_eq!(ran.code(), 5, "{ran}");
    assert!(ran.stderr().contains("ended before it answered"), "{ran}");
    assert!(ran.stderr().ends_with("hint: kato start\n"), "{ran}");
    assert_eq!(node.kato("start").code(), 0);
}

#[test]
fn an_agent_that_hangs_is_there_and_can_be_replaced_as_the_hint_says() {
    let node = Node::running();
    let (agent, fence) = (node.pid("agent"), node.pid("fence"));
    signal(agent, "-STOP");
    let ran = node.kato("start");
    kill(agent);
    assert_eq!(
        ran.to_string(),
        format!(
            "exit: 5\n---- stderr\n\
             kato: the agent of this node does not answer (<root>/run/kato/agent.sock): no answer within 5 s\n\
             hint: kill -9 {agent} && kato start\n"
        )
    );
    assert_eq!(node.kato("start").code(), 0);
    assert_eq!(node.pid("fence"), fence);
}

#[test]
fn a_fence_that_cannot_start_shows_its_last_words() {
    let node = Node::new("echo no room left; exit 3");
    let ran = node.kato("start --timeout 1");
    assert_eq!(ran.code(), 5, "{ran}");
    assert!(
        ran.stderr().contains("it ended with exit code 3\n  no room left\n"),
        "{ran}"
    );
    node.eventually("fence", |seen| seen["state"] == "FATAL");
    let ran = node.kato("status");
    assert_eq!(ran.code(), 1, "{ran}");
    assert!(
        ran.stdout().contains("- fence is FATAL: it ended with exit code 3"),
        "{ran}"
    );
}

#[test]
fn a_command_waits_for_a_fence_that_is_just_starting() {
    let node = Node::new("exec tail -f /dev/null");
    assert_eq!(node.kato("start --timeout 1").code(), 5);
    let ran = node.kato("container info web");
    assert!(ran.code() == 5 && ran.stderr().contains("cannot reach fence"), "{ran}");
    let mut asking = node.0.command(["container", "info", "web"]);
    let mut asked = asking.stdout(Stdio::null()).spawn().expect("kato starts");
    // Enough of a status for the agent, and of a container for the command.
    node.0.answer_at("run/fence/garden.sock", r#"{"ready": true}"#);
    assert!(asked.wait().expect("kato ends").success());
}

#[test]
fn an_engine_that_was_there_before_is_not_ours_to_stop() {
    let node = Node::running();
    insta::assert_snapshot!(node.kato("process stop docker"), @"
    exit: 3
    ---- stderr
    kato: docker was on this machine before it became a node and is not started or stopped by kato
    ");
    assert_eq!(node.kato("restart dea").code(), 0);
}

#[test]
fn names_that_do_not_exist_are_not_found() {
    let node = Node::new("exit 0");
    insta::assert_snapshot!(node.kato("process start nginx"), @r#"
    exit: 4
    ---- stderr
    kato: there is no process "nginx"
    hint: processes: agent, config, docker, fence
    "#);
    insta::assert_snapshot!(node.kato("start router"), @r#"
    exit: 4
    ---- stderr
    kato: there is no role "router"
    hint: roles: base, core, config, dea
    "#);
}

#[test]
fn without_an_agent_it_is_said_in_time_that_none_runs() {
    let node = Node::new("exit 0");
    insta::assert_snapshot!(node.kato("process ready --block 1 fence"), @"
    exit: 5
    ---- stderr
    kato: the agent of this node does not run (<root>/run/kato/agent.sock): No such file or directory (os error 2)
    hint: kato start
    ");
    assert_eq!(node.kato("process list").code(), 5);
}
