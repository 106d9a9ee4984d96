//! Bad days of a cluster: nodes without power, members of the config store killed, cables pulled, the core gone for long.
//! Containers go on through all of them, nothing hangs, and everything finds together again by itself.

use std::time::{Duration, Instant};

use tests::harness::{Cluster, LIMIT, Machine, until};

type Story = anyhow::Result<()>;

/// No command of a story waits longer for what does not answer.
const BOUND: Duration = Duration::from_secs(20);
/// How long packets are lost: several times a node's lease.
const SILENT: Duration = Duration::from_secs(45);
/// The old kato's nodes did not find back to a core that was gone for longer.
const OLD_BOUND: Duration = Duration::from_secs(90);

/// A container of the base image, started, on both DEAs.
fn start_apps(cluster: &Cluster) {
    for dea in cluster.deas() {
        dea.kato(&["container", "create", "--start", "--handle", "app"]).ok();
    }
}

/// The first process of the container `app`, as Docker numbers it.
fn pid_of_app(machine: &Machine) -> String {
    let handle = machine.kato_json(&["container", "info", "app"]);
    assert_eq!(handle["state"], "active", "app on {}: {handle}", machine.name());
    let instance = handle["instance"].as_str().unwrap_or_default();
    let name = format!("fence-{instance}");
    machine
        .run(&["docker", "inspect", "-f", "{{.State.Pid}}", &name])
        .ok()
        .trim()
        .to_owned()
}

#[track_caller]
fn within_bound<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = act();
    let took = start.elapsed();
    assert!(took < BOUND, "{what} hung for {took:?}");
    result
}

/// What is known of a node's liveness on `asked`.
fn is_alive(cluster: &Cluster, asked: &Machine, name: &str) -> bool {
    cluster.node(asked, name)["alive"] == true
}

#[test]
fn a_node_without_power_is_named_and_holds_up_nobody() -> Story {
    let cluster = Cluster::paired();
    let Cluster { core, one, two, .. } = &cluster;
    start_apps(&cluster);
    let app = pid_of_app(one);

    // While fence is being restarted everywhere.
    let restart = std::thread::scope(|scope| {
        let restart = scope.spawn(|| {
            within_bound("restart -c", || {
                core.kato(&["process", "restart", "-c", "--timeout", "15", "fence"])
            })
        });
        cluster.power_off(two);
        restart.join()
    });
    let restart = restart.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(matches!(restart.code, 0 | 6), "{}", restart.err());

    until("the node is known to be dead", LIMIT, || {
        (!is_alive(&cluster, core, "dea2")).then_some(())
    });
    let status = within_bound("status", || core.kato(&["status"])).expect_code(1).out();
    assert!(
        status
            .lines()
            .any(|line| line.contains("dea2") && line.contains("dead since")),
        "{status}"
    );
    let restart = within_bound("restart -c", || core.kato(&["process", "restart", "-c", "fence"])).expect_code(6);
    assert!(restart.err().contains("dea2"), "{}", restart.err());
    within_bound("restart -n", || {
        core.kato(&["process", "restart", "-n", "dea2", "fence"])
    })
    .expect_code(5);
    assert_eq!(pid_of_app(one), app, "the container went on");

    cluster.power_on(two);
    cluster.in_order();
    assert_eq!(
        two.kato_json(&["container", "info", "app"])["state"],
        "active",
        "what was started is started again"
    );
    Ok(())
}

#[test]
fn a_node_that_was_cut_off_goes_on_and_finds_back() -> Story {
    let cluster = Cluster::paired();
    let Cluster { core, one, network, .. } = &cluster;
    start_apps(&cluster);
    let app = pid_of_app(one);
    network.cut(one);
    until("its lease is over", LIMIT, || {
        (!is_alive(&cluster, core, "dea1")).then_some(())
    });
    core.kato(&["config", "set", "fence", "max_containers", "17"]).ok();
    // Alone it goes on with the last tree, and says what it cannot reach.
    one.kato(&["container", "create", "--start", "--handle", "alone"]).ok();
    let status = within_bound("status", || one.kato(&["status"]));
    assert_ne!(status.code, 0);
    assert!(status.out().contains("cannot be read"), "{}", status.out());
    within_bound("config get", || one.kato(&["config", "get", "fence", "max_containers"])).expect_code(5);
    network.join(one);
    cluster.in_order();
    until("the change is in effect", LIMIT, || {
        let most = one.kato(&["config", "get", "fence", "max_containers"]);
        (most.out().trim() == "17").then_some(())
    });
    assert_eq!(pid_of_app(one), app);
    Ok(())
}

