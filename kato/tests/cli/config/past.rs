//! What was changed, what differs, and the way back, as the administrator sees them.

use cluster::nodes::Paths;
use cluster::store::sqlite::SqliteStore;
use cluster::store::{Store, Txn};
use serde_json::{Value, json};

use super::{config, node, printed, unchanged};
use crate::harness::Machine;

/// A node on which a few things were changed: revisions 1 to 4.
fn changed() -> Machine {
    let node = node();
    printed(config(&node, "set fence max_containers 7"));
    printed(config(&node, "set fence docker/image ours:1"));
    printed(config(&node, "set local fence/max_containers 8"));
    printed(config(&node, "set fence registry/password hunter2"));
    node
}

/// What is printed with the times taken out.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.split("  ").collect::<Vec<_>>()[..] {
        [revision, _, _, command] if revision.starts_with("revision ") => format!("{revision}  TIME  WHO  {command}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_history_tells_who_changed_what_newest_first() {
    let node = changed();
    insta::assert_snapshot!(without_times(&printed(config(&node, "history"))), @"
    revision 4  TIME  WHO  kato config set fence registry/password
        fence registry/password: (not set) -> [redacted]
    revision 3  TIME  WHO  kato config set local fence/max_containers
        fence max_containers of node one: (not set) -> 8
    revision 2  TIME  WHO  kato config set fence docker/image
        fence docker/image: (not set) -> ours:1
    revision 1  TIME  WHO  kato config set fence max_containers
        fence max_containers: (not set) -> 7
    ");
    let json = config(&node, "history -j fence registry").json();
    assert_eq!(json.as_array().map(Vec::len), Some(1));
    let record = &json[0];
    assert_eq!((&record["number"], &record["revision"]), (&json!(4), &json!(4)));
    assert_eq!(record["command"], "kato config set fence registry/password");
    assert_eq!(
        record["changes"],
        json!([{"path": "fence/registry/password", "new": "[redacted]"}])
    );
    assert!(record["who"].is_string() && record["at"].is_string());
    assert_eq!(
        printed(config(&node, "history -y fence docker/images"))
            .matches("ours:1")
            .count(),
        1
    );
}

/// Spoil what the tree holds of one change.
fn spoil(node: &Machine, number: u64) {
    let paths = Paths::from_root(Some(node.root()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let store = SqliteStore::open(&paths.tree_db()).await.expect("a tree");
        let spoilt = Txn::new().put(format!("history/{number:020}"), *b"{");
        store.txn(spoilt).await.expect("a spoilt record");
    });
}

#[test]
fn a_change_that_cannot_be_read_is_named_and_hides_no_other() {
    let node = changed();
    spoil(&node, 2);
    let history = config(&node, "history");
    assert_eq!(history.code(), 6, "{history}");
    let told = history.stdout();
    for (revision, is_told) in [(1, true), (2, false), (3, true), (4, true)] {
        assert_eq!(told.contains(&format!("revision {revision} ")), is_told, "{told}");
    }
    let named = "change 2 of the history (written at revision 5) cannot be read and is left out";
    assert!(history.stderr().contains(named), "{history}");
    let diff = config(&node, "diff 0");
    assert_eq!(diff.code(), 6, "{diff}");
    assert!(diff.stdout().contains("+ fence max_containers: 7"), "{diff}");
    assert!(diff.stderr().contains(named), "{diff}");
    assert_eq!(config(&node, "diff -j 0").json()["unreadable"][0]["number"], 2);
    assert_eq!(config(&node, "rollback 1").code(), 1);
}

#[test]
fn a_part_of_the_history_is_asked_for_by_key_layer_time_and_number() {
    let node = changed();
    let numbers = |words: &str| {
        let listed = config(&node, &format!("history -j {words}")).json();
        let numbers = listed
            .as_array()
            .expect("a list")
            .iter()
            .map(|record| record["number"].as_u64());
        numbers.collect::<Option<Vec<u64>>>().expect("numbers")
    };
    assert_eq!(numbers("fence"), [4, 3, 2, 1]);
    assert_eq!(numbers("fence max_containers"), [3, 1], "in all layers");
    assert_eq!(numbers("local"), [3]);
    assert_eq!(numbers("local fence/docker"), [0; 0]);
    assert_eq!(numbers("-n one"), [3]);
    assert_eq!(numbers("--realm eu"), [0; 0]);
    assert_eq!(numbers("-l 2"), [4, 3]);
    assert_eq!(numbers("--since 1h"), [4, 3, 2, 1]);
    assert_eq!(numbers("--since 9999-01-01"), [0; 0]);
    insta::assert_snapshot!(config(&node, "history cluster"), @"
    exit: 0
    ---- stderr
    No such change is remembered
    ");
    let few = config(&node, "history --limit 1");
    assert!(few.stderr().contains("There are older changes"), "{few}");
    insta::assert_snapshot!(config(&node, "history --since yesterday"), @"
    exit: 2
    ---- stderr
    error: invalid value 'yesterday' for '--since <TIME>': neither a time such as 2026-11-21 nor one such as 2h ago

    For more information, try '--help'.
    ");
    assert_eq!(config(&node, "history --limit 0").code(), 2);
}

#[test]
fn what_is_forgotten_is_said_and_cannot_be_gone_back_to() {
    let node = node();
    printed(config(&node, "set cluster history/keep 10"));
    for number in 1..=12 {
        printed(config(&node, &format!("set x y {number}")));
    }
    let all = config(&node, "history");
    assert_eq!(all.stdout().matches("revision ").count(), 10);
    insta::assert_snapshot!(all.stderr(), @"
    Forgotten changes before these: 3; how many are kept is set with cluster history/keep
    ");
    insta::assert_snapshot!(config(&node, "history -l 1").stderr(), @"
    There are older changes; see more with --limit 10
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "rollback 2")), @"
    exit: 3
    ---- stderr
    kato: the history that leads to revision 2 is forgotten, the oldest that is known is 4
    hint: kato config history
    ");
    insta::assert_snapshot!(config(&node, "diff 3"), @"
    exit: 3
    ---- stderr
    kato: the history that leads to revision 3 is forgotten, the oldest that is known is 4
    hint: kato config history
    ");
    insta::assert_snapshot!(config(&node, "diff 4 6"), @r#"
    exit: 0
    ---- stdout
    - x y: "3"
    + x y: "5"
    "#);
}

#[test]
fn a_difference_is_a_line_for_the_old_value_and_one_for_the_new() {
    let node = changed();
    printed(config(&node, "set -j x y [1,\"a\"]"));
    printed(config(&node, "set fence max_containers 9"));
    insta::assert_snapshot!(config(&node, "diff 1"), @r#"
    exit: 0
    ---- stdout
    + fence docker/image: ours:1
    - fence max_containers: 7
    + fence max_containers: 9
    + fence registry/password: [redacted]
    + x y: [1,"a"]
    + fence max_containers of node one: 8
    "#);
    insta::assert_snapshot!(config(&node, "diff --exit-code 6 5"), @"
    exit: 1
    ---- stdout
    - fence max_containers: 9
    + fence max_containers: 7
    ");
    insta::assert_snapshot!(config(&node, "diff --exit-code 6"), @"
    exit: 0
    ---- stderr
    Nothing differs
    ");
    assert_eq!(config(&node, "diff --exit-code 7").code(), 4);
    // 1 is an answer there, and no failure.
    let empty = Machine::new();
    assert_eq!(config(&empty, "diff 1").code(), 1);
    let failed = config(&empty, "diff --exit-code 1");
    assert!(failed.code() == 2 && failed.stderr().starts_with("kato: "), "{failed}");
    assert_eq!(
        config(&node, "diff -j 2 3").json(),
        json!({"from": 2, "to": 3, "differences": [{"scope": {"node": "one"}, "path": "fence/max_containers", "new": 8}]})
    );
    insta::assert_snapshot!(config(&node, "diff 7"), @"
    exit: 4
    ---- stderr
    kato: there is no revision 7 yet, the latest is 6
    hint: kato config history
    ");
    for words in ["diff", "diff x", "diff -1", "diff 1 2 3"] {
        assert_eq!(config(&node, words).code(), 2, "{words}");
    }
}

#[test]
fn going_back_is_shown_first_and_done_then_and_undone_again() {
    let node = changed();
    insta::assert_snapshot!(unchanged(&node, || config(&node, "rollback 1 --dry-run")), @"
    exit: 0
    ---- stdout
    - fence docker/image: ours:1
    - fence max_containers of node one: 8
    ---- stderr
    WARNING: The secret fence registry/password was changed since and stays as it is
    This would be changed; nothing was
    ");
    insta::assert_snapshot!(config(&node, "rollback 1"), @"
    exit: 0
    ---- stdout
    - fence docker/image: ours:1
    - fence max_containers of node one: 8
    ---- stderr
    WARNING: The secret fence registry/password was changed since and stays as it is
    Back at revision 1, as revision 5
    ");
    insta::assert_snapshot!(without_times(&printed(config(&node, "history -l 1"))), @"
    revision 5  TIME  WHO  kato config rollback 1
        fence max_containers of node one: 8 -> (not set)
        fence docker/image: ours:1 -> (not set)
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "rollback 1")), @"
    exit: 0
    ---- stderr
    WARNING: The secret fence registry/password was changed since and stays as it is
    Nothing to do: all is as it was at revision 1
    ");
    assert_eq!(printed(config(&node, "get fence max_containers")), "7\n");
    assert_eq!(
        printed(config(&node, "get --reveal fence registry/password")),
        "hunter2\n"
    );
    printed(config(&node, "rollback 4"));
    assert_eq!(printed(config(&node, "get fence max_containers")), "8\n");
    assert_eq!(printed(config(&node, "get fence docker/image")), "ours:1\n");
}

#[test]
fn a_part_goes_back_alone() {
    let node = changed();
    printed(config(&node, "set fence max_containers 20"));
    printed(config(&node, "set fence ports/first 60000"));
    printed(config(&node, "set fence docker/image ours:2"));
    insta::assert_snapshot!(config(&node, "rollback 4 fence docker/images"), @"
    exit: 0
    ---- stdout
    - fence docker/image: ours:2
    + fence docker/image: ours:1
    ---- stderr
    Back at revision 4, as revision 8
    ");
    insta::assert_snapshot!(config(&node, "rollback 0 local"), @"
    exit: 0
    ---- stdout
    - fence max_containers of node one: 8
    ---- stderr
    Back at revision 0, as revision 9
    ");
    insta::assert_snapshot!(config(&node, "rollback 4 fence ports"), @"
    exit: 0
    ---- stdout
    - fence ports/first: 60000
    ---- stderr
    Back at revision 4, as revision 10
    Some of it applies after: kato process restart fence
    ");
    let done = config(&node, "rollback -j 0 fence").json();
    assert_eq!(done["dry_run"], false);
    assert_eq!(done["secrets"], json!(["fence registry/password"]));
    assert!(
        done["differences"].as_array().is_some_and(|all| all.len() == 2),
        "{done}"
    );
    let newest: Value = config(&node, "history -j -l 1").json();
    assert_eq!(newest[0]["command"], "kato config rollback 0 fence");
}

#[test]
fn what_stands_in_the_way_of_going_back_is_named() {
    let node = node();
    printed(config(&node, "set x a/b 1"));
    printed(config(&node, "set --force x a text"));
    insta::assert_snapshot!(unchanged(&node, || config(&node, "rollback 1 x a/b")), @"
    exit: 3
    ---- stderr
    kato: x a/b cannot be set, since x/a is set and has to stay
    hint: kato config get x a
    ");
    insta::assert_snapshot!(unchanged(&node, || config(&node, "rollback 2")), @"
    exit: 0
    ---- stderr
    Nothing to do: all is as it was at revision 2
    ");
    assert_eq!(unchanged(&node, || config(&node, "rollback 3")).code(), 4);
    insta::assert_snapshot!(config(&node, "rollback 1 x a"), @r#"
    exit: 0
    ---- stdout
    - x a: text
    + x a/b: "1"
    ---- stderr
    Back at revision 1, as revision 3
    "#);
}
