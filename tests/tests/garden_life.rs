//! A container's life beyond Garden: events, pause and resume, what runs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tests::harness::{LIMIT, Node, docker, until};

type Story = anyhow::Result<()>;

/// How soon something is refused that would hang else.
const AT_ONCE: Duration = Duration::from_secs(5);

fn create(node: &Node, args: &[&str]) -> String {
    let all: Vec<&str> = ["container", "create"].iter().chain(args).copied().collect();
    node.kato(&all).ok().trim().to_owned()
}

fn shown(node: &Node, handle: &str) -> Value {
    node.kato_json(&["container", "info", "-j", handle])
}

fn events(node: &Node, args: &[&str]) -> Vec<Value> {
    let all: Vec<&str> = ["container", "events", "--json"].iter().chain(args).copied().collect();
    let text = node.kato(&all).ok();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_default())
        .collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

/// A command that goes on, and its lines as they come.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(mut command: Command) -> Following {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("kato runs");
        let out = child.stdout.take().expect("its output");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Following { child, lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line in time")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_life_is_told_in_events() -> Story {
    let node = Node::fence_only();
    create(&node, &["--handle", "web", "--", "sh", "-c", "sleep 0.1; exit 3"]);
    until("main has ended and all is stopped", LIMIT, || {
        (shown(&node, "web")["state"] == "stopped").then_some(())
    });
    node.kato(&["container", "run", "web", "--", "sh", "-c", "exit 4"])
        .expect_code(4);
    until("the end of the process is told", LIMIT, || {
        types(&events(&node, &["web"])).contains(&"process_ended").then_some(())
    });
    node.kato(&["container", "destroy", "web"]).ok();
    let told = events(&node, &["web"]);
    let expected = [
        "created",
        "started",
        "main_ended",
        "stopped",
        "process_started",
        "process_ended",
        "destroyed",
    ];
    assert_eq!(types(&told), expected);
    assert_eq!(
        (&told[2]["exit_status"], &told[5]["exit_status"]),
        (&3.into(), &4.into())
    );
    let text = node.kato(&["container", "events"]).ok();
    assert!(text.contains("main ended  exit status: 3"), "{text}");
    Ok(())
}

#[test]
fn events_go_on_from_a_number_over_a_kill_of_fence() -> Story {
    let node = Node::fence_only();
    create(&node, &["--handle", "web"]);
    let following = Following::start(node.kato_command(&["container", "events", "--json", "-f"]));
    let mut numbers = vec![];
    let mut next = |expected: &str| {
        let event: Value = serde_json::from_str(&following.next()).unwrap();
        assert_eq!(event["type"], expected);
        numbers.push(event["number"].as_u64().unwrap());
    };
    next("created");
    for _ in 0..2 {
        node.kill_fence();
        node.start_fence();
        node.kato(&["container", "pause", "web"]).ok();
        next("paused");
        node.kato(&["container", "resume", "web"]).ok();
        next("resumed");
    }
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let since = numbers[2].to_string();
    let again: Vec<u64> = events(&node, &["--since", &since])
        .iter()
        .filter_map(|event| event["number"].as_u64())
        .collect();
    assert_eq!(again, numbers[3..]);
    Ok(())
}

#[test]
fn want_of_memory_is_an_event() -> Story {
    let node = Node::fence_only();
    create(&node, &["--handle", "web", "-m", "32M"]);
    let eat = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done";
    node.kato(&["container", "run", "web", "--", "sh", "-c", eat])
        .expect_code(137);
    until("it is told", LIMIT, || {
        types(&events(&node, &["web"])).contains(&"out_of_memory").then_some(())
    });
    Ok(())
}

#[test]
fn a_frozen_container_stands_still_refuses_at_once_and_goes_on() -> Story {
    let node = Node::fence_only();
    create(
        &node,
        &[
            "--handle",
            "web",
            "--",
            "sh",
            "-c",
            "while :; do date +%N > /tmp/tick; sleep 0.02; done",
        ],
    );
    let pid = node.first_pid("web");
    let tick = || std::fs::read_to_string(format!("/proc/{pid}/root/tmp/tick")).unwrap_or_default();
    let moves = |from: String| until("it goes on", LIMIT, || (tick() != from).then_some(()));
    moves(String::new());
    assert_eq!(node.kato(&["container", "pause", "web"]).ok(), "web\n");
    let stands = tick();
    assert!(node.kato(&["container", "list"]).ok().contains("paused"));
    let begun = std::time::Instant::now();
    for verb in [
        &["run", "web", "--", "true"][..],
        &["attach", "web", "main"],
        &["start", "web"],
    ] {
        let refused = node.kato(&[&["container"], verb].concat());
        assert_ne!(refused.code, 0, "{verb:?}");
        assert!(refused.err().contains("the container is paused"), "{}", refused.err());
        assert!(refused.err().contains("kato container resume web"), "{}", refused.err());
    }
    assert!(begun.elapsed() < 3 * AT_ONCE);
    node.kill_fence();
    node.start_fence();
    assert_eq!(shown(&node, "web")["paused"], true);
    assert_eq!(
        docker::docker(&[
            "inspect",
            "-f",
            "{{.State.Paused}}",
            shown(&node, "web")["engine_id"].as_str().unwrap()
        ])
        .ok()
        .trim(),
        "true"
    );
    assert_eq!(tick(), stands, "nothing of it has run");
    node.kato(&["container", "resume", "web"]).ok();
    moves(stands);
    assert_eq!(
        node.kato(&["container", "run", "web", "--", "echo", "here"]).ok(),
        "here\n"
    );

    node.kato(&["container", "pause", "web"]).ok();
    node.kato(&["container", "stop", "web"]).ok();
    assert_eq!(
        (&shown(&node, "web")["state"], &shown(&node, "web")["paused"]),
        (&"stopped".into(), &false.into())
    );
    node.kato(&["container", "pause", "web"]).ok();
    node.kato(&["container", "destroy", "web"]).ok();
    assert!(node.containers_in_docker().is_empty());
    Ok(())
}

#[test]
fn top_shows_what_runs_and_a_hostile_command_line_does_no_harm() -> Story {
    let node = Node::fence_only();
    create(&node, &["--handle", "web", "--", "sleep", "1000"]);
    let odd = "odd\u{1b}[2Jname";
    node.kato(&["container", "run", "-d", "web", "--", "sh", "-c", "sleep 1000; :", odd])
        .ok();
    let processes = until("all run", LIMIT, || {
        let processes = node.kato_json(&["container", "top", "web", "-j"]);
        let sleeping = |one: &&Value| one["command"].as_str().is_some_and(|command| command.contains("1000"));
        let count = processes.as_array()?.iter().filter(sleeping).count();
        (count == 3).then_some(processes)
    });
    let all = processes.as_array().unwrap();
    assert_eq!(all[0]["pid"], 1);
    assert!(
        all.iter()
            .all(|one| one["host_pid"].as_i64() > Some(1) && one["rss_bytes"].as_u64() > Some(0)),
        "{processes}"
    );
    let text = node.kato(&["container", "top", "web"]).ok();
    assert!(text.contains("COMMAND") && !text.contains('\u{1b}'), "{text}");
    Ok(())
}
