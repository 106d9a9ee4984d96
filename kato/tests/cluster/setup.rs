//! A core that is set up on a bad day: killed at any point, or where another cluster's things are.

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use cluster::nodes::Kind;

use crate::admission::answer_as_docker;
use crate::harness::Node;

/// A micro cloud whose processes do not run, with a value of its own.
fn micro() -> Node {
    let node = Node::new("core");
    fs::create_dir_all(node.root().join("run")).expect("a directory");
    let socket = node.root().join("none.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || answer_as_docker(&listener));
    let socket = socket.to_str().expect("a path of text");
    node.done(&[
        "node",
        "setup",
        "micro",
        "--name",
        "core",
        "--no-start",
        "--docker",
        socket,
    ]);
    node.done(&["config", "set", "fence", "docker/image", "example/app:1"]);
    node
}

fn image(node: &Node) -> String {
    node.done(&["config", "get", "fence", "docker/image"])
}

/// Set the core up and kill it after so long; whether it was done before.
fn set_up_for(node: &Node, delay: Duration) -> bool {
    let args = node.to_set_up();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut child = node.spawn("", &[&args, &["--no-start"][..]].concat());
    let begun = Instant::now();
    while begun.elapsed() < delay {
        if let Some(status) = child.try_wait().expect("kato can be waited for") {
            let output = child.wait_with_output().expect("kato ends");
            assert!(
                status.success(),
                "{}{}",
                String::from_utf8_lossy(&output.stderr),
                node.logs()
            );
            return true;
        }
        // The time of the kill is what is tried here.
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("kato is killed");
    child.wait().expect("kato ends");
    false
}

#[test]
fn a_set_up_that_is_killed_at_any_point_and_run_again_makes_a_whole_core() {
    let node = micro();
    let id = node.file().id;
    let (mut delay, mut was_micro) = (Duration::from_millis(20), 0);
    while !set_up_for(&node, delay) {
        if node.file().kind == Kind::Micro {
            was_micro += 1;
            assert_eq!(
                image(&node),
                "example/app:1",
                "after {delay:?} it is the micro cloud that it was"
            );
        }
        delay = delay.mul_f64(1.1);
    }
    assert!(was_micro > 0, "the first kill came too late");
    node.set_up(&["--no-start"]);
    node.done(&["start", "core"]);
    assert_eq!((node.file().id, node.file().kind), (id, Kind::Cluster));
    assert_eq!(image(&node), "example/app:1");
    assert_eq!(node.done(&["config", "get", "cluster", "endpoint"]), "127.0.0.1");
    let administrators = node.json(&["admin", "list", "-j"]);
    assert_eq!(administrators.as_array().map(Vec::len), Some(1), "{administrators}");
    node.done(&["config", "set", "fence", "docker/image", "example/app:2"]);
    let edge = Node::attached("edge", &node);
    assert_eq!(image(&edge), "example/app:2");
}

#[test]
fn an_etcd_that_outlived_its_set_up_is_ended_by_the_next() {
    let node = micro();
    let (settings, mut delay) = (node.paths().etcd().join("etcd.yml"), Duration::from_millis(20));
    while !settings.exists() {
        assert!(!set_up_for(&node, delay), "it was not done before there were settings");
        delay = delay.mul_f64(1.1);
    }
    let mut etcd = std::process::Command::new("etcd")
        .arg(format!("--config-file={}", settings.display()))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("etcd starts");
    node.set_up(&["--no-start"]);
    // It was told to end, and has: its ports were needed.
    assert!(etcd.try_wait().expect("etcd can be waited for").is_some());
}

#[test]
fn another_clusters_credential_is_not_overwritten_and_nothing_is_changed() {
    let (other, node) = (Node::core(), micro());
    let foreign = fs::read(other.paths().credential_file()).expect("a credential");
    let file = node.paths().credential_file();
    fs::write(&file, &foreign).expect("a file");
    let args = node.to_set_up();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let refused = node.refused(3, &args);
    assert!(
        refused.contains("the credential of admin, an administrator of another cluster")
            && refused.contains("hint: mv "),
        "{refused}"
    );
    fs::write(&file, "of somebody").expect("a file");
    assert!(node.refused(3, &args).contains("is in the way"));
    assert_eq!(fs::read(&file).expect("a file"), b"of somebody");
    assert_eq!(node.file().kind, Kind::Micro);
    assert!(!node.paths().pki().exists() && !node.paths().etcd().exists());
    fs::remove_file(&file).expect("it is put aside");
    node.set_up(&["--no-start"]);
}
