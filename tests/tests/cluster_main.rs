//! From three fresh machines to a cluster: the core, pairing, config, processes, roles and realms on all of them.

use serde_json::{Value, json};
use tests::harness::{Captured, Cluster, LIMIT, Machine, Network, base_image, derived_image, until};

type Story = anyhow::Result<()>;

#[track_caller]
fn refused(said: Captured, code: i32, why: &str) {
    let said = said.expect_code(code);
    assert!(said.err().contains(why), "{}", said.err());
}

fn pid_of_fence(machine: &Machine) -> i64 {
    machine.ready("fence")
}

#[test]
fn three_machines_become_one_cluster() -> Story {
    let cluster = Cluster::installed();
    let Cluster { core, one, two, .. } = &cluster;
    let said = core.kato(&["node", "setup", "core", "core"]).ok();
    let is_fingerprint = |word: &&str| word.len() == 64 && word.chars().all(|digit| digit.is_ascii_hexdigit());
    let ca = said
        .split_whitespace()
        .find(is_fingerprint)
        .unwrap_or_default()
        .to_owned();
    cluster.enable(core);
    assert_eq!(ca.len(), 64, "the fingerprint of the CA: {ca}");

    // Whose core it is must be known before anything is said to it.
    refused(one.kato(&["node", "attach", "-e", "dea", "core"]), 3, &ca);
    let foreign = "0".repeat(64);
    refused(
        one.kato(&["node", "attach", "-e", "dea", "--ca-fingerprint", &foreign, "core"]),
        3,
        "CA",
    );

    // It asks, is refused, says so, and keeps asking.
    one.kato(&[
        "node",
        "attach",
        "-e",
        "dea",
        "--ca-fingerprint",
        &ca,
        "--no-wait",
        "core",
    ])
    .ok();
    cluster.enable(one);
    let waiting = until("the core knows of the node that waits", LIMIT, || {
        let pending = core.kato_json(&["node", "pending"]);
        pending
            .as_array()
            .filter(|all| all.len() == 1)
            .map(|all| all[0].clone())
    });
    let fingerprint = waiting["fingerprint"].as_str().unwrap_or_default().to_owned();
    let status = one.kato(&["status"]);
    assert_ne!(status.code, 0, "an unpaired node is not in order");
    assert!(
        status.out().contains(&fingerprint) && status.out().contains("unpaired"),
        "{}",
        status.out()
    );
    refused(one.kato(&["config", "get", "fence", "docker/image"]), 5, "unpaired");
    core.kato(&["realm", "create", "eu"]).ok();
    core.kato(&["node", "pair", &fingerprint, "eu"]).ok();

    // A token pairs by itself, once.
    let token = core.kato(&["node", "token", "create"]).ok();
    Cluster::attach_by(two, &token).ok();
    cluster.enable(two);
    for dea in cluster.deas() {
        dea.ready("fence");
        dea.load_image(&base_image());
    }
    cluster.in_order();
    assert_eq!(
        ["dea1", "dea2"].map(|name| cluster.node(core, name)["realm"].clone()),
        ["eu", "default"]
    );
    assert_eq!(core.kato_json(&["realm", "show", "eu"])["nodes"], json!(["dea1"]));

    // One change by an administrator, in effect everywhere; a node's own rights do not change it.
    let image = derived_image("RUN echo new >/etc/generation");
    for dea in cluster.deas() {
        dea.load_image(&image.name);
    }
    refused(
        one.kato(&["config", "set", "fence", "docker/image", &image.name]),
        3,
        "administrator",
    );
    core.kato(&["config", "set", "fence", "docker/image", &image.name]).ok();
    for dea in cluster.deas() {
        dea.kato(&["container", "create", "--start", "--handle", "app"]).ok();
        assert_eq!(
            dea.kato_json(&["container", "info", "app"])["image"],
            image.name.as_str()
        );
    }

    // fence is restarted everywhere; containers go on.
    let before = cluster.deas().map(pid_of_fence);
    core.kato(&["process", "restart", "-c", "fence"]).ok();
    let after = cluster.deas().map(pid_of_fence);
    assert!(before[0] != after[0] && before[1] != after[1], "{before:?} {after:?}");
    for dea in cluster.deas() {
        assert_eq!(dea.kato_json(&["container", "info", "app"])["state"], "active");
    }

    // Overlays: a realm's, and a node's over it.
    core.kato(&["config", "set", "--realm", "eu", "fence", "max_containers", "7"])
        .ok();
    core.kato(&["config", "set", "-n", "dea2", "fence", "max_containers", "8"])
        .ok();
    let most = |machine: &Machine| {
        machine
            .kato(&["config", "get", "fence", "max_containers"])
            .ok()
            .trim()
            .to_owned()
    };
    until("the overlays are seen", LIMIT, || {
        (cluster.deas().map(most) == ["7", "8"]).then_some(())
    });

    // A node that is taken out gets nothing any more, says so, and can be a cloud of its own; its containers go on.
    core.kato(&["node", "remove", "dea2"]).ok();
    assert_eq!(cluster.node(core, "dea2"), Value::Null);
    until("the node says that it was removed", LIMIT, || {
        two.kato(&["status"]).out().contains("removed").then_some(())
    });
    assert_ne!(two.kato(&["node", "list"]).code, 0);
    two.kato(&["node", "detach"]).ok();
    assert_eq!(two.kato_json(&["info"])["kind"], "micro");
    two.ready("fence");
    assert_eq!(two.kato_json(&["container", "info", "app"])["state"], "active");
    Ok(())
}

