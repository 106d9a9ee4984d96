//! Whose values they are: the cluster's, a realm's, a node's; what is secret, and what is recorded.

use cluster::config::Name;
use cluster::config::history::Query;
use cluster::nodes::Paths;
use cluster::store::sqlite::SqliteStore;

use super::{config, node, printed, unchanged};

#[test]
fn local_is_this_nodes_and_goes_before_the_clusters() {
    let node = node();
    insta::assert_snapshot!(config(&node, "get local"), @"
    exit: 0
    ---- stdout
    {}
    ");
    insta::assert_snapshot!(config(&node, "set local fence/docker/image mine"), @"
    exit: 0
    ---- stdout
    mine
    ---- stderr
    WARNING: Assumed type string
    ");
    insta::assert_snapshot!(config(&node, "set fence docker/image ours"), @"
    exit: 0
    ---- stdout
    ours
    ---- stderr
    WARNING: Assumed type string
    WARNING: On this node another value goes before it, see: kato config get local fence/docker/image
    ");
    insta::assert_snapshot!(config(&node, "get fence docker/image"), @"
    exit: 0
    ---- stdout
    mine
    ");
    insta::assert_snapshot!(config(&node, "get -n other fence docker/image"), @"
    exit: 0
    ---- stdout
    ours
    ---- stderr
    WARNING: There is no node other; see: kato node list
    ");
    insta::assert_snapshot!(config(&node, "get --realm eu fence docker/image"), @"
    exit: 0
    ---- stdout
    ours
    ---- stderr
    WARNING: There is no realm eu; see: kato realm list
    ");
    insta::assert_snapshot!(config(&node, "get -f local"), @"
    exit: 0
    ---- stdout
    /local/fence/docker/image mine
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "set local fence/max_containers x")), @r#"
    exit: 3
    ---- stderr
    kato: fence max_containers of node one refuses the value: "x" is not of type integer; accepted: a whole number from 1 to 100000
    hint: kato config schema fence max_containers
    "#);
    insta::assert_snapshot!(config(&node, "del local fence/docker/image"), @"
    exit: 0
    ");
    assert_eq!(printed(config(&node, "get fence docker/image")), "ours\n");
}

#[test]
fn another_nodes_and_a_realms_values_are_set_apart() {
    let node = node();
    printed(config(&node, "set -n two fence max_containers 2"));
    printed(config(&node, "set --realm eu fence max_containers 3"));
    for (words, expected) in [
        ("get fence max_containers", "256\n"),
        ("get -n two fence max_containers", "2\n"),
        ("get -n two local fence/max_containers", "2\n"),
        ("get --realm eu fence max_containers", "3\n"),
    ] {
        assert_eq!(printed(config(&node, words)), expected, "{words}");
    }
    insta::assert_snapshot!(config(&node, "get -n two --realm eu fence"), @"
    exit: 2
    ---- stderr
    error: the argument '--node <NODE>' cannot be used with '--realm <REALM>'

    Usage: kato config get --node <NODE> --root <DIR> <COMPONENT> [KEY-PATH]

    For more information, try '--help'.
    ");
}

#[test]
fn a_secret_is_shown_only_when_asked_for() {
    let node = node();
    insta::assert_snapshot!(config(&node, "set fence registry/password hunter2"), @"
    exit: 0
    ---- stdout
    [redacted]
    ---- stderr
    WARNING: Assumed type string
    WARNING: fence registry/password is not a known key
    ");
    insta::assert_snapshot!(config(&node, "get fence registry"), @"
    exit: 0
    ---- stdout
    password: '[redacted]'
    ");
    insta::assert_snapshot!(config(&node, "get -f fence registry/password"), @"
    exit: 0
    ---- stdout
    /fence/registry/password [redacted]
    ");
    insta::assert_snapshot!(config(&node, "get --reveal fence registry/password"), @"
    exit: 0
    ---- stdout
    hunter2
    ");
}

#[test]
fn what_is_below_a_secret_is_one_too() {
    let node = node();
    insta::assert_snapshot!(config(&node, "set c db/secret/x abc"), @"
    exit: 0
    ---- stdout
    [redacted]
    ---- stderr
    WARNING: Assumed type string
    WARNING: c is not a known component
    ");
    insta::assert_snapshot!(config(&node, "set -j c x {\"secret\":{\"deep\":\"leak\"}}"), @"
    exit: 0
    ---- stdout
    secret:
      deep: '[redacted]'
    ---- stderr
    WARNING: c is not a known component
    ");
    insta::assert_snapshot!(config(&node, "get -f c"), @"
    exit: 0
    ---- stdout
    /c/db/secret/x [redacted]
    /c/x/secret/deep [redacted]
    ");
}

#[test]
fn what_a_command_changes_another_process_sees_and_the_history_has() {
    let node = node();
    printed(config(&node, "set fence docker/image one:1"));
    printed(config(&node, "set fence registry/password hunter2"));
    let paths = Paths::from_root(Some(node.root()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let records = runtime.expect("a runtime").block_on(async {
        let store = SqliteStore::open(&paths.tree_db()).await.expect("the tree");
        let name = Name::new("one").expect("a name");
        let config = cluster::config::Config::new(std::sync::Arc::new(store), name);
        config.history(&Query::newest(10)).await.expect("the history").records
    });
    let commands: Vec<&str> = records.iter().map(|record| record.command.as_str()).collect();
    assert_eq!(
        commands,
        [
            "kato config set fence registry/password",
            "kato config set fence docker/image"
        ]
    );
    assert!(!records[0].who.is_empty());
    assert!(!serde_json::to_string(&records).expect("JSON").contains("hunter2"));
}
