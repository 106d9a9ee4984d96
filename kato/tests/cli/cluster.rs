//! Nodes, realms, roles and orders by way of the tree, on a micro cloud: the very code of a cluster, with one node that
//! answers and, where a test says so, one that does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::config::Name;
use cluster::nodes::{DockerSettings, NodeFile, Nodes, Record};
use cluster::store::sqlite::SqliteStore;
use serde_json::{Value, json};

use crate::processes::Node;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A node that runs, and that says so.
pub fn alive() -> Node {
    let node = Node::running();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let list = node.kato("node list -j").json();
        if list[0]["alive"] == true && list[0]["version"].is_string() {
            return node;
        }
        assert!(Instant::now() < deadline, "still {list}");
    }
}

/// Let a second node in, of which nobody ever hears.
pub fn with_a_dead_one(node: &Node) {
    let tree = node.0.root().join("var/lib/kato/tree.db");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = SqliteStore::open(&tree).await.expect("the tree");
        let file = NodeFile::micro(&Name::new("two").expect("a name"), DockerSettings::default());
        let added = Nodes::new(Arc::new(store)).add(&Record::of_node(&file, "a test")).await;
        added.expect("a second node");
    });
}

#[test]
fn a_node_is_listed_with_its_address_first() {
    let node = alive();
    let listed = node.kato("node list -j").json();
    assert_eq!(
        (
            &listed[0]["name"],
            &listed[0]["roles"],
            &listed[0]["realm"],
            &listed[0]["zone"]
        ),
        (
            &json!("one"),
            &json!(["base", "dea"]),
            &json!("default"),
            &json!("default")
        )
    );
    let ran = node.kato("node list");
    let words: Vec<String> = ran.stdout().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words[1..], ["one", "base,dea", "default", "default", "alive"], "{ran}");
    let address = listed[0]["address"].as_str().unwrap_or("-");
    assert_eq!(words[0], address);
}

