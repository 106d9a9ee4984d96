//! Who is let in and who is not: pairing, tokens, false cores, removed nodes, certificates that expire.

use std::fs;
use std::time::{Duration, Instant};

use cluster::identity::{Certificate, Pki};
use cluster::store::Store;

use crate::harness::{Node, until};

#[test]
fn a_node_is_let_in_when_it_is_paired_and_is_out_at_once_when_it_is_not_any_more() {
    let core = Node::core();
    let node = Node::new("edge");
    let (ca, door) = (core.ca(), core.door());
    let attach = [
        "node",
        "attach",
        "--name",
        "edge",
        "--ca-fingerprint",
        &ca,
        "--timeout",
        "60",
        &door,
    ];
    let waiting = node.spawn("", &attach);
    until("the node waits", || {
        core.json(&["node", "pending", "-j"])
            .as_array()
            .is_some_and(|all| all.len() == 1)
    });
    let pending = core.json(&["node", "pending", "-j"]);
    assert_eq!(pending[0]["fingerprint"], node.fingerprint());
    assert!(!Pki::new(node.paths().pki()).node_certificate().exists());
    for words in [&["config", "get"][..], &["node", "list"]] {
        let said = node.refused(5, words);
        assert!(
            said.contains("this node is unpaired")
                && said.contains(&format!("hint: on the core: kato node pair {}", node.fingerprint())),
            "{said}"
        );
    }
    let status = core.kato(&["status"]);
    let shown = String::from_utf8_lossy(&status.stdout);
    assert!(shown.contains("1 node asks to be let in: kato node pending"), "{shown}");
    // The core of a test has no containers.
    assert!(!shown.contains("containers") && !shown.contains("in use"), "{shown}");
    let info = core.json(&["info", "-j"]);
    assert_eq!(
        (&info["cluster"]["ca"], &info["docker"]),
        (&ca.clone().into(), &serde_json::Value::Null)
    );
    core.done(&["node", "pair", &node.fingerprint()[..12], "default", "edge1"]);
    let ended = waiting.wait_with_output().expect("attach ends");
    assert!(
        ended.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ended.stderr),
        node.logs()
    );
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        said.contains(&format!("kato node pair {}", node.fingerprint())),
        "{said}"
    );
    until("the node goes by its new name", || node.file().name.as_str() == "edge1");

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store = node.store(&core);
    let mut open = runtime.block_on(async {
        store
            .get("node/endpoints")
            .await
            .expect("a node reads")
            .expect("endpoints");
        store
            .watch("config/", 0)
            .await
            .expect("a node follows the configuration")
    });
    core.done(&["node", "unpair", "edge1"]);
    until("the node is out", || {
        runtime.block_on(store.get("node/endpoints")).is_err()
    });
    runtime.block_on(async {
        let ended = tokio::time::timeout(Duration::from_secs(60), async { while open.next().await.is_ok() {} });
        ended.await.expect("what was open is cut");
    });
    // Cutting it off restarts the store, which does not answer for a moment.
    until("it asks again", || {
        let output = core.kato(&["node", "pending", "-j"]);
        String::from_utf8_lossy(&output.stdout).contains(&node.fingerprint())
    });
}

