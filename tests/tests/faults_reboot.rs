//! The daemon is killed 20 times at each point of what comes back after the machine was started anew: the next one brings
//! back the rest.
//!
//! The machine's end is that of all that ran in the containers; its start is a run directory without the daemon's mark.

use tests::garden::ContainerSpec;
use tests::harness::{LIMIT, Node, docker, program_with_faults, until};

type Story = anyhow::Result<()>;

const TIMES: usize = 20;
const CONTAINERS: usize = 3;
const POINTS: [&str; 3] = ["comeback/noted", "comeback/first-process-runs", "comeback/main-spawned"];

/// End all that runs, and with it the daemon.
fn power_off(node: &Node) -> Story {
    node.kill_fence();
    let ids = node.containers_in_docker();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    docker::docker(&[&["kill"], ids.as_slice()].concat()).ok();
    Ok(std::fs::remove_file(node.root().join("run/fence/started"))?)
}

/// Whether the container is active, and its main process runs.
fn is_back(node: &Node, handle: &str) -> bool {
    let shown = node.shown(handle).unwrap_or_default();
    shown["state"] == "active" && shown["started"] == true && !node.pids_named(handle, "sleep").is_empty()
}

#[test]
fn what_comes_back_survives_kills() -> Story {
    let node = Node::with_program(program_with_faults());
    let handles: Vec<String> = (0..CONTAINERS).map(|number| format!("app-{number}")).collect();
    for handle in &handles {
        node.container(&ContainerSpec {
            handle: handle.clone(),
            ..ContainerSpec::default()
        })?;
        node.kato(&["container", "start", handle, "--", "sleep", "100000"]).ok();
    }
    for point in POINTS {
        for time in 0..TIMES {
            power_off(&node)?;
            // Each time at another container, so that some are back by then and some are not.
            let hit = format!("{point}:{}", 1 + time % CONTAINERS);
            node.spawn_fence_with(&[("FENCE_FAULT", &hit)]);
            until(&format!("fence dies at {hit}"), LIMIT, || node.fence_ended());
            node.start_fence();
            for handle in &handles {
                until(&format!("{handle} is back after {hit}"), LIMIT, || {
                    is_back(&node, handle).then_some(())
                });
                assert_eq!(
                    node.pids_named(handle, "sleep").len(),
                    1,
                    "{handle} after {hit}: one main process"
                );
            }
            until("nothing is left to do", LIMIT, || {
                let status = node.status().ok()?;
                (status["problems"].as_array().is_none_or(Vec::is_empty)).then_some(())
            });
        }
    }
    Ok(())
}