#[test]
fn orders_for_all_nodes_are_confirmed_and_the_dead_one_is_named() {
    let node = alive();
    let before = node.pid("fence");
    let ran = node.kato("process restart --cluster fence");
    let after = node.pid("fence");
    assert_ne!(after, before);
    assert_eq!(
        ran.to_string(),
        format!("exit: 0\n---- stderr\none: fence restarted (pid {after})\n")
    );
    assert_eq!(node.kato("process ready --cluster -b 60 all").stdout(), "READY\n");
    with_a_dead_one(&node);
    let ran = node.kato("restart -c dea");
    let after = node.pid("fence");
    assert_eq!(ran.code(), 6, "{ran}");
    assert_eq!(
        ran.stderr(),
        format!(
            "one: fence restarted (pid {after})\nkato: 1 of 2 nodes did not do it\n  two: never heard of\nhint: kato status\n"
        )
    );
    insta::assert_snapshot!(node.kato("process stop -n two fence"), @"
    exit: 5
    ---- stderr
    kato: two: never heard of
    hint: kato status
    ");
    let ran = node.kato("process list -c -j");
    assert_eq!((ran.code(), &ran.json()[0]["alive"]), (6, &json!(true)), "{ran}");
    let ran = node.kato("status");
    assert_eq!(ran.code(), 1, "{ran}");
    assert!(
        ran.stdout()
            .contains("- the node two does not answer: never heard of\n  hint: kato node list\n"),
        "{ran}"
    );
}

#[test]
fn what_other_nodes_cannot_be_told_is_refused() {
    let node = alive();
    insta::assert_snapshot!(node.kato("process restart -c agent"), @"
    exit: 3
    ---- stderr
    kato: the agent of another node cannot be started and stopped from here
    hint: on that node: kato process restart agent
    ");
    insta::assert_snapshot!(node.kato("process start -n onne fence"), @r#"
    exit: 4
    ---- stderr
    kato: there is no node "onne"
    hint: did you mean one?
    "#);
}

#[test]
fn roles_come_and_go_while_the_agent_runs() {
    let node = alive();
    let agent = node.pid("agent");
    insta::assert_snapshot!(node.kato("role remove dea"), @"
    exit: 0
    ---- stderr
    one has the roles base
    ");
    let names = |node: &Node| -> Vec<Value> {
        let list = node.kato("process list -j").json();
        let all = list.as_array().expect("a list").iter();
        all.map(|seen| seen["process"].clone()).collect()
    };
    assert_eq!(names(&node), ["agent"]);
    insta::assert_snapshot!(node.kato("role add dea"), @"
    exit: 0
    ---- stderr
    one has the roles base, dea
    ");
    assert_eq!(names(&node), ["agent", "docker", "fence"]);
    assert_eq!(node.pid("agent"), agent);
    assert_eq!(
        node.kato("role info -j dea").json()["nodes"],
        json!({"one": ["base", "dea"]})
    );
    for (words, said) in [
        ("role remove base", "every node has the role base"),
        ("role remove core", "the core stays the core"),
        ("role add core", "a node becomes the core by being set up as such"),
        ("role add config", "a micro cloud has its configuration in a file"),
    ] {
        let ran = node.kato(words);
        assert!(ran.code() == 3 && ran.stderr().contains(said), "{ran}");
    }
}

#[test]
fn a_new_name_takes_the_nodes_own_values_along() {
    let node = alive();
    let fence = node.pid("fence");
    assert_eq!(node.kato("config set local fence/max_containers 7").code(), 0);
    insta::assert_snapshot!(node.kato("node rename uno"), @"
    exit: 0
    ---- stderr
    node one is called uno now
    ");
    assert_eq!(node.kato("info -j").json()["node"], "uno");
    assert_eq!(node.kato("config get local fence/max_containers").stdout(), "7\n");
    assert_eq!(node.kato("config get -n one fence max_containers").stdout(), "256\n");
    assert_eq!(node.pid("fence"), fence);
    assert_eq!(node.kato("node list -j").json()[0]["name"], "uno");
}

#[test]
fn a_rename_that_was_done_or_broke_off_is_run_again() {
    let node = alive();
    for set in ["local fence/max_containers 7", "local fence/default_memory_mb 300"] {
        assert_eq!(node.kato(&format!("config set {set}")).code(), 0);
    }
    // Broken off after the first value was copied.
    assert_eq!(node.kato("config set -n uno fence max_containers 7").code(), 0);
    assert_eq!(node.kato("node rename uno").stderr(), "node one is called uno now\n");
    assert_eq!(node.kato("config get local fence/default_memory_mb").stdout(), "300\n");
    // Its answer lost, and the values of the old name not removed.
    assert_eq!(node.kato("config set -n one fence max_containers 7").code(), 0);
    insta::assert_snapshot!(node.kato("node rename -n one uno"), @"
    exit: 0
    ---- stderr
    the node is called uno already
    ");
    assert_eq!(node.kato("config get -n one fence max_containers").stdout(), "256\n");
    assert_eq!(node.kato("config get local fence/max_containers").stdout(), "7\n");
    insta::assert_snapshot!(node.kato("node rename -n one due"), @r#"
    exit: 4
    ---- stderr
    kato: there is no node "one"
    hint: kato node list
    "#);
}

#[test]
fn a_node_has_a_zone_and_a_realm() {
    let node = alive();
    assert_eq!(
        node.kato("node availabilityzone").stdout(),
        "Availability zone on node one is 'default'.\n"
    );
    assert_eq!(
        node.kato("node availabilityzone -n one rack-b").stdout(),
        "Availability zone on node one is 'rack-b'.\n"
    );
    insta::assert_snapshot!(node.kato("node realm eu"), @"
    exit: 4
    ---- stderr
    kato: there is no realm eu
    hint: kato realm list
    ");
    assert_eq!(node.kato("realm create eu --owner alice").code(), 0);
    assert_eq!(node.kato("node realm eu").stdout(), "Realm of node one is 'eu'.\n");
    assert_eq!(node.kato("config set --realm eu fence max_containers 5").code(), 0);
    assert_eq!(node.kato("config get fence max_containers").stdout(), "5\n");
    let shown = node.kato("realm show -j eu").json();
    assert_eq!((&shown["owner"], &shown["nodes"]), (&json!("alice"), &json!(["one"])));
    insta::assert_snapshot!(node.kato("realm delete eu"), @"
    exit: 3
    ---- stderr
    kato: the realm eu has nodes: one
    hint: kato node realm -n NODE REALM
    ");
    assert_eq!(node.kato("node realm default").code(), 0);
    assert_eq!(node.kato("realm delete eu").code(), 0);
    let ran = node.kato("realm delete default");
    assert_eq!(ran.code(), 3, "{ran}");
    let names: Vec<Value> = node
        .kato("realm list -j")
        .json()
        .as_array()
        .expect("a list")
        .iter()
        .map(|realm| realm["name"].clone())
        .collect();
    assert_eq!(names, ["default"]);
}

#[test]
fn the_status_has_the_clusters_age_and_uptime_and_its_nodes() {
    let node = alive();
    let ran = node.kato("status -j");
    assert_eq!(ran.code(), 0, "{ran}");
    let cluster = &ran.json()["cluster"];
    assert_eq!((&cluster["type"], &cluster["problem"]), (&json!("micro"), &json!("")));
    for time in ["now", "created", "started", "uptime"] {
        assert!(cluster[time].as_str().is_some_and(|time| !time.is_empty()), "{cluster}");
    }
    assert_eq!(
        (&cluster["nodes"][0]["node"], &cluster["nodes"][0]["state"]),
        (&json!("one"), &json!("alive"))
    );
    let ran = node.kato("status");
    assert!(ran.stdout().contains("cluster     micro cloud, now "), "{ran}");
}
