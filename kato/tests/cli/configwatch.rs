//! `kato debug configwatch`: changes as they come, until somebody wants no more of them.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::config::{config, node, printed};
use crate::harness::Machine;

/// One that follows, with the lines it prints.
struct Watching {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Watching {
    /// Start it and wait until it follows.
    fn start(machine: &Machine, args: &[&str]) -> Self {
        let all = ["-v", "debug", "configwatch"].iter().chain(args);
        let mut child = machine
            .command(all)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kato starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let stderr = BufReader::new(child.stderr.take().expect("stderr")).lines();
        let mut watching = Watching { child, stdout, stderr };
        assert_eq!(watching.said(), "Following the configuration");
        watching
    }

    /// The next line of data.
    fn line(&mut self) -> String {
        self.stdout.next().expect("a line").expect("a line")
    }

    /// The next line on stderr.
    fn said(&mut self) -> String {
        self.stderr.next().expect("a line").expect("a line")
    }

    /// The exit code and what was not read yet.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let status = self.child.wait().expect("kato ends");
        let rest = self.stdout.chain(self.stderr).map_while(Result::ok);
        (status.code(), rest.collect())
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("a signal");
    }
}

#[test]
fn every_change_is_a_line_until_a_signal_ends_it() {
    let node = node();
    printed(config(&node, "set fence max_containers 6"));
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut watching = Watching::start(&node, &[]);
        printed(config(&node, "set fence max_containers 7"));
        printed(config(&node, "set fence registry/password hunter2"));
        printed(config(&node, "set local fence/max_containers 9"));
        let lines = [watching.line(), watching.line(), watching.line()];
        assert!(lines[0].ends_with("  fence max_containers: 6 -> 7"), "{lines:?}");
        assert!(
            lines[1].ends_with("  fence registry/password: (not set) -> [redacted]"),
            "{lines:?}"
        );
        assert!(
            lines[2].ends_with("  fence max_containers of node one: (not set) -> 9"),
            "{lines:?}"
        );
        watching.signal(signal);
        assert_eq!(watching.end(), (Some(0), vec![]));
        printed(config(&node, "set fence max_containers 6"));
        printed(config(&node, "del local fence/max_containers"));
        printed(config(&node, "del fence registry/password"));
    }
}

#[test]
fn a_json_object_a_line_for_the_components_asked_for() {
    let node = node();
    let mut watching = Watching::start(&node, &["-j", "x", "local"]);
    printed(config(&node, "set fence max_containers 7"));
    printed(config(&node, "set --json x / {\"a\":1,\"b\":2}"));
    printed(config(&node, "set local fence/max_containers 9"));
    let lines: Vec<serde_json::Value> = (0..3)
        .map(|_| serde_json::from_str(&watching.line()).expect("JSON"))
        .collect();
    let paths: Vec<_> = lines
        .iter()
        .map(|line| line["path"].as_str().expect("a path"))
        .collect();
    assert_eq!(paths, ["x/a", "x/b", "fence/max_containers"]);
    assert_eq!(lines[1]["new"], 2);
    assert_eq!(lines[2]["scope"]["node"], "one");
    assert!(lines[0]["at"].is_string() && lines[0]["revision"] == 2, "{lines:?}");
    watching.signal(Signal::SIGTERM);
    assert_eq!(watching.end(), (Some(0), vec![]));
    assert_eq!(node.kato(["debug", "configwatch", "a/b"]).code(), 2);
}

#[test]
fn it_ends_quietly_when_nobody_reads_any_more() {
    let node = node();
    let mut watching = Watching::start(&node, &[]);
    printed(config(&node, "set x y 1"));
    watching.line();
    let Watching {
        mut child,
        stdout,
        stderr,
    } = watching;
    drop(stdout);
    assert_eq!(child.wait().expect("kato ends").code(), Some(0));
    assert_eq!(stderr.map_while(Result::ok).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_tree_that_goes_is_told_of_once_and_what_was_missed_comes_afterwards() {
    let node = node();
    let mut watching = Watching::start(&node, &[]);
    let (lib, away) = (node.root().join("var/lib/kato"), node.root().join("away"));
    fs::rename(&lib, &away).expect("a directory to rename");
    let said = watching.said();
    assert!(
        said.contains("could not follow the configuration") && said.ends_with("; waiting for it"),
        "{said}"
    );
    fs::rename(&away, &lib).expect("a directory to rename");
    assert_eq!(watching.said(), "The configuration can be read again");
    printed(config(&node, "set x y 1"));
    assert!(watching.line().ends_with("  x y: (not set) -> \"1\""));
    watching.signal(Signal::SIGINT);
    assert_eq!(watching.end(), (Some(0), vec![]));
}