#[test]
fn a_micro_cloud_grows_into_a_cluster_and_a_node_is_retired() -> Story {
    let network = Network::new();
    let core = network.machine("core");
    core.kato(&["node", "setup", "micro"]).ok();
    core.load_image(&base_image());
    core.kato(&["config", "set", "fence", "max_containers", "9"]).ok();
    core.kato(&["container", "create", "--start", "--handle", "app"]).ok();
    let main = |machine: &Machine| machine.run(&["pgrep", "-f", "^busybox httpd.*/home/stackato/www"]).ok();
    let app = main(&core);

    core.kato(&["node", "setup", "core", "core"]).ok();
    core.run(&["systemctl", "enable", "kato-agent.service"]).ok();
    core.ready("fence");
    assert_eq!(main(&core), app, "the container went on");
    assert_eq!(
        core.kato(&["config", "get", "fence", "max_containers"]).ok().trim(),
        "9"
    );
    let history = core.kato(&["config", "history"]).ok();
    assert!(history.contains("max_containers"), "{history}");

    let dea = network.machine("dea1");
    let token = core.kato(&["node", "token", "create"]).ok();
    Cluster::attach_by(&dea, &token).ok();
    dea.run(&["systemctl", "enable", "kato-agent.service"]).ok();
    dea.ready("fence");
    dea.load_image(&base_image());
    dea.kato(&["container", "create", "--start", "--handle", "old"]).ok();

    // All of it comes back after a reboot, the store before those who need it.
    for machine in [&core, &dea] {
        machine.reboot();
    }
    until("all is in order", LIMIT, || {
        (core.kato(&["status"]).code == 0).then_some(())
    });
    assert_eq!(core.kato_json(&["container", "info", "app"])["state"], "active");

    core.kato(&["node", "retire", "-n", "dea1", "--no-wait"]).ok();
    until("nothing new is placed there", LIMIT, || {
        let made = dea.kato(&["container", "create"]);
        (made.code == 3).then_some(())
    });
    assert_eq!(
        dea.kato_json(&["container", "info", "old"])["state"],
        "active",
        "it has its time"
    );
    core.kato(&["node", "retire", "-n", "dea1", "--cancel"]).ok();
    until("it takes new ones again", LIMIT, || {
        let made = dea.kato(&["container", "create", "--handle", "new"]);
        (made.code == 0).then_some(())
    });
    core.kato(&["node", "retire", "-n", "dea1", "--timeout", "1"]).ok();
    assert_eq!(dea.kato_json(&["container", "info", "old"])["state"], "stopped");
    assert_eq!(
        core.kato_json(&["container", "info", "app"])["state"],
        "active",
        "only there"
    );
    Ok(())
}
