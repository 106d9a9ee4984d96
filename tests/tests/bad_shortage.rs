//! A machine that runs short of what the tree and the agent need, or of processes: what cannot be done is refused with its
//! reason, nothing that was acknowledged is lost, containers go on, and all is well once the cause is gone.

use tests::harness::{LIMIT, Machine, base_image, until};

type Story = anyhow::Result<()>;

const LIB: &str = "/var/lib/kato";

fn sh(machine: &Machine, script: &str) -> String {
    machine.run(&["sh", "-c", script]).ok()
}

fn wait_until_told(machine: &Machine, words: &str) {
    until(&format!("kato status tells: {words}"), LIMIT, || {
        machine.kato(&["status"]).out().contains(words).then_some(())
    });
}

fn wait_until_in_order(machine: &Machine) {
    until("all is in order", LIMIT, || {
        (machine.kato(&["status"]).code == 0).then_some(())
    });
}

/// Containers go on, and can be used.
fn web_is_well(machine: &Machine) {
    let said = machine.kato(&["container", "run", "web", "--", "echo", "well"]).ok();
    assert_eq!(said, "well\n");
}

fn containers_in_docker(machine: &Machine) -> usize {
    machine.run(&["docker", "ps", "-aq"]).ok().lines().count()
}

/// One machine for all of it: each leaves it in order.
#[test]
fn a_node_that_runs_short_says_so_loses_nothing_and_recovers() -> Story {
    let machine = Machine::installed("short-of-all");
    let small = format!("mkdir -p {LIB} && mount -t tmpfs -o size=6m,mode=0700 none {LIB}");
    sh(&machine, &small);
    machine.kato(&["node", "setup", "micro"]).ok();
    machine.load_image(&base_image());
    machine
        .kato(&["container", "create", "--start", "--handle", "web"])
        .ok();
    let before = (machine.ready("agent"), machine.ready("fence"));
    the_disk_of_the_tree_is_full(&machine);
    no_process_can_be_made(&machine);
    a_container_has_as_many_processes_as_it_may(&machine);
    the_agent_has_no_more_descriptors(&machine);
    assert_eq!(
        (machine.ready("agent"), machine.ready("fence")),
        before,
        "none has ended"
    );
    the_agent_cannot_write_what_it_remembers(&machine);
    assert_eq!(machine.ready("agent"), before.0, "it has not ended");
    Ok(())
}

fn the_disk_of_the_tree_is_full(machine: &Machine) {
    let set = |max: u32| machine.kato(&["config", "set", "fence", "max_containers", &max.to_string()]);
    let mut acknowledged = 7;
    set(acknowledged).ok();
    sh(
        machine,
        &format!("dd if=/dev/zero of={LIB}/filler bs=4k 2>/dev/null || true"),
    );
    let refused = until("a change is refused", LIMIT, || {
        let said = set(acknowledged + 1);
        acknowledged += u32::from(said.code == 0);
        (said.code != 0).then_some(said)
    });
    assert_eq!(refused.code, 5, "{}", refused.err());
    for words in [&format!("{LIB}/tree.db"), "full"] {
        assert!(refused.err().contains(words), "{words}: {}", refused.err());
    }
    let refused = machine.kato(&["process", "stop", "fence"]).expect_code(1);
    for words in ["agent.json", "No space left"] {
        assert!(refused.err().contains(words), "{words}: {}", refused.err());
    }
    let told = format!("the disk of {LIB} is full: the configuration cannot be changed");
    for format in [&["status"][..], &["status", "-j"], &["status", "-y"]] {
        let status = machine.kato(format).expect_code(1);
        assert!(status.out().contains(&told), "{}", status.out());
    }
    let kept = || machine.kato(&["config", "get", "fence", "max_containers"]).ok();
    assert_eq!(kept().trim(), acknowledged.to_string());
    web_is_well(machine);

    sh(machine, &format!("rm {LIB}/filler"));
    assert_eq!(kept().trim(), acknowledged.to_string());
    set(acknowledged + 1).ok();
    until("fence follows the tree", LIMIT, || {
        let status = machine.kato_json(&["status"]);
        (status["nodes"][0]["containers"]["max"] == acknowledged + 1).then_some(())
    });
    wait_until_in_order(machine);
}

