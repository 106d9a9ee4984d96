//! The cluster's registry on the core: brought up by one command, used by every node, and by each as far as it may.

use std::time::Duration;

use serde_json::Value;
use tests::harness::{Cluster, LIMIT, Machine, base_image, until};

type Story = anyhow::Result<()>;

/// How long what the agent does in its own time may take.
const LONG: Duration = Duration::from_secs(120);
const IMAGE: &str = "core:5000/exampleco/newimg:1.0.0";

/// A cluster whose core has a Docker, the base image in it, and the registry.
fn with_registry() -> Cluster {
    let cluster = Cluster::paired();
    let core = &cluster.core;
    core.kato(&["registry", "setup"])
        .refused(5, "systemctl enable --now docker");
    core.run(&["systemctl", "start", "docker"]).ok();
    core.load_image(&base_image());
    let said = core.kato(&["registry", "setup"]).ok();
    assert_eq!(said.trim(), "The registry answers at core:5000");
    all_can_use_it(&cluster);
    cluster
}

fn all_can_use_it(cluster: &Cluster) {
    for machine in [&cluster.core, &cluster.one, &cluster.two] {
        until("its Docker is logged in", LIMIT, || account(machine));
    }
    until("all nodes can use the registry", LIMIT, || {
        (cluster.core.kato(&["registry", "status"]).code == 0).then_some(())
    });
}

/// As who root's Docker is logged in at the registry.
fn account(machine: &Machine) -> Option<String> {
    let file = machine.run(&["cat", "/root/.docker/config.json"]).out();
    let file: Value = serde_json::from_str(&file).ok()?;
    file["auths"]["core:5000"]["auth"].as_str().map(str::to_owned)
}

/// Publish the base image as the seed does by hand.
fn publish(core: &Machine) {
    core.run(&["docker", "tag", &base_image(), IMAGE]).ok();
    core.run(&["docker", "push", IMAGE]).ok();
}

#[test]
fn one_command_gives_all_nodes_a_registry() -> Story {
    let cluster = with_registry();
    let Cluster { core, one, two, .. } = &cluster;
    let location = core.kato(&["config", "get", "cluster", "registry/location"]).ok();
    assert_eq!(location.trim(), "core:5000");
    let status = core.kato_json(&["registry", "status"]);
    let container = status["registry"]["container"].as_str().unwrap_or_default().to_owned();
    let port = core.run(&["docker", "port", &container, "5000"]).ok();
    assert!(port.lines().all(|line| line.ends_with(":5000")), "{port}");
    let again = core.kato(&["registry", "setup"]).ok();
    assert_eq!(again.trim(), "The registry answers as before at core:5000");
    let after = core.kato_json(&["registry", "status"]);
    assert_eq!(after["registry"]["container"], container.as_str());

    publish(core);
    one.run(&["docker", "pull", IMAGE]).ok();
    // A node pulls and does not push; who is nobody does neither.
    let pushed = one.run(&["docker", "push", IMAGE]);
    pushed.refused(1, "denied");
    one.run(&["docker", "--config", "/tmp/nobody", "push", IMAGE])
        .refused(1, "unauthorized");
    two.run(&["docker", "--config", "/tmp/nobody", "pull", IMAGE])
        .refused(1, "unauthorized");
    one.kato(&["registry", "login"]).refused(3, "credential");

    // A node that has not pulled it does so when it is configured, as who it is.
    core.kato(&["config", "set", "fence", "docker/image", IMAGE]).ok();
    until("fence on dea2 has pulled the image", LIMIT, || {
        (two.run(&["docker", "image", "inspect", IMAGE]).code == 0).then_some(())
    });
    two.kato(&["container", "create", "--start"]).ok();

    // A node that is removed has no account any more.
    core.kato(&["node", "remove", "dea1"]).ok();
    until("the removed node is nobody", LIMIT, || {
        let pulled = one.run(&["docker", "pull", IMAGE]);
        let said = pulled.err().to_lowercase();
        let is_nobody = ["unauthorized", "denied", "credentials"]
            .iter()
            .any(|word| said.contains(word));
        (pulled.code != 0 && is_nobody).then_some(())
    });
    Ok(())
}