#[test]
fn a_token_lets_in_one_node_and_a_removed_one_is_refused() {
    let core = Node::core();
    let token = core.token();
    let one = Node::new("one");
    one.done_with(
        &token,
        &[
            "node",
            "attach",
            "--name",
            "one",
            "--token-file",
            "-",
            "--timeout",
            "60",
        ],
    );
    let other = Node::new("other");
    let refused = other.kato_with(
        &token,
        &[
            "node",
            "attach",
            "--name",
            "other",
            "--token-file",
            "-",
            "--timeout",
            "60",
        ],
    );
    assert_eq!(
        refused.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    assert_eq!(core.json(&["node", "token", "list", "-j"]), serde_json::json!([]));
    core.refused(3, &["node", "remove", "core"]);
    core.done(&["node", "remove", "--skip-detach", "one"]);
    let ca = core.ca();
    until("the removed node knows", || {
        let log = fs::read_to_string(one.paths().log_dir().join("agent.log")).unwrap_or_default();
        log.contains("removed by an administrator")
    });
    let again = one.refused(
        3,
        &[
            "node",
            "attach",
            "--ca-fingerprint",
            &ca,
            "--timeout",
            "60",
            &core.door(),
        ],
    );
    assert!(again.contains("removed"), "{again}");
    assert_eq!(
        core.json(&["node", "pending", "-j"]),
        serde_json::json!([]),
        "a removed node does not wait"
    );
}

#[test]
fn a_false_core_is_refused_and_nothing_is_changed() {
    let (core, other) = (Node::core(), Node::core());
    let node = Node::new("edge");
    let refused = node.refused(3, &["node", "attach", "--ca-fingerprint", &core.ca(), &other.door()]);
    assert!(refused.contains("not the core that is meant"), "{refused}");
    let silent = node.refused(3, &["node", "attach", &core.door()]);
    assert!(
        silent.contains(&core.ca()) && silent.contains("--ca-fingerprint"),
        "{silent}"
    );
    assert!(!node.root().join("etc").exists() && !node.root().join("var").exists());
    let attached = Node::attached("edge", &core);
    attached.refused(3, &["node", "reattach", &other.door()]);
    let foreign = attached.store(&other);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    assert!(
        runtime.block_on(foreign.get("node/endpoints")).is_err(),
        "another cluster's certificate is none"
    );
}

#[test]
fn certificates_are_renewed_in_time_and_after_a_long_absence() {
    let core = Node::core();
    core.done(&["config", "set", "cluster", "certificates/lifetime", "10"]);
    let node = Node::attached("edge", &core);
    let path = Pki::new(node.paths().pki()).node_certificate();
    let until_when = || Certificate::load(&path).expect("a certificate").not_after;
    let first = until_when();
    until("the certificate is renewed", || until_when() > first);
    node.done(&["stop"]);
    let last = until_when();
    until("the certificate has expired", || last < jiff::Timestamp::now());
    let store = node.store(&core);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let begun = Instant::now();
    assert!(
        runtime.block_on(store.get("node/endpoints")).is_err(),
        "an expired certificate is none"
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
    core.done(&["config", "set", "cluster", "certificates/lifetime", "3600"]);
    node.done(&["start"]);
    until("the node is back", || {
        runtime.block_on(node.store(&core).get("node/endpoints")).is_ok()
    });
}

#[test]
fn a_micro_clouds_tree_comes_along_and_a_second_set_up_changes_nothing() {
    let core = Node::new("core");
    let docker = core.root().join("none.sock");
    fs::create_dir_all(core.root().join("run")).expect("a directory");
    let listener = std::os::unix::net::UnixListener::bind(&docker).expect("a socket");
    std::thread::spawn(move || answer_as_docker(&listener));
    let docker = docker.to_str().expect("a path of text");
    core.done(&[
        "node",
        "setup",
        "micro",
        "--name",
        "core",
        "--no-start",
        "--docker",
        docker,
    ]);
    core.done(&["config", "set", "fence", "docker/image", "example/app:1"]);
    let id = core.file().id;
    core.set_up(&["--no-start"]);
    assert_eq!(core.file().id, id);
    let before = fs::read_to_string(core.paths().node_file()).expect("a node file");
    let credential = fs::read(core.paths().credential_file()).expect("a credential");
    assert!(core.root().join("var/lib/kato/tree.db.micro").exists());
    core.set_up(&["--no-start"]);
    assert_eq!(
        fs::read_to_string(core.paths().node_file()).expect("a node file"),
        before
    );
    assert_eq!(
        fs::read(core.paths().credential_file()).expect("a credential"),
        credential
    );
    core.done(&["start", "core"]);
    assert_eq!(core.done(&["config", "get", "fence", "docker/image"]), "example/app:1");
    assert_eq!(core.done(&["config", "get", "cluster", "endpoint"]), "127.0.0.1");
}

/// Say of this socket that Docker is there.
pub fn answer_as_docker(listener: &std::os::unix::net::UnixListener) {
    use std::io::{BufRead, BufReader, Write};
    for stream in listener.incoming().flatten() {
        let mut asked = BufReader::new(&stream).lines().map_while(Result::ok);
        asked.find(String::is_empty);
        // Who asked may be gone again.
        let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}");
    }
}

#[test]
fn the_role_config_makes_a_member_comes_off_without_a_trace_and_can_come_again() {
    let core = Node::core();
    let node = Node::attached("edge", &core);
    let (pki, etcd) = (Pki::new(node.paths().pki()), node.paths().etcd());
    for round in ["first", "second"] {
        let said = core.said(&["role", "add", "-n", "edge", "--timeout", "60", "config"]);
        assert!(
            said.contains("edge is a voting member of the config store"),
            "{round}: {said}"
        );
        assert!(etcd.join("etcd.yml").exists() && pki.config_certificate().exists());
        assert_eq!(core.done(&["config", "get", "fence", "max_containers"]), "256");
        core.said(&["role", "remove", "-n", "edge", "--timeout", "60", "config"]);
        until("nothing is left of the membership", || {
            !etcd.exists() && !pki.config_certificate().exists() && !pki.peer_certificate().exists()
        });
        until("the store answers without it", || {
            core.kato(&["config", "set", "fence", "docker/image", round])
                .status
                .success()
        });
    }
}
