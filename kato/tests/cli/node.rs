//! `kato node setup micro`, and what is said on a machine that is no node, or whose node does not run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use crate::harness::{Machine, Ran};

/// A machine with a Docker that answers.
fn machine() -> Machine {
    let machine = Machine::new();
    machine.answer_at(
        "docker.sock",
        r#"{"LiveRestoreEnabled": false, "Version": "20.10.24", "ApiVersion": "1.41",
        "Os": "linux", "Arch": "amd64"}"#,
    );
    machine
}

fn set_up(machine: &Machine, more: &[&str]) -> Ran {
    let docker = machine.root().join("docker.sock");
    let docker = docker.to_str().expect("a path of text");
    machine.kato(
        ["node", "setup", "micro", "--no-start", "--docker", docker]
            .iter()
            .chain(more),
    )
}

#[test]
fn a_machine_that_is_no_node_says_so_and_how_to_make_it_one() {
    let machine = Machine::new();
    insta::assert_snapshot!(machine.kato(["status"]), @"
    exit: 1
    ---- stderr
    kato: this machine is not set up as a node: there is no <root>/etc/kato/node.yml
    hint: kato node setup micro
    ");
    for command in [["info"].as_slice(), &["start"], &["stop"], &["restart", "dea"]] {
        assert_eq!(machine.kato(command).stderr(), machine.kato(["status"]).stderr());
    }
}

#[test]
fn a_set_up_makes_a_node_and_a_second_one_changes_nothing() {
    let machine = machine();
    let first = set_up(&machine, &["--name", "one"]);
    insta::assert_snapshot!(first, @"
    exit: 0
    ---- stdout
    Node one is set up.

    Next: kato start
    ");
    let mode = |path: &str| {
        fs::metadata(machine.root().join(path))
            .expect(path)
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        [mode("etc/kato"), mode("var/lib/kato"), mode("var/lib/fence")],
        [0o755, 0o700, 0o700]
    );
    let file = machine.root().join("etc/kato/node.yml");
    let before = fs::read_to_string(&file).expect("a node file");
    assert!(before.contains("managed: false"), "{before}");
    assert_eq!(set_up(&machine, &[]).to_string(), first.to_string());
    assert_eq!(fs::read_to_string(&file).expect("a node file"), before);
}

#[test]
fn a_node_does_not_become_another_one() {
    let machine = machine();
    assert_eq!(set_up(&machine, &["--name", "one"]).code(), 0);
    insta::assert_snapshot!(set_up(&machine, &["--name", "two"]), @"
    exit: 3
    ---- stderr
    kato: this machine is a node already, with the name one and not two
    hint: kato node setup micro, without that option, makes what is missing
    ");
}

#[test]
fn a_name_that_is_none_is_wrong_usage() {
    let machine = machine();
    let ran = set_up(&machine, &["--name", "a/b"]);
    assert_eq!(ran.code(), 2, "{ran}");
    assert!(!machine.root().join("etc").exists());
}

#[test]
fn a_docker_that_hangs_is_no_reason_to_start_a_second_one() {
    let machine = Machine::new();
    // It takes connections and says nothing.
    let _listener = UnixListener::bind(machine.root().join("docker.sock")).expect("a socket");
    let ran = set_up(&machine, &["--name", "one"]);
    assert_eq!(ran.code(), 5, "{ran}");
    assert!(ran.stderr().contains("gave no answer"), "{ran}");
    assert!(!machine.root().join("etc").exists());
}

#[test]
fn info_needs_nobody_to_run() {
    let machine = machine();
    assert_eq!(set_up(&machine, &["--name", "one"]).code(), 0);
    let info = machine.kato(["info", "-j"]).json();
    assert_eq!(info["node"], "one");
    assert_eq!(
        info["roles"],
        serde_json::json!({"assigned": ["base", "dea"], "available": ["base", "core", "config", "dea"]})
    );
    assert_eq!(info["id"].as_str().map(str::len), Some(36));
}

#[test]
fn version_tells_every_part_also_those_that_do_not_run() {
    let machine = machine();
    assert_eq!(set_up(&machine, &["--name", "one"]).code(), 0);
    let ran = machine.kato(["version", "-j"]);
    assert_eq!(ran.code(), 0, "{ran}");
    let parts = ran.json();
    let names: Vec<&str> = parts
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|part| part["part"].as_str())
        .collect();
    assert_eq!(names, ["kato", "agent", "fence", "fence-init", "docker", "config tree"]);
    assert_eq!(parts[4]["version"], "20.10.24 (API 1.41)");
    for part in [1, 2, 3] {
        assert_ne!(parts[part]["problem"], "", "{parts}");
    }
}

#[test]
fn the_status_of_a_node_that_does_not_run_says_what_to_do() {
    let machine = machine();
    assert_eq!(set_up(&machine, &["--name", "one"]).code(), 0);
    let ran = machine.kato(["status", "-j"]);
    assert_eq!(ran.code(), 1, "{ran}");
    let node = &ran.json()["nodes"][0];
    assert_eq!(node["config"], serde_json::json!({"revision": null, "latest": 0}));
    assert_eq!(
        node["image"]["configured"],
        serde_json::json!([format!("fence/base:{}", env!("CARGO_PKG_VERSION"))])
    );
    let states: Vec<&str> = node["processes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|seen| seen["state"].as_str())
        .collect();
    assert_eq!(states, ["STOPPED", "RUNNING", "STOPPED"]);
    assert_eq!(node["problems"][0]["hint"], "kato start");
    assert_eq!(node["warnings"].as_array().map(Vec::len), Some(1), "{node}");
}
