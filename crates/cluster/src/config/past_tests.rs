//! What the tree was, and back to it, for any changes in any order; what cannot be had back, and what is refused.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::history::{History, Query};
use crate::config::{KeyPath, Name};
use crate::store::memory::MemoryStore;

fn new() -> Config {
    Config::new(Arc::new(MemoryStore::new()), Name::new("here").unwrap())
}

fn author(command: &str) -> Author {
    Author {
        who: "alice".to_owned(),
        command: command.to_owned(),
    }
}

fn key(address: &str) -> Target {
    target(&Scope::Cluster, &path(address))
}

fn path(address: &str) -> KeyPath {
    KeyPath::parse(address).unwrap()
}

fn here() -> Scope {
    Scope::Node(Name::new("here").unwrap())
}

async fn set(config: &Config, address: &str, value: Value) -> Revision {
    let changed = config.set(&key(address), value, true, &author("set")).await;
    changed.unwrap().revision
}

async fn back(config: &Config, to: Revision) -> Result<RolledBack> {
    config.rollback(to, &Part::default(), &author("rollback")).await
}

fn part(address: &str) -> Part {
    Part {
        scope: None,
        address: path(address),
    }
}

/// Spoils what the store holds of one record.
async fn spoil(config: &Config, number: u64) {
    let txn = crate::store::Txn::new().put(history::record_key(number), *b"{");
    assert!(matches!(config.store.txn(txn).await.unwrap(), Outcome::Done(_)));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_hides_no_other() {
    let config = new();
    for number in 1..=4 {
        set(&config, &format!("x/y{number}"), json!(number)).await;
    }
    spoil(&config, 3).await;
    let told = config.history(&Query::newest(10)).await.unwrap();
    let numbers = |told: &[Unreadable]| told.iter().map(|unreadable| unreadable.number).collect::<Vec<_>>();
    assert_eq!(told.records.iter().map(|r| r.number).collect::<Vec<_>>(), [4, 2, 1]);
    assert_eq!((numbers(&told.unreadable), told.forgotten), (vec![3], 0));
    let diff = config.diff(0, None).await.unwrap();
    let paths: Vec<&str> = diff.differences.iter().map(|d| d.change.path.as_str()).collect();
    assert_eq!(
        (paths, numbers(&diff.unreadable)),
        (vec!["x/y1", "x/y2", "x/y4"], vec![3])
    );
    // What is surely later or earlier does not count.
    assert_eq!(config.diff(0, Some(1)).await.unwrap().unreadable, []);
    assert_eq!(config.diff(4, None).await.unwrap().unreadable, []);
    // The way back over it is not known.
    assert!(matches!(back(&config, 1).await, Err(Error::Corrupt { .. })));
    assert_eq!(back(&config, 4).await.unwrap().differences, []);
    // Also where it is the oldest there is.
    spoil(&config, 1).await;
    assert_eq!(numbers(&config.diff(0, None).await.unwrap().unreadable), [3, 1]);
}

#[tokio::test]
async fn going_back_undoes_all_that_came_after_and_is_a_change_itself() {
    let config = new();
    let first = set(&config, "fence/max_containers", json!(7)).await;
    set(&config, "fence/max_containers", json!(8)).await;
    set(&config, "x/y", json!([1])).await;
    let differences = config.diff(first, None).await.unwrap().differences;
    let told: Vec<_> = differences
        .iter()
        .map(|d| (d.change.path.as_str(), d.change.old.clone(), d.change.new.clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("fence/max_containers", Some(json!(7)), Some(json!(8))),
            ("x/y", None, Some(json!([1])))
        ]
    );
    let done = back(&config, first).await.unwrap();
    assert_eq!((done.revision, done.differences.len()), (4, 2));
    assert_eq!(config.diff(first, None).await.unwrap().differences, []);
    assert_eq!(config.get(&key("fence/max_containers")).await.unwrap(), Some(json!(7)));
    assert_eq!(config.get(&key("x")).await.unwrap(), None);
    let newest = config.history(&Query::newest(1)).await.unwrap().records.remove(0);
    assert_eq!((newest.number, newest.command.as_str()), (4, "rollback"));
    // Again: there is nothing left to do.
    let again = back(&config, first).await.unwrap();
    assert_eq!((again.revision, again.differences), (4, vec![]));
    // And the change back can be taken back.
    back(&config, 3).await.unwrap();
    assert_eq!(config.get(&key("x/y")).await.unwrap(), Some(json!([1])));
}

#[tokio::test]
async fn a_difference_is_told_either_way_round() {
    let config = new();
    set(&config, "x/y", json!(1)).await;
    set(&config, "x/y", json!(2)).await;
    set(&config, "x/y", json!(3)).await;
    let values = async |from, to| {
        let difference = config.diff(from, to).await.unwrap().differences.remove(0).change;
        (difference.old, difference.new)
    };
    assert_eq!(values(1, Some(2)).await, (Some(json!(1)), Some(json!(2))));
    assert_eq!(values(2, Some(1)).await, (Some(json!(2)), Some(json!(1))));
    assert_eq!(values(0, None).await, (None, Some(json!(3))));
    assert_eq!(config.diff(2, Some(2)).await.unwrap().differences, []);
    assert_eq!(config.diff(2, None).await.unwrap().to, 3);
    assert!(matches!(
        config.diff(1, Some(4)).await,
        Err(Error::NoRevision { revision: 4, latest: 3 })
    ));
    assert!(matches!(config.diff(9, None).await, Err(Error::NoRevision { .. })));
    let ahead = config.rollback(4, &Part::default(), &author("rollback")).await;
    assert!(matches!(ahead, Err(Error::NoRevision { revision: 4, latest: 3 })));
}

#[tokio::test]
async fn a_part_goes_back_and_the_rest_stays() {
    let config = new();
    let first = set(&config, "fence", json!({"max_containers": 7, "stop_timeout": 5})).await;
    set(&config, "fence", json!({"max_containers": 8, "stop_timeout": 6})).await;
    let own = Target {
        scope: here(),
        ..key("fence/max_containers")
    };
    config.set(&own, json!(9), false, &author("set")).await.unwrap();
    let only = Part {
        scope: Some(Scope::Cluster),
        address: path("fence/max_containers"),
    };
    let done = config.rollback(first, &only, &author("rollback")).await.unwrap();
    assert_eq!(done.differences.len(), 1);
    let layers = config.layers().await.unwrap();
    let fence = |scope| layers.own(&scope).nest(&path("fence")).unwrap();
    assert_eq!(fence(Scope::Cluster), json!({"max_containers": 7, "stop_timeout": 6}));
    assert_eq!(fence(here()), json!({"max_containers": 9}));
    // Of all layers at once.
    let all = config
        .rollback(0, &part("fence/docker/images"), &author("rollback"))
        .await
        .unwrap();
    assert_eq!(all.differences, []);
    let all = config.rollback(0, &part("fence"), &author("rollback")).await.unwrap();
    assert_eq!(all.differences.len(), 3);
    assert_eq!(config.layers().await.unwrap().scopes().count(), 0);
    let records = config.history(&Query::newest(1)).await.unwrap().records;
    assert_eq!(records.len(), 2, "both layers in one transaction");
}

#[tokio::test]
async fn what_would_take_something_else_away_is_refused() {
    let config = new();
    let first = set(&config, "x/a/b", json!(1)).await;
    set(&config, "x/a", json!("text")).await;
    let refused = config.rollback(first, &part("x/a/b"), &author("rollback")).await;
    let Err(Error::InTheWay { target, present }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (target.to_string(), present.to_string()),
        ("x a/b".into(), "x/a".into())
    );
    back(&config, first).await.unwrap();
    assert_eq!(config.get(&key("x")).await.unwrap(), Some(json!({"a": {"b": 1}})));
}

#[tokio::test]
async fn a_secret_counts_as_different_and_stays_as_it_is() {
    let config = new();
    let first = set(&config, "x/password", json!("hunter2")).await;
    set(&config, "x/password", json!("hunter3")).await;
    set(&config, "x/y", json!(1)).await;
    let differences = config.diff(first, None).await.unwrap().differences;
    assert_eq!(differences[0].change.old, Some(json!(REDACTED)));
    assert_eq!(differences[0].change.new, Some(json!(REDACTED)));
    let done = back(&config, first).await.unwrap();
    assert_eq!(done.secrets, [key("x/password")]);
    assert_eq!(done.differences.len(), 1);
    let shown = config
        .get_with(&key("x/password"), crate::config::Secrets::Revealed)
        .await;
    assert_eq!(shown.unwrap(), Some(json!("hunter3")));
    // Nor is one taken away that was not there: it could not be had back.
    let done = back(&config, 0).await.unwrap();
    assert_eq!((done.differences, done.secrets), (vec![], vec![key("x/password")]));
    // What is above one cannot be put back, since the secret would go.
    let config = new();
    let first = set(&config, "x/db", json!("text")).await;
    set(&config, "x/db", json!({"password": "hunter2"})).await;
    assert!(matches!(back(&config, first).await, Err(Error::InTheWay { .. })));
}

#[tokio::test]
async fn what_todays_schema_refuses_changes_nothing() {
    let config = new();
    let first = set(&config, "fence/max_containers", json!(7)).await;
    // As a release might have left it that took other values.
    let stored = crate::store::Txn::new().put("config/cluster/fence/max_containers", "-7");
    config.store.txn(stored).await.unwrap();
    set(&config, "fence/max_containers", json!(8)).await;
    let before = config.layers().await.unwrap();
    let refused = back(&config, first).await;
    let Err(Error::Refused { target, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(target, key("fence/max_containers"));
    assert_eq!(config.layers().await.unwrap(), before);
}

#[tokio::test]
async fn what_is_forgotten_cannot_be_gone_back_to() {
    let config = new();
    set(&config, "cluster/history/keep", json!(10)).await;
    for number in 1..=20 {
        set(&config, "x/y", json!(number)).await;
    }
    let History {
        records,
        more,
        forgotten,
        unreadable: _,
    } = config.history(&Query::newest(100)).await.unwrap();
    assert_eq!((records.len(), more, forgotten), (10, false, 11));
    let oldest = records[9].revision;
    for revision in [0, 1, oldest - 1] {
        let refused = back(&config, revision).await;
        let Err(Error::Forgotten { oldest: told, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(told, oldest);
        assert!(config.diff(revision, None).await.is_err());
    }
    back(&config, oldest).await.unwrap();
    assert_eq!(config.get(&key("x/y")).await.unwrap(), Some(json!(11)));
}

#[tokio::test]
async fn the_history_is_found_over_pages_and_by_part() {
    let config = new();
    for number in 1..=230 {
        let address = if number % 10 == 0 { "x/tens" } else { "x/ones" };
        set(&config, address, json!(number)).await;
    }
    let all = config.history(&Query::newest(1000)).await.unwrap();
    let numbers: Vec<u64> = all.records.iter().map(|record| record.number).collect();
    assert_eq!(numbers, (1..=230).rev().collect::<Vec<_>>());
    assert_eq!((all.more, all.forgotten), (false, 0));
    let tens = Query {
        part: part("x/tens"),
        limit: 5,
        since: None,
    };
    let tens = config.history(&tens).await.unwrap();
    assert_eq!(
        tens.records.iter().map(|r| r.number).collect::<Vec<_>>(),
        [230, 220, 210, 200, 190]
    );
    assert!(tens.more);
    let since = Query {
        since: Some(all.records[0].at + jiff::Span::new().hours(1)),
        ..Query::newest(9)
    };
    assert_eq!(config.history(&since).await.unwrap().records, []);
    assert_eq!(new().history(&Query::newest(9)).await.unwrap(), History::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_back_while_others_change_loses_none_of_the_records() {
    let config = new();
    let first = set(&config, "x/a", json!(0)).await;
    let changing: Vec<_> = (1..=8)
        .map(|n| {
            let config = config.clone();
            tokio::spawn(async move {
                if n % 4 == 0 {
                    back(&config, first).await.map(|_| ())
                } else {
                    config
                        .set(&key("x/b"), json!(n), false, &author("set"))
                        .await
                        .map(|_| ())
                }
            })
        })
        .collect();
    for change in changing {
        change.await.unwrap().unwrap();
    }
    let records = config.history(&Query::newest(100)).await.unwrap().records;
    // The records tell the whole story: each begins with what the one before it left.
    let mut present: Option<Value> = None;
    for change in records.iter().rev().flat_map(|record| &record.changes) {
        if change.path == path("x/b") {
            assert_eq!(change.old, present);
            present.clone_from(&change.new);
        }
    }
    assert_eq!(config.get(&key("x/b")).await.unwrap(), present);
}

/// A change of a small tree, in which keys come to be above and below each other.
#[derive(Clone, Debug)]
enum Step {
    Set(bool, &'static str, Value),
    Del(bool, &'static str),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let address = prop::sample::select(vec![
        "x/a",
        "x/a/b",
        "x/a/b/c",
        "x/d",
        "y",
        "fence/max_containers",
        "fence/docker",
    ]);
    let value = prop_oneof![
        (1..5).prop_map(|n| json!(n)),
        Just(json!("text")),
        Just(json!({"b": 1, "e": {"f": [true, null]}})),
        Just(json!({"privileged": true})),
        Just(json!({})),
    ];
    let step = prop_oneof![
        4 => (any::<bool>(), address.clone(), value).prop_map(|(own, at, value)| Step::Set(own, at, value)),
        1 => (any::<bool>(), address).prop_map(|(own, at)| Step::Del(own, at)),
    ];
    prop::collection::vec(step, 1..14)
}

/// Make the changes that are taken; the states, each with its revision, the empty one first.
async fn make(config: &Config, steps: Vec<Step>) -> Vec<(Revision, Layers)> {
    let mut states = vec![(0, Layers::default())];
    for step in steps {
        let at = |own, address| Target {
            scope: if own { here() } else { Scope::Cluster },
            ..key(address)
        };
        // What is refused is no change.
        let _ = match step {
            Step::Set(own, address, value) => config.set(&at(own, address), value, true, &author("set")).await,
            Step::Del(own, address) => config.del(&at(own, address), &author("del")).await,
        };
        let layers = config.layers().await.unwrap();
        states.push((layers.revision, layers));
    }
    states
}

fn trees(layers: &Layers) -> Vec<(Scope, Tree)> {
    layers
        .scopes()
        .map(|scope| (scope.clone(), layers.own(scope)))
        .collect()
}

fn within(
    runtime: impl Future<Output = std::result::Result<(), TestCaseError>>,
) -> std::result::Result<(), TestCaseError> {
    let current = tokio::runtime::Builder::new_current_thread().enable_all().build();
    current.unwrap().block_on(runtime)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn after_going_back_nothing_differs(steps in steps(), at in any::<prop::sample::Index>(), then in any::<prop::sample::Index>()) {
        within(async {
            let config = new();
            let mut states = make(&config, steps).await;
            for at in [at, then] {
                let (revision, then) = states[at.index(states.len())].clone();
                back(&config, revision).await.unwrap();
                prop_assert_eq!(config.diff(revision, None).await.unwrap().differences, []);
                let layers = config.layers().await.unwrap();
                prop_assert_eq!(trees(&layers), trees(&then));
                states.push((layers.revision, layers));
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_difference_is_what_the_states_differ_in(steps in steps(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        within(async {
            let config = new();
            let states = make(&config, steps).await;
            let ((from, old), (to, new)) = (&states[from.index(states.len())], &states[to.index(states.len())]);
            let told = config.diff(*from, Some(*to)).await.unwrap().differences;
            for scope in [Scope::Cluster, here()] {
                let of_scope = told.iter().filter(|d| d.scope == scope).map(|d| d.change.clone());
                prop_assert_eq!(of_scope.collect::<Vec<_>>(), old.own(&scope).diff(&new.own(&scope)));
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_part_that_goes_back_takes_nothing_else_along(steps in steps(), at in any::<prop::sample::Index>(), address in prop::sample::select(vec!["x", "x/a", "x/a/b", "fence"])) {
        within(async {
            let config = new();
            let states = make(&config, steps).await;
            let (revision, then) = &states[at.index(states.len())];
            let before = config.layers().await.unwrap();
            match config.rollback(*revision, &part(address), &author("rollback")).await {
                Err(Error::InTheWay { .. }) => prop_assert_eq!(config.layers().await.unwrap(), before),
                done => {
                    done.unwrap();
                    let after = config.layers().await.unwrap();
                    for scope in [Scope::Cluster, here()] {
                        let (old, was, is) = (then.own(&scope), before.own(&scope), after.own(&scope));
                        prop_assert_eq!(is.nest(&path(address)), old.nest(&path(address)));
                        prop_assert!(was.diff(&is).iter().all(|change| change.path.is_within(&path(address))));
                    }
                }
            }
            Ok(())
        })?;
    }
}
