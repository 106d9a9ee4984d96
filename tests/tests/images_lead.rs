//! Images for some of the nodes, and a lead that changes hands: realms and roles, then leaders that die for good.

use serde_json::{Value, json};
use tests::harness::{Captured, Cluster, LIMIT, Machine, base_image, until};

type Story = anyhow::Result<()>;

/// What every image of these stories begins and goes on with.
const GOOD: &str = "CMD [\"sleep\", \"1000000\"]";
/// An agent that dies stays dead.
const STAYS_DEAD: &str = "mkdir -p /run/systemd/system/kato-agent.service.d && \
                          printf '[Service]\\nRestart=no\\n' >/run/systemd/system/kato-agent.service.d/dead.conf && \
                          systemctl daemon-reload && systemctl kill -s KILL --kill-who=main kato-agent";
const COMES_BACK: &str = "rm -r /run/systemd/system/kato-agent.service.d && systemctl daemon-reload && \
                          systemctl start kato-agent";

/// The states that a command printed as JSON has for the nodes.
#[track_caller]
fn states(said: &Captured) -> Value {
    let shown: Value = serde_json::from_str(&said.out()).unwrap_or_default();
    let nodes = shown["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().map(|node| json!([node["node"], node["state"]])).collect()
}

fn has(machine: &Machine, image: &str) -> bool {
    machine.run(&["docker", "image", "inspect", image]).code == 0
}

/// Whether this is the image, named with the digest that decides.
fn is(told: &str, image: &str) -> bool {
    told.trim()
        .strip_prefix(image)
        .is_some_and(|rest| rest.starts_with("@sha256:"))
}

#[track_caller]
fn uses(machine: &Machine, image: &str) {
    until(&format!("{} uses {image}", machine.name()), LIMIT, || {
        is(&Cluster::image_in_use(machine), image).then_some(())
    });
}

/// No node has a value of its own left.
#[track_caller]
fn nothing_is_half_set(asked: &Machine) {
    for node in ["dea1", "dea2"] {
        let own = asked.kato(&["config", "get", "-n", node, "local", "fence/docker/image"]);
        assert_eq!(own.code, 4, "{node} has a value of its own: {}{}", own.out(), own.err());
    }
}

/// How the rollout stands, as this machine tells it.
fn phase(asked: &Machine) -> String {
    let said = asked.kato(&["image", "rollout", "status", "-j"]).out();
    let shown: Value = serde_json::from_str(&said).unwrap_or_default();
    shown["state"].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn reaches(asked: &Machine, wanted: &str) {
    until(wanted, LIMIT * 2, || (phase(asked) == wanted).then_some(()));
}

#[track_caller]
fn is_known_to_be_dead(cluster: &Cluster, asked: &Machine, name: &str) {
    until(&format!("{name} is seen to be dead"), LIMIT, || {
        (cluster.node(asked, name)["alive"] == false).then_some(())
    });
}

/// A command of the core's member of the config store, with all rights.
fn etcdctl(core: &Machine, args: &[&str]) -> String {
    let script = "cd /var/lib/kato/etcd && ETCDCTL_API=3 exec etcdctl --endpoints unix://etcd:0 \"$@\"";
    core.run(&[&["sh", "-c", script, "sh"], args].concat()).ok()
}

/// The machine whose agent leads; on a busy host it need not be the one that began.
fn leader(cluster: &Cluster) -> Option<&Machine> {
    let Cluster { core, one, two, .. } = cluster;
    let named = etcdctl(core, &["get", "--print-value-only", "leader"]);
    let named: Value = serde_json::from_str(&named).ok()?;
    let nodes = [core, one, two];
    nodes
        .into_iter()
        .find(|machine| cluster.node(core, machine.name())["id"] == named["node"])
}

/// Who leads, once somebody does.
#[track_caller]
fn leads(cluster: &Cluster) -> &Machine {
    until("somebody leads", LIMIT, || leader(cluster))
}

#[track_caller]
fn another_leads(cluster: &Cluster, than: &Machine) {
    until("another leads", LIMIT * 2, || {
        leader(cluster).filter(|machine| machine.id() != than.id())
    });
}

#[test]
fn images_are_for_some_nodes_and_another_leads_where_one_dies() -> Story {
    let cluster = Cluster::with_registry();
    let Cluster { core, one, two, .. } = &cluster;
    core.kato(&["realm", "create", "eu"]).ok();
    core.kato(&["node", "realm", "-n", "dea1", "eu"]).ok();
    let image = |version: &str| cluster.publish(&format!("some:{version}"), &format!("LABEL v={version}\n{GOOD}"));

    some_nodes_pull(&cluster, &image("1"));
    a_realm_is_rolled_out_to(&cluster, &image("1"), &image("2"));

    one_that_cannot_be_read_is_given_up(core);

    for dea in ["dea1", "dea2"] {
        core.kato(&["role", "add", "-n", dea, "config"]).ok();
    }
    let only_there = core.kato(&["image", "pull", "exampleco/some:2", "--role", "config", "-j"]);
    assert_eq!(only_there.code, 0, "{}", only_there.err());
    assert_eq!(
        states(&only_there),
        json!([["dea1", "here"], ["dea2", "here"]]),
        "of those with containers"
    );

    let third = image("3");
    another_agent_goes_on(&cluster, &third);
    another_node_goes_on(&cluster, &image("4"));
    for dea in [one, two] {
        assert_eq!(dea.kato_json(&["container", "info", "app"])["state"], "active");
    }
    Ok(())
}

/// Those of a realm or with a role have it then, and no other; a node that lacks it is named.
fn some_nodes_pull(cluster: &Cluster, image: &str) {
    let Cluster { core, one, two, .. } = cluster;
    let pull = |which: &[&str]| core.kato(&[&["image", "pull", image], which].concat());
    let said = pull(&["--realm", "eu"]).ok();
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["NODE", "STATE", "PROBLEM"], vec!["dea1", "here"]]);
    assert!(has(one, image) && !has(two, image));
    pull(&["--realm", "us"]).refused(4, "there is no realm us");
    pull(&["--role", "config"]).refused(4, "no node with containers is meant");

    cluster.power_off(two);
    is_known_to_be_dead(cluster, core, "dea2");
    let said = pull(&["--role", "dea", "-j"]);
    assert_eq!(said.code, 6, "{}{}", said.out(), said.err());
    assert_eq!(states(&said), json!([["dea1", "here"], ["dea2", "away"]]));
    assert!(said.err().contains("1 of 2 nodes do not have"), "{}", said.err());
    pull(&["--realm", "default"]).expect_code(6);
    pull(&["--realm", "eu"]).ok();
    cluster.power_on(two);
    two.ready("fence");
    let said = pull(&["--role", "dea", "--realm", "default", "-j"]);
    assert_eq!(said.code, 0, "{}", said.err());
    assert_eq!(states(&said), json!([["dea2", "here"]]));
    assert!(has(two, image));
}

