//! A machine whose files are damaged or whose disks are full: nothing that was acknowledged is lost, what is wrong is
//! told, and all is well once the cause is gone.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::harness::{LIMIT, Machine, until};

type Story = anyhow::Result<()>;

const INVENTORY: &str = "/var/lib/fence/inventory.db";

fn sh(machine: &Machine, script: &str) -> String {
    machine.run(&["sh", "-c", script]).ok()
}

fn info(machine: &Machine, handle: &str) -> Value {
    machine.kato_json(&["container", "info", handle])
}

fn handles(machine: &Machine) -> BTreeSet<String> {
    let list = machine.kato_json(&["container", "list"]);
    let all = list.as_array().cloned().unwrap_or_default();
    all.iter()
        .filter_map(|container| container["handle"].as_str().map(str::to_owned))
        .collect()
}

/// All that `kato status` finds wrong.
fn told(machine: &Machine) -> String {
    machine.kato(&["status"]).out()
}

fn wait_until_told(machine: &Machine, words: &str) {
    until(&format!("kato status tells: {words}"), LIMIT, || {
        told(machine).contains(words).then_some(())
    });
}

fn wait_until_in_order(machine: &Machine) {
    until("all is in order", LIMIT, || {
        (machine.kato(&["status"]).code == 0).then_some(())
    });
}

fn containers_in_docker(machine: &Machine) -> usize {
    machine.run(&["docker", "ps", "-aq"]).ok().lines().count()
}

#[test]
fn a_damaged_inventory_costs_no_container() -> Story {
    let machine = Machine::micro("damaged");
    machine
        .kato(&["container", "create", "--start", "--handle", "web_1"])
        .ok();
    machine.kato(&["container", "create", "--handle", "idle"]).ok();
    let web = info(&machine, "web_1");

    // With its copies nothing is lost.
    let harm = format!("systemctl stop fence; rm -f {INVENTORY}-*; head -c 30000 /dev/urandom > {INVENTORY}");
    sh(&machine, &harm);
    machine.kato(&["process", "start", "fence"]).ok();
    machine.ready("fence");
    wait_until_told(
        &machine,
        "2 containers are as they were, 0 are known from the engine alone",
    );
    for part in [
        "instance",
        "state",
        "image_id",
        "limits",
        "created",
        "ports",
        "properties",
    ] {
        assert_eq!(info(&machine, "web_1")[part], web[part], "{part}");
    }
    let aside = sh(&machine, "ls -d /var/lib/fence/inventory.db.corrupt-*");
    assert!(told(&machine).contains(aside.trim()), "{}", told(&machine));
    sh(&machine, &format!("rm {}", aside.trim()));
    wait_until_in_order(&machine);

    // Without inventory and copies there is what Docker knows.
    sh(
        &machine,
        "systemctl stop fence; rm -rf /var/lib/fence/inventory.db* /var/lib/fence/containers",
    );
    machine.kato(&["process", "start", "fence"]).ok();
    machine.ready("fence");
    wait_until_told(&machine, "container web-1 has lost its record");
    assert_eq!(handles(&machine), ["idle", "web-1"].map(str::to_owned).into());
    assert_eq!(info(&machine, "web-1")["instance"], web["instance"]);
    let said = machine.kato(&["container", "run", "web-1", "--", "echo", "here"]).ok();
    assert_eq!(said, "here\n");
    // Its grace time as a stray would be over by the time a further comparison was made, which a restart makes sure of.
    machine.kato(&["process", "restart", "fence"]).ok();
    machine.ready("fence");
    assert_eq!((containers_in_docker(&machine), handles(&machine).len()), (2, 2));
    machine.kato(&["container", "destroy", "web-1", "idle"]).ok();
    assert_eq!(containers_in_docker(&machine), 0);
    sh(&machine, "rm /var/lib/fence/inventory.db.missing-*");
    wait_until_in_order(&machine);
    Ok(())
}

#[test]
fn a_damaged_config_tree_is_told_left_alone_and_followed_again() -> Story {
    let machine = Machine::micro("damaged-tree");
    machine.kato(&["config", "set", "fence", "max_containers", "7"]).ok();
    machine.kato(&["container", "create", "--handle", "before"]).ok();
    let tree = "/var/lib/kato/tree.db";
    sh(
        &machine,
        &format!(
            "systemctl stop fence; cp -a {tree} /root/good; for f in {tree}-wal {tree}-shm; do \
             [ ! -e $f ] || cp -a $f /root/good${{f#{tree}}}; done; rm -f {tree}-wal {tree}-shm {tree}; \
             head -c 20000 /dev/zero | tr '\\0' x > {tree}; cp {tree} /root/damaged"
        ),
    );
    machine.kato(&["process", "start", "fence"]).ok();
    machine.ready("fence");
    let refused = machine
        .kato(&["config", "set", "fence", "max_containers", "8"])
        .expect_code(1);
    for words in [tree, "not a usable store", "hint: put a good copy", "kato data import"] {
        assert!(refused.err().contains(words), "{words}: {}", refused.err());
    }
    wait_until_told(&machine, "goes by its last copy");
    machine.kato(&["container", "create", "--handle", "during"]).ok();
    sh(&machine, &format!("cmp {tree} /root/damaged"));
    // Put back, it is followed again by the same fence.
    let pid = machine.ready("fence");
    sh(
        &machine,
        &format!(
            "rm -f {tree}-wal {tree}-shm; for s in -wal -shm; do [ ! -e /root/good$s ] || cp -a /root/good$s {tree}$s; \
             done; mv /root/good {tree}"
        ),
    );
    wait_until_in_order(&machine);
    machine.kato(&["config", "set", "fence", "max_containers", "9"]).ok();
    until("fence follows the tree", LIMIT, || {
        let status = machine.kato_json(&["status"]);
        (status["nodes"][0]["containers"]["max"] == 9).then_some(())
    });
    assert_eq!(machine.ready("fence"), pid);
    Ok(())
}

