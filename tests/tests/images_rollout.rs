//! An image on its way to all nodes: pulled in waves, rolled out, and put back where it does no good.

use serde_json::Value;
use tests::harness::{Captured, Cluster, LIMIT, Machine, base_image, until};

type Story = anyhow::Result<()>;

/// What every good image of these stories begins and goes on with.
const GOOD: &str = "CMD [\"sleep\", \"1000000\"]";

#[track_caller]
fn configured(cluster: &Cluster) -> String {
    cluster
        .core
        .kato(&["config", "get", "fence", "docker/image"])
        .ok()
        .trim()
        .to_owned()
}

/// Whether this is an image by its name, or by that and the digest that decides.
fn is(told: &str, name: &str) -> bool {
    told == name || told.strip_prefix(name).is_some_and(|rest| rest.starts_with("@sha256:"))
}

/// This is configured for all, with its digest.
#[track_caller]
fn is_configured(cluster: &Cluster, name: &str) {
    let configured = configured(cluster);
    assert!(is(&configured, name) && configured.contains('@'), "{configured}");
}

/// No node has a value of its own left.
#[track_caller]
fn nothing_is_half_set(cluster: &Cluster) {
    for node in ["dea1", "dea2"] {
        let own = cluster
            .core
            .kato(&["config", "get", "-n", node, "local", "fence/docker/image"]);
        assert_eq!(own.code, 4, "{node} has a value of its own: {}{}", own.out(), own.err());
    }
}

#[track_caller]
fn all_use(cluster: &Cluster, name: &str) {
    for dea in cluster.deas() {
        until(&format!("{} uses {name}", dea.name()), LIMIT, || {
            is(&Cluster::image_in_use(dea), name).then_some(())
        });
    }
}

fn rollout(cluster: &Cluster, name: &str, more: &[&str]) -> Captured {
    cluster.core.kato(&[&["image", "rollout", name], more].concat())
}

/// The states that a command printed as JSON has for the nodes.
fn states(said: &Captured) -> Vec<(String, String)> {
    let shown: Value = serde_json::from_str(&said.out()).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let nodes = shown["nodes"].as_array().cloned().unwrap_or_default();
    nodes
        .iter()
        .map(|node| (text(&node["node"]), text(&node["state"])))
        .collect()
}

fn of(states: &[(&str, &str)]) -> Vec<(String, String)> {
    states
        .iter()
        .map(|(node, state)| ((*node).to_owned(), (*state).to_owned()))
        .collect()
}

#[test]
fn a_good_image_is_pulled_and_rolled_out_and_a_bad_one_is_put_back() -> Story {
    let cluster = Cluster::with_registry();
    let Cluster { core, one, .. } = &cluster;
    let good = cluster.publish("newimg:1.0.0", &format!("LABEL v=1\n{GOOD}"));

    pulls_are_what_was_asked_for(&cluster, &good);
    for dea in cluster.deas() {
        dea.kato(&["container", "create", "--start", "--handle", "app"]).ok();
    }

    // What would be done is told, and nothing is.
    let plan = rollout(&cluster, &good, &["--dry-run"]).ok();
    assert!(
        plan.contains("try a container of it on dea1") && plan.contains("for the cluster"),
        "{plan}"
    );
    let before = configured(&cluster);
    assert_eq!(before, base_image());

    let said = rollout(&cluster, &good, &["-j"]);
    assert_eq!(said.code, 0, "{}", said.err());
    assert_eq!(states(&said), of(&[("dea1", "in use"), ("dea2", "in use")]));
    is_configured(&cluster, &good);
    nothing_is_half_set(&cluster);
    all_use(&cluster, &good);
    let history = core.kato(&["config", "history", "fence"]).ok();
    assert!(history.contains("kato image rollout"), "{history}");
    let containers = core.kato(&["image", "list", "-n", "dea1", "-j"]).ok();
    assert!(containers.contains(&good), "{containers}");
    one.kato(&["container", "create", "--start", "--handle", "second"]).ok();

    bad_images_are_put_back(&cluster, &good);
    for dea in cluster.deas() {
        assert_eq!(dea.kato_json(&["container", "info", "app"])["state"], "active");
        let left = dea.kato(&["container", "list"]).ok();
        assert!(!left.contains("trial-"), "{left}");
    }
    Ok(())
}

/// Nodes that are named have it then, and no other; what is not there is told.
fn pulls_are_what_was_asked_for(cluster: &Cluster, good: &str) {
    let Cluster { core, one, two, .. } = cluster;
    let has = |machine: &Machine| machine.run(&["docker", "image", "inspect", good]).code == 0;
    let said = core.kato(&["image", "pull", "exampleco/newimg:1.0.0", "-n", "dea2", "-j"]);
    assert_eq!(said.code, 0, "{}", said.err());
    assert_eq!(states(&said), of(&[("dea2", "here")]));
    assert!(has(two) && !has(one));
    core.kato(&["image", "pull", "exampleco/newimg:1.0.0"]).ok();
    assert!(has(one));
    let absent = core.kato(&["image", "pull", "exampleco/absent:1"]).expect_code(4);
    assert!(absent.err().contains("exampleco/absent:1"), "{}", absent.err());
    // A node is no administrator.
    let refused = one.kato(&["image", "pull", "exampleco/newimg:1.0.0"]);
    assert_eq!(refused.code, 3, "{}{}", refused.out(), refused.err());
}

