//! `kato registry login` at registries that are not the cluster's: what is kept of it, and what it leaves alone.

use std::fs;
use std::path::PathBuf;

use cluster::nodes::Paths;
use serde_json::Value;

use crate::config::{config, node, printed};
use crate::harness::{Machine, Ran};

fn log_in(node: &Machine, args: &[&str]) -> Ran {
    let args = ["registry", "login"].iter().chain(args).copied();
    node.kato_reading(b"word\n", args)
}

/// The accounts that the cluster has.
fn accounts(node: &Machine) -> Value {
    let text = printed(config(node, "get --reveal cluster registry/credentials"));
    serde_json::from_str(&text).expect("JSON")
}

/// The file of root's Docker on this machine.
fn docker(node: &Machine, text: &str) -> PathBuf {
    let file = Paths::from_root(Some(node.root())).docker_accounts();
    fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
    fs::write(&file, text).expect("a file");
    file
}

#[test]
fn several_logins_at_once_lose_nothing() {
    let node = node();
    let registries: Vec<String> = (0..12).map(|n| format!("r{n}.example")).collect();
    std::thread::scope(|scope| {
        let all = registries.iter().map(|registry| {
            let node = &node;
            scope.spawn(move || log_in(node, &[registry, "-u", "robot"]))
        });
        for ran in all.collect::<Vec<_>>() {
            let ran = ran.join().expect("it ends");
            assert_eq!(ran.code(), 0, "{ran}");
        }
    });
    let all = accounts(&node);
    for registry in &registries {
        assert_eq!(all[registry]["username"], "robot", "{registry}");
    }
    assert_eq!(node.kato(["registry", "logout", "r3.example"]).code(), 0);
    assert_eq!(accounts(&node).as_object().map(|all| all.len()), Some(11));
}

#[test]
fn an_account_of_somebody_else_is_told_and_stays() {
    let node = node();
    docker(&node, r#"{"auths": {"r.example": {"auth": "Ym9iOnB3"}}}"#);
    insta::assert_snapshot!(log_in(&node, &["r.example", "-u", "robot"]), @"
    exit: 3
    ---- stderr
    kato: root's Docker on this machine has an account of its own at r.example, as bob, which would be lost
    hint: replace it with --force
    ");
    assert_eq!(log_in(&node, &["other.example", "-u", "robot"]).code(), 0);
    assert_eq!(log_in(&node, &["r.example", "-u", "robot", "--force"]).code(), 0);
    // From then on it is the cluster's to change, as is what the agent has written and not taken back yet.
    assert_eq!(log_in(&node, &["r.example", "-u", "other"]).code(), 0);
    assert_eq!(accounts(&node)["r.example"]["username"], "other");
    assert_eq!(node.kato(["registry", "logout", "r.example"]).code(), 0);
    assert_eq!(log_in(&node, &["r.example", "-u", "robot"]).code(), 3);
    let written = Paths::from_root(Some(node.root())).kato_lib().join("registries.json");
    fs::write(written, r#"{"accounts": ["r.example"]}"#).expect("a file");
    assert_eq!(log_in(&node, &["r.example", "-u", "robot"]).code(), 0);
}

#[test]
fn where_docker_does_not_look_is_told() {
    let node = node();
    docker(&node, r#"{"credsStore": "pass", "credHelpers": {"b.example": ""}}"#);
    insta::assert_snapshot!(log_in(&node, &["a.example", "-u", "robot"]), @"
    exit: 0
    ---- stdout
    All nodes log in at a.example as robot
    ---- stderr
    WARNING: root's Docker on this machine does not look at this account: <root>/root/.docker/config.json has credsStore: pass for a.example. Images for containers are pulled with it all the same
    ");
    let ran = log_in(&node, &["b.example", "-u", "robot"]);
    assert_eq!((ran.code(), ran.stderr()), (0, String::new()));
}
