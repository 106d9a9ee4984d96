//! `kato node retire`: the wish in the configuration, and waiting for what fence says.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::Machine;

const EMPTY: &str = r#"{"node": "one", "ready": true,
    "retiring": {"since": "2026-01-02T03:04:05Z", "seconds_left": 0, "active": 0, "stopped": 7}}"#;
const RUNS: &str = r#"{"node": "one", "ready": true,
    "retiring": {"since": "2026-01-02T03:04:05Z", "seconds_left": 540, "active": 5, "stopped": 2}}"#;

/// A node that is set up, and whose agent does not run.
fn node() -> Machine {
    let machine = Machine::new();
    machine.answer_at("docker.sock", r#"{"LiveRestoreEnabled": true}"#);
    let docker = machine.root().join("docker.sock");
    let docker = docker.to_str().expect("a path of text");
    let set_up = [
        "node",
        "setup",
        "micro",
        "--no-start",
        "--name",
        "one",
        "--docker",
        docker,
    ];
    assert_eq!(machine.kato(set_up).code(), 0);
    machine
}

fn own(machine: &Machine) -> String {
    machine.kato(["config", "get", "-j", "local", "fence/retire"]).stdout()
}

#[test]
fn the_wish_is_in_the_nodes_own_layer_and_in_the_history() {
    let node = node();
    insta::assert_snapshot!(node.kato(["node", "retire", "--no-wait", "--timeout", "60"]), @"
    exit: 0
    ---- stdout
    Node one is being retired: it takes nothing new.
    ");
    insta::assert_snapshot!(own(&node), @r#"
    {
      "timeout": 60,
      "wanted": true
    }
    "#);
    let history = node.kato(["config", "history"]).stdout();
    assert!(
        history.contains("kato node retire --node one --timeout 60"),
        "{history}"
    );
    insta::assert_snapshot!(node.kato(["node", "retire", "-n", "one", "--cancel"]), @"
    exit: 0
    ---- stdout
    Node one is in service again.
    ");
    assert_eq!(own(&node), "");
    insta::assert_snapshot!(node.kato(["node", "retire", "--cancel"]), @"
    exit: 0
    ---- stdout
    Node one is not being retired.
    ");
}

#[test]
fn a_wish_of_the_whole_cluster_is_cancelled_for_one_node() {
    let node = node();
    assert_eq!(node.kato(["config", "set", "fence", "retire/wanted", "true"]).code(), 0);
    assert_eq!(node.kato(["node", "retire", "--no-wait"]).code(), 0);
    assert_eq!(node.kato(["node", "retire", "--cancel"]).code(), 0);
    let wanted = node.kato(["config", "get", "-n", "one", "fence", "retire/wanted"]);
    assert_eq!(wanted.stdout(), "false\n");
}

#[test]
fn it_waits_until_nothing_runs_any_more() {
    let node = node();
    node.answer_at("run/fence/garden.sock", EMPTY);
    insta::assert_snapshot!(node.kato(["node", "retire"]), @"
    exit: 0
    ---- stdout
    Node one is being retired: it takes nothing new.
    Nothing runs on node one any more.
    ");
}

#[test]
fn whoever_stops_waiting_is_told_how_to_cancel() {
    let node = node();
    node.answer_at("run/fence/garden.sock", RUNS);
    let mut kato = node.command(["node", "retire"]);
    let mut kato = kato
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kato starts");
    let mut said = String::new();
    let mut stdout = BufReader::new(kato.stdout.take().expect("stdout is piped"));
    stdout.read_line(&mut said).expect("it says that it began");
    let pid = nix::unistd::Pid::from_raw(kato.id().try_into().expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("kato runs");
    let output = kato.wait_with_output().expect("kato ends");
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("kato node retire -n one --cancel"), "{said}");
    assert!(own(&node).contains("true"), "it goes on");
}

#[test]
fn nodes_that_are_not_there_and_times_that_are_none_are_refused() {
    let node = node();
    let unknown = node.kato(["node", "retire", "-n", "two", "--no-wait"]);
    assert_eq!(unknown.code(), 4);
    assert!(unknown.stderr().contains("there is no node \"two\""), "{unknown}");
    assert_eq!(node.kato(["node", "retire", "--timeout", "604801"]).code(), 2);
    assert_eq!(node.kato(["node", "retire", "--timeout", "1", "--cancel"]).code(), 2);
}
