//! The config tree's past on a node that runs: told as it comes, compared, and gone back to, with fence following.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tests::harness::{LIMIT, Node, base_image, derived_image, until};

type Story = anyhow::Result<()>;

/// The revision of the configuration, as the newest change has it.
fn revision(node: &Node) -> u64 {
    node.kato_json(&["config", "history", "-j", "-l", "1"])[0]["revision"]
        .as_u64()
        .unwrap_or(0)
}

fn image_of(node: &Node, handle: &str) -> Value {
    node.kato_json(&["container", "info", handle, "-j"])["image"].clone()
}

#[test]
fn going_back_reaches_the_next_container() -> Story {
    let node = Node::fence_only();
    let (base, other) = (base_image(), derived_image("LABEL story=going-back"));
    node.kato(&["config", "set", "fence", "docker/image", &base]).ok();
    let good = revision(&node).to_string();
    node.kato(&["config", "set", "fence", "docker/image", &other.name]).ok();
    node.kato(&["config", "set", "local", "fence/max_containers", "1"]).ok();
    node.kato(&["container", "create", "--handle", "before"]).ok();
    assert_eq!(image_of(&node, "before"), other.name);
    let refused = node.kato(&["container", "create"]);
    assert_ne!(refused.code, 0, "one container is the most: {}", refused.out());

    let shown = node.kato(&["config", "rollback", &good, "--dry-run"]).ok();
    assert!(
        shown.contains(&format!("- fence docker/image: {}", other.name)),
        "{shown}"
    );
    let done = node.kato(&["config", "rollback", &good]).ok();
    assert_eq!(done, shown, "what was shown is what is done");
    node.kato(&["container", "create", "--handle", "after"]).ok();
    assert_eq!(image_of(&node, "after"), base);
    assert_eq!(image_of(&node, "before"), other.name, "what runs stays");
    assert_eq!(node.kato(&["config", "diff", &good, "--exit-code"]).ok(), "");
    until("fence follows the configuration that went back", LIMIT, || {
        node.status()
            .ok()
            .filter(|status| status["config"]["revision"] == revision(&node))
    });
    Ok(())
}

#[test]
fn a_change_is_told_while_it_is_made_and_is_in_the_history_afterwards() -> Story {
    let node = Node::fence_only();
    let mut watch = node
        .kato_command(&["-v", "debug", "configwatch", "-j", "fence"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(watch.stderr.take().ok_or(std::fmt::Error)?).lines();
    assert_eq!(said.next().transpose()?.as_deref(), Some("Following the configuration"));
    let mut lines = BufReader::new(watch.stdout.take().ok_or(std::fmt::Error)?).lines();
    for number in 1..=20 {
        node.kato(&["config", "set", "cluster", "name", &format!("n{number}")])
            .ok();
        node.kato(&["config", "set", "fence", "max_containers", &number.to_string()])
            .ok();
        let line: Value = serde_json::from_str(&lines.next().transpose()?.unwrap_or_default())?;
        assert_eq!(
            (&line["path"], &line["new"]),
            (&json!("fence/max_containers"), &json!(number))
        );
        let newest = node.kato_json(&["config", "history", "-j", "-l", "1", "fence"]);
        assert_eq!(
            (&newest[0]["revision"], &newest[0]["at"]),
            (&line["revision"], &line["at"])
        );
    }
    kill(Pid::from_raw(i32::try_from(watch.id())?), Signal::SIGINT)?;
    assert_eq!(watch.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn administrators_who_change_and_go_back_at_once_leave_a_history_that_is_whole() -> Story {
    let node = Node::fence_only();
    node.kato(&["config", "set", "x", "list", "[]"]).ok();
    let first = revision(&node).to_string();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (node, first) = (&node, &first);
            scope.spawn(move || {
                for number in 0..5 {
                    if writer == 0 {
                        node.kato(&["config", "rollback", first, "x"]).ok();
                    } else {
                        let value = format!("{writer}-{number}");
                        node.kato(&["config", "push", "x", "list", &value]).ok();
                    }
                }
            });
        }
    });
    let history = node.kato_json(&["config", "history", "-j", "-l", "1000"]);
    let records = history.as_array().cloned().unwrap_or_default();
    let mut present = Value::Null;
    for (place, record) in records.iter().rev().enumerate() {
        assert_eq!(record["number"], place + 1, "none is missing");
        for change in record["changes"].as_array().into_iter().flatten() {
            if change["path"] == "x/list" {
                assert_eq!(change["old"], present, "each rests on the one before: {record}");
                present = change["new"].clone();
            }
        }
    }
    assert_eq!(node.kato_json(&["config", "get", "-j", "x", "list"]), present);
    // Every state can be gone back to.
    let states: Vec<u64> = records
        .iter()
        .filter_map(|record| record["revision"].as_u64())
        .collect();
    for state in states.iter().step_by(3).map(u64::to_string) {
        node.kato(&["config", "rollback", &state]).ok();
        assert_eq!(node.kato(&["config", "diff", "--exit-code", &state]).ok(), "");
    }
    Ok(())
}