fn no_process_can_be_made(machine: &Machine) {
    // The first processes of containers are containerd's children.
    let most = |count: &str| {
        for unit in ["containerd.service", "docker.service"] {
            let most = format!("TasksMax={count}");
            machine
                .run(&["systemctl", "set-property", "--runtime", unit, &most])
                .ok();
        }
    };
    most("1");
    let refused = machine
        .kato(&["container", "create", "--handle", "never"])
        .expect_code(1);
    assert!(
        refused.err().contains("resource temporarily unavailable"),
        "{}",
        refused.err()
    );
    web_is_well(machine);
    most("infinity");
    machine.kato(&["container", "create", "--handle", "after"]).ok();
    machine.kato(&["container", "destroy", "after"]).ok();
    until("nothing is left of what was refused", LIMIT, || {
        (containers_in_docker(machine) == 1).then_some(())
    });
    wait_until_in_order(machine);
}

fn a_container_has_as_many_processes_as_it_may(machine: &Machine) {
    machine
        .kato(&["container", "create", "--handle", "few", "--pids", "6"])
        .ok();
    let run = || machine.kato(&["container", "run", "--detach", "few", "--", "sleep", "1000"]);
    let refused = until("no more can be run", LIMIT, || Some(run()).filter(|ran| ran.code != 0));
    assert_eq!(refused.code, 3, "{}", refused.err());
    assert!(
        refused.err().contains("the container has as many as it may"),
        "{}",
        refused.err()
    );
    web_is_well(machine);
    machine.kato(&["container", "stop", "few"]).ok();
    run().ok();
    machine.kato(&["container", "destroy", "few"]).ok();
}

fn the_agent_has_no_more_descriptors(machine: &Machine) {
    let agent = machine.ready("agent");
    // Those that it has stay.
    let limit = |most: &str| sh(machine, &format!("prlimit --pid {agent} --nofile={most}:"));
    let most = sh(machine, &format!("prlimit --pid {agent} --nofile -o SOFT --noheadings"));
    let before = machine.busy(agent);
    limit("3");
    let status = machine.kato(&["status"]).expect_code(1);
    assert!(
        status.out().contains("the agent gave no answer within"),
        "{}",
        status.out()
    );
    // What it looks after is there, and told without it.
    assert!(status.out().contains("1 active"), "{}", status.out());
    web_is_well(machine);
    let after = machine.busy(agent);
    assert!(after.used_less_than_half_since(&before), "{before:?} {after:?}");
    limit(most.trim());
    wait_until_in_order(machine);
    let log = sh(machine, "cat /var/log/kato/agent.log");
    assert!(log.contains("Too many open files"), "{log}");
}

fn the_agent_cannot_write_what_it_remembers(machine: &Machine) {
    let file = format!("{LIB}/agent.json");
    sh(
        machine,
        &format!("mount --bind {file} {file} && mount -o remount,ro,bind {file}"),
    );
    let fence = machine.ready("fence");
    for order in ["stop", "restart"] {
        let refused = machine.kato(&["process", order, "fence"]).expect_code(1);
        let said = refused.err();
        assert!(said.contains("could not remember") && said.contains(&file), "{said}");
    }
    assert_eq!(machine.ready("fence"), fence, "nothing was done");

    // One that dies is not left running unknown to the next agent.
    machine.run(&["kill", "-9", &fence.to_string()]).ok();
    wait_until_told(machine, &format!("could not write {file}"));
    sh(machine, &format!("umount {file}"));
    machine.ready("fence");
    web_is_well(machine);
    wait_until_in_order(machine);
    machine.kato(&["process", "restart", "fence"]).ok();
}
