//! Members of the config store whose membership ends while nobody looks after them.

use std::process::Command;

use crate::harness::{Node, until};

/// End this node's agent at once; its processes stay.
pub fn kill_agent(node: &Node) {
    let pid = pid(node, "agent").expect("an agent");
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.expect("kill runs").success());
}

/// The pid of a process that runs, as the node's agent says.
fn pid(node: &Node, process: &str) -> Option<u64> {
    let all = node.json(&["process", "list", "-j"]);
    let all = all.as_array().expect("a list");
    let seen = all.iter().find(|seen| seen["process"] == process)?;
    seen["pid"].as_u64()
}

#[test]
fn a_role_that_was_taken_and_given_back_while_no_agent_looked_makes_a_member_anew() {
    let core = Node::core();
    let node = Node::attached("edge", &core);
    let votes = ["role", "add", "-n", "edge", "--timeout", "60", "config"];
    assert!(core.said(&votes).contains("edge is a voting member"));
    let etcd = pid(&node, "config").expect("etcd runs");
    kill_agent(&node);
    until("the core knows that nobody looks after the node", || {
        core.json(&["node", "list", "-j"])
            .as_array()
            .is_some_and(|all| all.iter().any(|seen| seen["name"] == "edge" && seen["alive"] == false))
    });
    core.refused(6, &["role", "remove", "-n", "edge", "config"]);
    until("etcd has heard that it was removed", || {
        !std::path::Path::new(&format!("/proc/{etcd}")).exists()
    });
    core.refused(6, &["role", "add", "-n", "edge", "config"]);
    node.done(&["start", "--timeout", "60"]);
    assert!(core.said(&votes).contains("edge has the roles base, config"));
    let log = std::fs::read_to_string(node.paths().log_dir().join("agent.log")).expect("a log");
    assert!(log.contains("membership in the config store has ended"), "{log}");
    until("both hold the store", || {
        std::fs::read_to_string(core.paths().endpoints_file())
            .is_ok_and(|endpoints| endpoints.matches("https://").count() == 2)
    });
    core.done(&["config", "set", "fence", "docker/image", "example/app:2"]);
    assert_eq!(node.done(&["config", "get", "fence", "docker/image"]), "example/app:2");
}