#[test]
fn a_full_disk_takes_nothing_that_was_acknowledged() -> Story {
    let machine = Machine::installed("full");
    sh(
        &machine,
        "mkdir -p /var/lib/fence && mount -t tmpfs -o size=8m,mode=0700 none /var/lib/fence",
    );
    machine.kato(&["node", "setup", "micro"]).ok();
    machine.load_image(&tests::harness::base_image());
    for handle in ["kept", "gone"] {
        machine.kato(&["container", "create", "--handle", handle]).ok();
    }
    sh(
        &machine,
        "dd if=/dev/zero of=/var/lib/fence/filler bs=4k 2>/dev/null || true",
    );
    let refused = machine
        .kato(&["container", "create", "--handle", "never"])
        .expect_code(1);
    assert!(refused.err().contains(INVENTORY), "{}", refused.err());
    assert!(refused.err().contains("full"), "{}", refused.err());
    assert!(
        told(&machine).contains("the disk of /var/lib/fence is full"),
        "{}",
        told(&machine)
    );
    // An end can be written down all the same, and a restart finds what there was.
    machine.kato(&["container", "destroy", "gone"]).ok();
    machine.run(&["sh", "-c", "kill -9 $(pidof fence)"]).ok();
    machine.ready("fence");
    assert_eq!(handles(&machine), ["kept"].map(str::to_owned).into());
    assert_eq!(containers_in_docker(&machine), 1);
    sh(&machine, "rm /var/lib/fence/filler");
    wait_until_in_order(&machine);
    machine.kato(&["container", "create", "--handle", "after"]).ok();

    // The same of the directories of sockets.
    sh(
        &machine,
        "mkdir -p /run/fence/c && mount -t tmpfs -o size=4k,nr_inodes=1 none /run/fence/c",
    );
    let refused = machine
        .kato(&["container", "create", "--handle", "never"])
        .expect_code(1);
    assert!(refused.err().contains("/run/fence/c"), "{}", refused.err());
    sh(&machine, "umount /run/fence/c");
    machine.kato(&["container", "create", "--handle", "again"]).ok();
    Ok(())
}

#[test]
fn out_of_descriptors_or_processes_fence_says_so_and_recovers() -> Story {
    let machine = Machine::micro("short");
    machine.kato(&["container", "create", "--handle", "kept"]).ok();
    let pid = machine.ready("fence");
    // The soft limit alone.
    let limit = |count: &str| sh(&machine, &format!("prlimit --pid {pid} --nofile={count}:"));
    let most = sh(&machine, &format!("prlimit --pid {pid} --nofile -o HARD --noheadings"));
    // As many as are open now: not one more.
    let open = sh(&machine, &format!("ls /proc/{pid}/fd | sort -n | tail -n 1"));
    limit(&(open.trim().parse::<u32>()? + 1).to_string());
    let refused = machine.run(&["timeout", "60", "kato", "container", "create", "--handle", "during"]);
    assert!([1, 5].contains(&refused.code), "{}: {}", refused.code, refused.err());
    limit(most.trim());
    until("a container can be made", LIMIT, || {
        let made = machine.kato(&["container", "create", "--handle", "after"]);
        (made.code == 0).then_some(())
    });

    // No more threads or processes of fence's either, such as those that write rules.
    let tasks = machine.unit("fence.service", "TasksCurrent");
    let set = |most: &str| {
        sh(
            &machine,
            &format!("systemctl set-property --runtime fence.service TasksMax={most}"),
        )
    };
    set(&tasks);
    let refused = machine.run(&["timeout", "60", "kato", "container", "create", "--handle", "second"]);
    assert!([0, 1, 5].contains(&refused.code), "{}: {}", refused.code, refused.err());
    machine.kato(&["container", "info", "kept"]).ok();
    set("infinity");
    machine.run(&["kato", "container", "destroy", "second"]);
    let said = machine.kato(&["container", "run", "after", "--", "echo", "well"]).ok();
    assert_eq!(said, "well\n");
    wait_until_in_order(&machine);
    assert_eq!(machine.ready("fence"), pid, "it neither ended nor was restarted");
    until("nothing is left of what was refused", LIMIT, || {
        let left = (handles(&machine), containers_in_docker(&machine));
        (left == (["after", "kept"].map(str::to_owned).into(), 2)).then_some(())
    });
    Ok(())
}