/// Each ends with why, and with the last lines of the image's command where that has said something.
fn bad_images_are_put_back(cluster: &Cluster, good: &str) {
    let ends = cluster.publish("newimg:ends", "CMD [\"sh\", \"-c\", \"echo no config found; exit 7\"]");
    let said = rollout(cluster, &ends, &[]).expect_code(1);
    let err = said.err();
    assert!(err.contains("dea1, trial: its command ended with 7"), "{err}");
    assert!(err.contains("no config found"), "{err}");

    let never = cluster.publish("newimg:never", GOOD);
    let said = rollout(cluster, &never, &["--check", "test -e /ready", "--ready-within", "3"]).expect_code(1);
    assert!(said.err().contains("was not ready within 3 s"), "{}", said.err());

    let own = cluster.publish("newimg:own", &format!("HEALTHCHECK CMD test -e /ready\n{GOOD}"));
    let said = rollout(cluster, &own, &["--ready-within", "3"]).expect_code(1);
    assert!(said.err().contains("was not ready within 3 s"), "{}", said.err());

    is_configured(cluster, good);
    nothing_is_half_set(cluster);
    all_use(cluster, good);
}

#[test]
fn whatever_dies_in_between_it_ends_whole() -> Story {
    let cluster = Cluster::with_registry();
    let Cluster { core, one, two, .. } = &cluster;
    for dea in cluster.deas() {
        dea.kato(&["container", "create", "--start", "--handle", "app"]).ok();
    }
    let begin = |version: &str| {
        let name = cluster.publish(&format!("newimg:{version}"), &format!("LABEL v={version}\n{GOOD}"));
        rollout(&cluster, &name, &["--detach"]).ok();
        name
    };
    let phase = || {
        let said = core.kato(&["image", "rollout", "status", "-j"]).out();
        let shown: Value = serde_json::from_str(&said).unwrap_or_default();
        shown["state"].as_str().unwrap_or_default().to_owned()
    };
    let reaches = |wanted: &str| until(wanted, LIMIT, || (phase() == wanted).then_some(()));
    let done = |name: &str| {
        reaches("done");
        is_configured(&cluster, name);
        nothing_is_half_set(&cluster);
    };

    // kato itself, which only follows; another rollout is refused meanwhile.
    let name = cluster.publish("newimg:1", &format!("LABEL v=1\n{GOOD}"));
    let script = "kato image rollout \"$1\" >/dev/null 2>&1 & echo $!";
    let follower = core.run(&["sh", "-c", script, "sh", &name]).ok();
    reaches("being tried");
    let second = rollout(&cluster, &name, &[]).expect_code(3);
    assert!(
        second.err().contains("another image is being rolled out"),
        "{}",
        second.err()
    );
    core.run(&["kill", "-KILL", follower.trim()]).ok();
    // And the leader.
    core.run(&["systemctl", "kill", "-s", "KILL", "--kill-who=main", "kato-agent"])
        .ok();
    done(&name);
    all_use(&cluster, &name);

    // The fence on which it is tried, and the registry.
    let name = begin("2");
    reaches("being tried");
    one.run(&["systemctl", "kill", "-s", "KILL", "--kill-who=main", "fence"])
        .ok();
    core.run(&["sh", "-c", "kill -9 $(pidof docker-registry registry)"]);
    until("the rollout is at its end", LIMIT * 2, || {
        ["done", "put back"].contains(&phase().as_str()).then_some(())
    });
    nothing_is_half_set(&cluster);
    if phase() == "put back" {
        rollout(&cluster, &name, &[]).ok();
    }
    all_use(&cluster, &name);

    let aborted = begin("3");
    core.kato(&["image", "rollout", "abort"]).ok();
    assert_eq!(phase(), "put back");
    is_configured(&cluster, &name);
    assert!(!is(&configured(&cluster), &aborted));
    nothing_is_half_set(&cluster);
    all_use(&cluster, &name);

    // A node without power takes it up when it is back.
    let name = cluster.publish("newimg:4", &format!("LABEL v=4\n{GOOD}"));
    cluster.power_off(two);
    until("dea2 is seen to be dead", LIMIT, || {
        (cluster.node(core, "dea2")["alive"] == false).then_some(())
    });
    let said = rollout(&cluster, &name, &["-j"]);
    assert_eq!(said.code, 6, "{}{}", said.out(), said.err());
    assert_eq!(states(&said), of(&[("dea1", "in use"), ("dea2", "away")]));
    is_configured(&cluster, &name);
    cluster.power_on(two);
    all_use(&cluster, &name);
    nothing_is_half_set(&cluster);

    a_node_without_room_ends_it_before_anything_is_set(&cluster, &name);
    assert_eq!(one.kato_json(&["container", "info", "app"])["state"], "active");
    Ok(())
}

fn a_node_without_room_ends_it_before_anything_is_set(cluster: &Cluster, before: &str) {
    let Cluster { core, two, .. } = cluster;
    let name = cluster.publish("newimg:5", &format!("LABEL v=5\n{GOOD}"));
    two.have_small_disk(400);
    two.run(&["fallocate", "-l", "200M", "/var/lib/docker/filled"]).ok();
    let said = rollout(cluster, &name, &[]).expect_code(1);
    assert!(said.err().contains("dea2, pull: the disk of"), "{}", said.err());
    is_configured(cluster, before);
    nothing_is_half_set(cluster);
    let said = core.kato(&["image", "pull", &name, "-j"]);
    assert_eq!(said.code, 6, "{}{}", said.out(), said.err());
    assert_eq!(states(&said), of(&[("dea1", "here"), ("dea2", "failed")]));
    two.run(&["rm", "/var/lib/docker/filled"]).ok();
    let said = rollout(cluster, &name, &["--restart"]);
    assert_eq!(said.code, 0, "{}{}", said.out(), said.err());
    all_use(cluster, &name);
}
