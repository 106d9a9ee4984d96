//! What processes say is kept on the node: read, followed, rotated, bounded, over kills of fence.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;
use tests::garden::ProcessSpec;
use tests::harness::{LIMIT, Node, OnTerminal, until};

type Story = anyhow::Result<()>;

fn started(node: &Node, script: &str) {
    let args = ["container", "create", "--handle", "web", "--", "sh", "-c", script];
    node.kato(&args).ok();
}

fn logs(node: &Node, args: &[&str]) -> String {
    let all: Vec<&str> = ["container", "logs", "web"].iter().chain(args).copied().collect();
    node.kato(&all).ok()
}

fn ended(node: &Node) {
    until("main has ended", LIMIT, || {
        let info = node.kato_json(&["container", "info", "-j", "web"]);
        (info["state"] == "stopped").then_some(())
    });
}

fn instance(node: &Node) -> String {
    node.kato_json(&["container", "info", "-j", "web"])["instance"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The lines of a command that goes on.
fn lines_of(mut command: Command) -> (std::process::Child, Receiver<String>) {
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
    (child, lines)
}

#[test]
fn both_outputs_of_main_are_kept_and_go_with_the_container() -> Story {
    let node = Node::fence_only();
    started(&node, "echo one; echo two >&2; printf three; exit 0");
    ended(&node);
    let all = until("all of it is kept", LIMIT, || {
        let all = node.kato(&["container", "logs", "web"]);
        (all.out() == "one\nthree" && all.err() == "two\n").then_some(all)
    });
    assert_eq!(all.code, 0);
    assert_eq!(logs(&node, &["--stream", "stderr"]), "");
    assert_eq!(logs(&node, &["--tail", "1", "--stream", "stdout"]), "three");
    assert_eq!(
        logs(&node, &["--since", "2000-01-01T00:00:00Z", "--stream", "stdout"]),
        "one\nthree"
    );
    let json = logs(&node, &["--json"]);
    let entries: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: BTreeSet<&str> = entries.iter().filter_map(|entry| entry["text"].as_str()).collect();
    assert_eq!(texts, BTreeSet::from(["one", "two", "three"]));
    assert!(
        entries
            .iter()
            .all(|entry| entry["process"] == "main" && entry["time"].is_string())
    );
    let directory = node.root().join("var/lib/fence/logs").join(instance(&node));
    assert!(directory.exists());
    node.kato(&["container", "destroy", "web"]).ok();
    assert!(!directory.exists());
    node.kato(&["container", "logs", "web"]).expect_code(4);
    Ok(())
}

#[test]
fn following_over_kills_of_fence_loses_nothing_and_shows_nothing_twice() -> Story {
    let node = Node::fence_only();
    started(
        &node,
        "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); usleep 10000; done; sleep 1000",
    );
    let (mut child, lines) = lines_of(node.kato_command(&["container", "logs", "web", "-f"]));
    let mut seen = Vec::new();
    for kill_at in [50, 120, 200] {
        while seen.len() < kill_at {
            seen.push(lines.recv_timeout(LIMIT).expect("a line in time"));
        }
        node.kill_fence();
        node.start_fence();
    }
    while seen.len() < 300 {
        seen.push(lines.recv_timeout(LIMIT).expect("a line in time"));
    }
    let expected: Vec<String> = (0..300).map(|number| format!("line {number}")).collect();
    assert_eq!(seen, expected);
    let _ = child.kill();
    let _ = child.wait();
    let all: String = expected.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(logs(&node, &[]), all, "and so it is on the disk");
    Ok(())
}

#[test]
fn a_client_has_its_own_copy_beside_the_log() -> Story {
    let node = Node::fence_only();
    started(&node, "seq 1 1000; read word; echo got $word; sleep 1000");
    until("the log has it", LIMIT, || {
        logs(&node, &[]).contains("\n1000\n").then_some(())
    });
    // What the log took is still unread to clients, also to the next after a kill.
    node.kill_fence();
    node.start_fence();
    let attached = node.garden().attach("web", "main")?;
    attached.write("word\n")?;
    attached.stdout.wait_for("got word\n", LIMIT)?;
    let whole: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    assert_eq!(attached.stdout.text(), format!("{whole}got word\n"));
    until("the log has that too", LIMIT, || {
        (logs(&node, &[]) == format!("{whole}got word\n")).then_some(())
    });
    Ok(())
}

#[test]
fn files_are_rotated_and_the_end_of_it_is_whole() -> Story {
    let node = Node::with_config(&[("logs/max_size_kb", "64"), ("logs/max_files", "2")]);
    started(&node, "seq 1 20000; sleep 1000");
    until("the last line is kept", LIMIT, || {
        logs(&node, &["--tail", "1"]).contains("20000").then_some(())
    });
    let directory = node.root().join("var/lib/fence/logs").join(instance(&node));
    let sizes: Vec<u64> = std::fs::read_dir(directory)?
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert!(sizes.len() == 2 && sizes.iter().sum::<u64>() < 200 << 10, "{sizes:?}");
    let kept: Vec<u32> = logs(&node, &[]).lines().map(|line| line.parse().unwrap()).collect();
    let expected: Vec<u32> = (kept[0]..=20_000).collect();
    assert!(kept.len() > 100 && kept == expected, "{} lines", kept.len());
    Ok(())
}

#[test]
fn a_flood_is_bounded_marked_and_in_nobodys_way() -> Story {
    let settings = [
        ("logs/max_size_kb", "256"),
        ("logs/max_files", "2"),
        ("logs/rate_kb", "256"),
        ("output_buffer_kb", "256"),
    ];
    let node = Node::with_config(&settings);
    started(&node, "exec yes $(printf '%01000d' 0)");
    let marked = until("what is missing is marked", LIMIT, || {
        let json = logs(&node, &["--json"]);
        json.lines().any(|line| line.contains("\"dropped\":")).then_some(json)
    });
    assert!(marked.contains("faster than it may be kept"), "{}", &marked[..200]);
    // Others have fence as before.
    for _ in 0..5 {
        node.kato(&["container", "create", "--handle", "other"]).ok();
        assert_eq!(
            node.kato(&["container", "run", "other", "--", "echo", "here"]).ok(),
            "here\n"
        );
        node.kato(&["container", "destroy", "other"]).ok();
    }
    let directory = node.root().join("var/lib/fence/logs").join(instance(&node));
    let total: u64 = std::fs::read_dir(directory)?
        .filter_map(|file| file.ok()?.metadata().ok())
        .map(|file| file.len())
        .sum();
    assert!(total < 1 << 20, "{total}");
    node.kato(&["container", "destroy", "web"]).ok();
    Ok(())
}

#[test]
fn other_processes_are_kept_where_it_is_asked_for() -> Story {
    let node = Node::fence_only();
    node.kato(&["container", "create", "--handle", "web"]).ok();
    node.kato(&["container", "run", "web", "--", "echo", "silent"]).ok();
    let ran = node
        .kato(&["container", "run", "--log", "--id", "job", "web", "--", "echo", "kept"])
        .ok();
    assert_eq!(ran, "kept\n", "who runs it has it as well");
    let attached = node.garden().run("web", &ProcessSpec::new("echo", &["gardens"]))?;
    attached.wait()?;
    until("it is kept", LIMIT, || (logs(&node, &[]) == "kept\n").then_some(()));
    assert_eq!(logs(&node, &["--process", "job"]), "kept\n");
    assert_eq!(logs(&node, &["--process", "main"]), "");
    Ok(())
}

#[test]
fn what_a_container_says_steers_no_terminal() -> Story {
    let node = Node::fence_only();
    started(&node, "printf 'a\\033[2Jb\\r\\n'; sleep 1000");
    let raw = until("it is kept", LIMIT, || {
        Some(logs(&node, &[])).filter(|text| !text.is_empty())
    });
    assert_eq!(raw, "a\u{1b}[2Jb\r\n", "a program gets it as it was");
    let shown = OnTerminal::start(&node.kato_command(&["container", "logs", "web"]), 80, 24);
    let (code, screen) = shown.wait(LIMIT);
    assert_eq!(code, 0);
    assert!(screen.contains("a [2Jb") && !screen.contains('\u{1b}'), "{screen:?}");
    Ok(())
}