/// Its value is the realm's, and its nodes' alone; what does no good is put back there, and the others know nothing of it.
fn a_realm_is_rolled_out_to(cluster: &Cluster, image: &str, bad: &str) {
    let Cluster { core, one, two, .. } = cluster;
    let rollout = |name: &str, more: &[&str]| core.kato(&[&["image", "rollout", name, "-j"], more].concat());
    for dea in [one, two] {
        dea.kato(&["container", "create", "--start", "--handle", "app"]).ok();
    }
    let said = rollout(image, &["--realm", "eu"]);
    assert_eq!(said.code, 0, "{}", said.err());
    assert_eq!(states(&said), json!([["dea1", "in use"]]));
    let only_the_realm = |image: &str| {
        let of = |args: &[&str]| {
            core.kato(&[&["config", "get"], args, &["fence", "docker/image"]].concat())
                .ok()
        };
        assert!(is(&of(&["--realm", "eu"]), image));
        assert_eq!(of(&[]).trim(), base_image());
        uses(one, image);
        assert_eq!(Cluster::image_in_use(two), base_image());
        nothing_is_half_set(core);
    };
    only_the_realm(image);
    let never = ["--realm", "eu", "--check", "false", "--ready-within", "2"];
    let said = rollout(bad, &never).expect_code(1);
    assert!(said.err().contains("everything was put back"), "{}", said.err());
    assert!(!has(two, bad));
    only_the_realm(image);

    // A realm with an image of its own is left alone, until that is gone.
    let plan = core.kato(&["image", "rollout", bad, "--dry-run"]);
    assert!(
        plan.err().contains("dea1: its realm has an image of its own"),
        "{}",
        plan.err()
    );
    core.kato(&["config", "del", "--realm", "eu", "fence", "docker/image"])
        .ok();
    until("dea1 is back at what all have", LIMIT, || {
        (Cluster::image_in_use(one) == base_image()).then_some(())
    });
}

