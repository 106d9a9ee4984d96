//! Docker's bad days on a whole machine, with its own dockerd: stopped, killed, frozen, restarted, full.
//!
//! What fence does meanwhile over a socket that misbehaves is in `engine_outage`.

use serde_json::Value;
use tests::harness::{LIMIT, Machine, base_image, until};

type Story = anyhow::Result<()>;

/// A container whose main process runs, and that process's pid as the machine sees it.
fn started(machine: &Machine, handle: &str) -> String {
    machine
        .kato(&["container", "create", "--start", "--handle", handle])
        .ok();
    main_pid(machine, handle)
}

fn info(machine: &Machine, handle: &str) -> Value {
    machine.kato_json(&["container", "info", handle])
}

/// By the container's init, whose only child is the process `main`.
fn main_pid(machine: &Machine, handle: &str) -> String {
    until(&format!("the main process of {handle} runs"), LIMIT, || {
        let id = info(machine, handle)["engine_id"].as_str()?.to_owned();
        let init = machine.run(&["docker", "inspect", "-f", "{{.State.Pid}}", &id]).out();
        let child = machine.run(&["pgrep", "-P", init.trim(), "-o"]).out();
        Some(child.trim().to_owned()).filter(|pid| !pid.is_empty())
    })
}

fn wait_for_engine(machine: &Machine, state: &str) {
    until(&format!("fence tells that Docker is {state}"), LIMIT, || {
        let status = machine.kato_json(&["status"]);
        (status["nodes"][0]["engine"]["state"] == state).then_some(())
    });
}

/// A container can be made, used and destroyed.
fn all_is_well(machine: &Machine) {
    wait_for_engine(machine, "ok");
    until("a container can be made", LIMIT, || {
        let made = machine.kato(&["container", "create", "--start", "--handle", "after"]);
        (made.code == 0).then_some(())
    });
    let said = machine.kato(&["container", "run", "after", "--", "echo", "well"]).ok();
    assert_eq!(said, "well\n");
    machine.kato(&["container", "destroy", "after"]).ok();
}

#[test]
fn a_docker_that_is_restarted_or_killed_takes_no_container_along() -> Story {
    let machine = Machine::micro("restarted");
    let main = started(&machine, "web");
    for bad in [
        "systemctl restart docker",
        "kill -9 $(cat /var/run/docker.pid)",
        "systemctl stop docker.socket docker; systemctl start docker",
    ] {
        machine.run(&["sh", "-c", bad]).ok();
        let said = machine
            .kato(&["container", "run", "web", "--", "echo", "meanwhile"])
            .ok();
        assert_eq!(said, "meanwhile\n", "{bad}");
        all_is_well(&machine);
        assert_eq!(main_pid(&machine, "web"), main, "{bad}");
        assert_eq!(info(&machine, "web")["state"], "active", "{bad}");
    }
    Ok(())
}

#[test]
fn a_docker_that_is_frozen_costs_a_bounded_wait() -> Story {
    let machine = Machine::micro("frozen-docker");
    let main = started(&machine, "web");
    machine.kato(&["config", "set", "fence", "docker/timeout", "5"]).ok();
    machine.run(&["sh", "-c", "kill -STOP $(cat /var/run/docker.pid)"]).ok();
    let failed = machine
        .kato(&["container", "create", "--handle", "during"])
        .expect_code(5);
    assert!(failed.err().contains("gave no answer within 5 s"), "{}", failed.err());
    wait_for_engine(&machine, "unavailable");
    let status = machine.kato(&["status"]).expect_code(1);
    assert!(status.out().contains("Docker"), "{}", status.out());
    let said = machine
        .kato(&["container", "run", "web", "--", "echo", "meanwhile"])
        .ok();
    assert_eq!(said, "meanwhile\n");
    machine.run(&["sh", "-c", "kill -CONT $(cat /var/run/docker.pid)"]).ok();
    all_is_well(&machine);
    assert_eq!(main_pid(&machine, "web"), main);
    until("nothing is left of the create that failed", LIMIT, || {
        let all = machine.run(&["docker", "ps", "-aq"]).ok();
        (all.lines().count() == 1).then_some(())
    });
    Ok(())
}

#[test]
fn what_somebody_does_at_dockers_own_controls_is_noticed() -> Story {
    let machine = Machine::micro("behind");
    for handle in ["stopped", "removed"] {
        started(&machine, handle);
    }
    let id = |handle: &str| {
        info(&machine, handle)["engine_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    machine.run(&["docker", "kill", &id("stopped")]).ok();
    machine.run(&["docker", "rm", "-f", &id("removed")]).ok();
    for (handle, state) in [("stopped", "stopped"), ("removed", "lost")] {
        until(&format!("{handle} is {state}"), LIMIT, || {
            (info(&machine, handle)["state"] == state).then_some(())
        });
        let events = info(&machine, handle)["events"].to_string();
        assert!(events.contains("engine"), "{events}");
    }
    // One is started again, the other can only be destroyed.
    machine.kato(&["container", "start", "stopped"]).ok();
    main_pid(&machine, "stopped");
    machine.kato(&["container", "destroy", "removed"]).ok();
    Ok(())
}

#[test]
fn a_docker_whose_disk_is_full_refuses_what_is_new_and_keeps_the_rest() -> Story {
    let machine = Machine::installed("full-docker");
    let small = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", "/var/lib/docker"];
    machine.run(&small).ok();
    machine.kato(&["node", "setup", "micro"]).ok();
    machine.load_image(&base_image());
    let main = started(&machine, "web");
    let filled = machine.kato(&[
        "container",
        "run",
        "web",
        "--",
        "dd",
        "if=/dev/zero",
        "of=/fill",
        "bs=64k",
    ]);
    assert!(filled.err().contains("No space left"), "{}", filled.err());

    let told = "the disk of /var/lib/docker, where Docker keeps images and containers, is nearly full";
    for format in [&["status"][..], &["status", "-j"], &["status", "-y"]] {
        let status = machine.kato(format).expect_code(1);
        assert!(status.out().contains(told), "{}", status.out());
    }
    let failed = machine.kato(&["container", "create", "--handle", "during"]);
    assert_ne!(failed.code, 0);
    assert!(failed.err().contains("no space left"), "{}", failed.err());
    let said = machine
        .kato(&["container", "run", "web", "--", "echo", "meanwhile"])
        .ok();
    assert_eq!(said, "meanwhile\n");

    machine.kato(&["container", "run", "web", "--", "rm", "/fill"]).ok();
    until("all is in order", LIMIT, || {
        (machine.kato(&["status"]).code == 0).then_some(())
    });
    all_is_well(&machine);
    assert_eq!(main_pid(&machine, "web"), main);
    until("nothing is left of the create that failed", LIMIT, || {
        let all = machine.run(&["docker", "ps", "-aq"]).ok();
        (all.lines().count() == 1).then_some(())
    });
    Ok(())
}
