//! A node whose processes are units of a real systemd: boot, crash, freeze, stop, reboot.

use tests::harness::{LIMIT, Machine, until};

type Story = anyhow::Result<()>;

/// The pid of a container's process `main`, as the machine sees it.
fn main_pid(machine: &Machine, handle: &str) -> String {
    let found = machine
        .run(&["pgrep", "-f", "^busybox httpd.*/home/stackato/www"])
        .out();
    let pids: Vec<&str> = found.lines().collect();
    assert_eq!(pids.len(), 1, "the web servers of {handle}: {pids:?}");
    pids[0].to_owned()
}

fn start_container(machine: &Machine) -> String {
    let made = machine.kato(&["container", "create", "--start", "--handle", "web", "--port", "8080"]);
    let handle = made.ok().trim().to_owned();
    until("the container serves its page", LIMIT, || {
        let ran = machine.kato(&[
            "container",
            "run",
            &handle,
            "--",
            "wget",
            "-qO-",
            "http://127.0.0.1:8080/",
        ]);
        (ran.code == 0).then_some(())
    });
    handle
}

#[test]
fn units_bring_the_node_up_and_keep_it_so() -> Story {
    let machine = Machine::micro("units");
    for unit in ["kato-agent.service", "docker.service", "fence.service"] {
        assert_eq!(machine.unit(unit, "ActiveState"), "active", "{unit}");
    }
    assert_eq!(
        machine.unit("fence.service", "UnitFileState"),
        "static",
        "only the agent's unit is enabled"
    );
    assert_eq!(
        machine.unit("fence.service", "MainPID"),
        machine.ready("fence").to_string()
    );
    let status = machine.kato(&["status"]).ok();
    assert!(!status.contains("live-restore"), "{status}");
    start_container(&machine);
    let main = main_pid(&machine, "web");

    // The agent dies: systemd starts it again, and it takes over what runs.
    let (agent, fence) = (machine.ready("agent"), machine.ready("fence"));
    machine.run(&["kill", "-9", &agent.to_string()]).ok();
    until("another agent answers", LIMIT, || {
        machine.process("agent")["pid"].as_i64().filter(|pid| *pid != agent)
    });
    assert_eq!(machine.ready("fence"), fence, "fence is the same");

    // fence dies: the agent has systemd start it again.
    machine.run(&["kill", "-9", &fence.to_string()]).ok();
    until("another fence is ready", LIMIT, || {
        let process = machine.process("fence");
        (process["state"] == "RUNNING" && process["pid"] != fence).then_some(())
    });
    assert_eq!(main_pid(&machine, "web"), main);
    Ok(())
}

#[test]
fn a_frozen_fence_is_ended_by_the_watchdog_and_started_again() -> Story {
    let machine = Machine::micro("frozen");
    start_container(&machine);
    let main = main_pid(&machine, "web");
    let sooner = "mkdir -p /run/systemd/system/fence.service.d && \
                  printf '[Service]\nWatchdogSec=2\n' > /run/systemd/system/fence.service.d/sooner.conf && \
                  systemctl daemon-reload";
    machine.run(&["sh", "-c", sooner]).ok();
    machine.kato(&["process", "restart", "fence"]).ok();
    let fence = machine.ready("fence");
    machine.run(&["kill", "-STOP", &fence.to_string()]).ok();
    until("another fence is ready", LIMIT, || {
        let process = machine.process("fence");
        (process["state"] == "RUNNING" && process["pid"] != fence).then_some(())
    });
    let told = machine.run(&["journalctl", "--no-pager", "-u", "fence.service"]).out();
    assert!(told.contains("Watchdog timeout"), "{told}");
    assert_eq!(main_pid(&machine, "web"), main);
    Ok(())
}

#[test]
fn stopping_is_for_the_administrator_alone() -> Story {
    let machine = Machine::micro("stopped");
    start_container(&machine);
    let (main, fence) = (main_pid(&machine, "web"), machine.ready("fence"));

    // Behind the agent's back: it is wanted, so it comes back.
    machine.run(&["systemctl", "stop", "fence.service"]).ok();
    until("fence is back", LIMIT, || {
        let process = machine.process("fence");
        (process["state"] == "RUNNING" && process["pid"] != fence).then_some(())
    });

    // By kato: it stays away.
    machine.kato(&["process", "stop", "fence"]).ok();
    assert_eq!(machine.unit("fence.service", "ActiveState"), "inactive");
    assert_eq!(machine.process("fence")["state"], "STOPPED");
    assert_eq!(main_pid(&machine, "web"), main);
    machine.kato(&["process", "start", "fence"]).ok();

    // Docker's socket would start it again for whoever connects.
    machine.kato(&["process", "stop", "docker"]).ok();
    assert_eq!(machine.unit("docker.service", "ActiveState"), "inactive");
    assert_eq!(main_pid(&machine, "web"), main, "live-restore keeps containers");
    machine.kato(&["process", "start", "docker"]).ok();
    machine.ready("fence");

    // All of it, and back.
    machine.kato(&["stop"]).ok();
    assert_eq!(machine.unit("kato-agent.service", "ActiveState"), "inactive");
    assert_eq!(machine.unit("fence.service", "ActiveState"), "inactive");
    assert_eq!(main_pid(&machine, "web"), main);
    machine.kato(&["start"]).ok();
    assert_eq!(machine.unit("kato-agent.service", "ActiveState"), "active");
    machine.ready("fence");
    assert_eq!(main_pid(&machine, "web"), main);
    Ok(())
}

#[test]
fn after_a_reboot_all_is_as_it_was() -> Story {
    let machine = Machine::micro("rebooted");
    start_container(&machine);
    machine
        .kato(&["container", "create", "--start", "--handle", "ended"])
        .ok();
    machine.kato(&["container", "stop", "ended"]).ok();
    let port = machine.kato_json(&["container", "info", "web"])["ports"].clone();
    for boot in [Machine::reboot, Machine::power_cycle] {
        boot(&machine);
        machine.ready("fence");
        until("the container serves its page again", LIMIT, || {
            let port = port[0]["host_port"].to_string();
            let page = machine.run(&["busybox", "wget", "-qO-", &format!("http://127.0.0.1:{port}/")]);
            page.out().contains("This is container").then_some(())
        });
        assert_eq!(machine.kato_json(&["container", "info", "web"])["ports"], port);
        let state = |handle: &str| machine.kato_json(&["container", "info", handle])["state"].clone();
        assert_eq!((state("web"), state("ended")), ("active".into(), "stopped".into()));
        until("all is in order", LIMIT, || {
            (machine.kato(&["status"]).code == 0).then_some(())
        });
    }
    // What was stopped by the administrator stays so through a boot.
    machine.kato(&["process", "stop", "fence"]).ok();
    machine.reboot();
    machine.ready("docker");
    assert_eq!(machine.process("fence")["state"], "STOPPED");
    Ok(())
}