/// A rollout whose job is spoilt is in the way of the next one until it is given up. A mistyped verb is no image.
fn one_that_cannot_be_read_is_given_up(core: &Machine) {
    let id = "01900000-0000-7000-8000-000000000000";
    etcdctl(core, &["put", &format!("images/job/{id}"), "{"]);
    etcdctl(core, &["put", "images/rollout", id]);
    let rollout = |word: &str| core.kato(&["image", "rollout", word]);
    rollout("exampleco/some:1").refused(3, "another image is being rolled out");
    rollout("status").refused(1, "cannot be read");
    let said = rollout("abort").expect_code(0);
    assert!(said.err().contains("another image can be rolled out"), "{}", said.err());
    assert_eq!(phase(core), "put back", "the one before");
    rollout("abort").refused(4, "no image is being rolled out");
    rollout("statsu").refused(2, "kato image rollout status");
}

/// The agent that leads dies and stays dead: one of the other members carries the rollout to its end.
fn another_agent_goes_on(cluster: &Cluster, image: &str) {
    let Cluster { core, one, two, .. } = cluster;
    core.kato(&["image", "rollout", image, "--detach"]).ok();
    reaches(core, "being tried");
    let dead = leads(cluster);
    dead.run(&["sh", "-c", STAYS_DEAD]).ok();
    another_leads(cluster, dead);
    reaches(core, "done");
    nothing_is_half_set(core);
    assert_ne!(
        dead.unit("kato-agent", "ActiveState"),
        "active",
        "it was done without it"
    );
    dead.run(&["sh", "-c", COMES_BACK]).ok();
    for dea in [one, two] {
        uses(dea, image);
    }
    cluster.in_order();
}

/// The node whose agent leads loses its power, and it comes back to what the others have.
fn another_node_goes_on(cluster: &Cluster, image: &str) {
    let Cluster { core, one, two, .. } = cluster;
    // The core has the registry, and goes on.
    if leads(cluster).id() == core.id() {
        core.run(&["sh", "-c", STAYS_DEAD]).ok();
        another_leads(cluster, core);
        core.run(&["sh", "-c", COMES_BACK]).ok();
        cluster.in_order();
    }
    core.kato(&["image", "rollout", image, "--detach"]).ok();
    reaches(core, "being tried");
    let dead = leads(cluster);
    assert_ne!(dead.id(), core.id(), "another led, and was not disturbed");
    cluster.power_off(dead);
    another_leads(cluster, dead);
    reaches(core, "done");
    nothing_is_half_set(core);
    cluster.power_on(dead);
    for dea in [one, two] {
        uses(dea, image);
    }
    let configured = core.kato(&["config", "get", "fence", "docker/image"]).ok();
    assert!(is(&configured, image), "{configured}");
}