#[test]
fn a_node_whose_packets_to_the_core_are_lost_hangs_nowhere_and_finds_back() -> Story {
    let cluster = Cluster::paired();
    let Cluster {
        core,
        one,
        two,
        network,
    } = &cluster;
    start_apps(&cluster);
    let app = pid_of_app(one);
    let (agent, fence) = (one.ready("agent"), one.ready("fence"));
    // No connection ends by it: each has to find out by itself.
    network.lose(one, "core");
    let lost = Instant::now();
    until("its lease is over", LIMIT, || {
        (!is_alive(&cluster, core, "dea1")).then_some(())
    });
    let status = within_bound("status on the core", || core.kato(&["status"])).out();
    assert!(
        status
            .lines()
            .any(|line| line.contains("dea1") && line.contains("dead since")),
        "{status}"
    );
    core.kato(&["config", "set", "fence", "max_containers", "19"]).ok();
    within_bound("restart -n", || {
        core.kato(&["process", "restart", "-n", "dea1", "fence"])
    })
    .expect_code(5);
    let mut rounds = 0;
    until("it was cut off for long", SILENT * 3, || {
        let status = within_bound("status", || one.kato(&["status"]));
        assert!(status.out().contains("cannot be read"), "{}", status.out());
        within_bound("config get", || one.kato(&["config", "get", "fence", "max_containers"])).expect_code(5);
        within_bound("process list", || one.kato(&["process", "list"])).ok();
        let name = format!("alone-{rounds}");
        within_bound("create", || {
            one.kato(&["container", "create", "--start", "--handle", &name])
        })
        .ok();
        rounds += 1;
        (lost.elapsed() > SILENT).then_some(())
    });
    assert_eq!(pid_of_app(one), app, "the container went on");
    network.find(one);
    let found = Instant::now();
    cluster.in_order();
    until("the change is in effect", LIMIT, || {
        let most = one.kato(&["config", "get", "fence", "max_containers"]);
        (most.out().trim() == "19").then_some(())
    });
    until("fence goes by it", LIMIT, || {
        let seen = [one, two].map(|dea| dea.kato_json(&["status"])["nodes"][0]["config"]["revision"].as_u64());
        (seen[0].is_some() && seen[0] == seen[1]).then_some(())
    });
    assert!(found.elapsed() < OLD_BOUND, "only after {:?}", found.elapsed());
    assert_eq!(
        (one.ready("agent"), one.ready("fence")),
        (agent, fence),
        "nothing had to be restarted"
    );
    assert_eq!(pid_of_app(one), app);
    Ok(())
}

#[test]
fn three_members_outlive_their_leader_and_one_outlives_the_others() -> Story {
    let cluster = Cluster::paired();
    let Cluster { core, one, two, .. } = &cluster;
    start_apps(&cluster);
    for dea in ["dea1", "dea2"] {
        core.kato(&["role", "add", "-n", dea, "config"]).ok();
    }
    until("the store has three members", LIMIT, || {
        let file = one.run(&["cat", "/var/lib/kato/endpoints.json"]).out();
        (file.matches("https://").count() == 3).then_some(())
    });
    // The core leads: it was there first.
    cluster.power_off(core);
    until("a member leads without it", LIMIT, || {
        (one.kato(&["config", "get", "fence", "max_containers"]).code == 0).then_some(())
    });
    assert!(is_alive(&cluster, one, "dea2"));
    until("the core is known to be dead", LIMIT, || {
        (!is_alive(&cluster, two, "core")).then_some(())
    });
    cluster.power_on(core);
    cluster.in_order();

    // A member's process killed, again and again.
    for dea in cluster.deas() {
        let before = dea.ready("config");
        dea.run(&["kill", "-9", &before.to_string()]).ok();
        core.kato(&["config", "set", "fence", "max_containers", "18"]).ok();
        until("the member is back", LIMIT, || {
            let process = dea.process("config");
            (process["state"] == "RUNNING" && process["pid"] != before).then_some(())
        });
    }

    // And back to one.
    for dea in ["dea1", "dea2"] {
        core.kato(&["role", "remove", "-n", dea, "config"]).ok();
    }
    until("the store has one member", LIMIT, || {
        let file = one.run(&["cat", "/var/lib/kato/endpoints.json"]).out();
        (file.matches("https://").count() == 1).then_some(())
    });
    cluster.in_order();
    assert_eq!(
        core.kato(&["config", "get", "fence", "max_containers"]).ok().trim(),
        "18"
    );
    for dea in cluster.deas() {
        pid_of_app(dea);
    }
    Ok(())
}

#[test]
fn a_core_that_was_gone_for_long_is_found_again_by_all() -> Story {
    let cluster = Cluster::paired();
    let Cluster { core, one, .. } = &cluster;
    start_apps(&cluster);
    let apps = cluster.deas().map(pid_of_app);
    cluster.power_off(core);
    let gone = Instant::now();
    until("the DEAs say what is unreachable", LIMIT, || {
        let status = within_bound("status", || one.kato(&["status"]));
        status.out().contains("cannot be read").then_some(())
    });
    // They work on meanwhile, restarts of their own processes included.
    let before = one.ready("fence");
    one.kato(&["process", "restart", "fence"]).ok();
    assert_ne!(one.ready("fence"), before);
    one.kato(&["container", "create", "--start", "--handle", "meanwhile"])
        .ok();
    until("the old kato's bound is over", OLD_BOUND * 2, || {
        (gone.elapsed() > OLD_BOUND).then_some(())
    });
    assert_eq!(cluster.deas().map(pid_of_app), apps);
    cluster.power_on(core);
    cluster.in_order();
    core.kato(&["process", "restart", "-c", "fence"]).ok();
    assert_eq!(cluster.deas().map(pid_of_app), apps);
    Ok(())
}