/// What a node has to pull anew.
#[track_caller]
fn pulls(machine: &Machine) {
    machine.run(&["docker", "rmi", "-f", IMAGE]);
    until("the image can be pulled", LONG, || {
        (machine.run(&["docker", "pull", IMAGE]).code == 0).then_some(())
    });
}

#[test]
fn the_registry_comes_back_and_gives_back_what_it_does_not_need() -> Story {
    let cluster = with_registry();
    let Cluster { core, one, .. } = &cluster;
    publish(core);
    pulls(one);

    // Its process is killed: Docker starts it again. Its container is taken away: the agent makes it again.
    core.run(&["pkill", "-9", "-x", "registry"]).ok();
    pulls(one);
    let container = |shown: &Value| shown["registry"]["container"].as_str().map(str::to_owned);
    let before = container(&core.kato_json(&["registry", "status"])).unwrap_or_default();
    core.run(&["docker", "rm", "-f", &before]).ok();
    until("the agent has brought the registry back", LONG, || {
        container(&core.kato_json(&["registry", "status"])).filter(|after| *after != before)
    });
    pulls(one);

    // A tag is given to another image: the first has no name any more.
    core.run(&["sh", "-c", "head -c 20000000 /dev/urandom >/tmp/ballast; printf 'FROM %s\\nCOPY ballast /\\n' \"$1\" >/tmp/Dockerfile; docker build -q -t \"$2\" /tmp", "sh", &base_image(), IMAGE]).ok();
    core.run(&["docker", "push", IMAGE]).ok();
    publish(core);
    let freed = |args: &[&str]| core.kato_json(&[&["registry", "gc"], args].concat())["freed"].as_u64();
    assert_eq!(freed(&[]), Some(0), "a manifest needs it");
    assert!(freed(&["--untagged"]) > Some(19_000_000));
    assert_eq!(freed(&["--untagged"]), Some(0));
    pulls(one);

    // It is taken down, and comes back with its images, also where that was broken off.
    core.kato(&["registry", "down"]).ok();
    until("the node is logged out", LIMIT, || account(one).is_none().then_some(()));
    assert_eq!(core.kato(&["registry", "down"]).ok().trim(), "There was no registry.");
    core.run(&["timeout", "-s", "KILL", "0.3", "kato", "registry", "setup"])
        .expect_code(137);
    core.run(&["registry-bootstrap", "up"]).ok();
    all_can_use_it(&cluster);
    pulls(one);
    Ok(())
}

#[test]
fn a_new_certificate_is_in_use_before_the_old_one_ends() -> Story {
    let cluster = Cluster::paired();
    let Cluster { core, one, .. } = &cluster;
    core.run(&["systemctl", "start", "docker"]).ok();
    core.load_image(&base_image());
    core.kato(&["config", "set", "cluster", "certificates/lifetime", "60"])
        .ok();
    core.kato(&["registry", "setup", "--port", "5001"]).ok();
    let until_when = || {
        // It may be between two of them just now.
        let status = core.kato_json(&["registry", "status"]);
        let registry = &status["registry"];
        let until = registry["certificate_until"]
            .as_str()
            .filter(|_| registry["location"] == "core:5001");
        until.map(str::to_owned)
    };
    let first = until("it tells of its certificate", LONG, until_when);
    until("the certificate was renewed", LONG, || {
        until_when().filter(|now| *now != first)
    });
    until("the node can use it", LONG, || {
        let said = one.run(&["docker", "pull", "core:5001/nobody/nothing:1"]);
        said.err().contains("not found").then_some(())
    });
    Ok(())
}
