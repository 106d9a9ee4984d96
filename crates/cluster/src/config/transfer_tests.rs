//! A tree carried to another cluster: whole or not at all, and the same there.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::history::Query;
use crate::store::Page;
use crate::store::memory::MemoryStore;

fn new() -> Config {
    Config::new(Arc::new(MemoryStore::new()), Name::new("here").unwrap())
}

fn author() -> Author {
    Author {
        who: "alice".to_owned(),
        command: "kato data import".to_owned(),
    }
}

fn node() -> Scope {
    Scope::Node(Name::new("here").unwrap())
}

fn at(scope: &Scope, address: &str) -> Target {
    whole(scope).at(&KeyPath::parse(address).unwrap())
}

async fn set(config: &Config, scope: &Scope, address: &str, value: Value) {
    config.set(&at(scope, address), value, true, &author()).await.unwrap();
}

fn document(value: Value) -> TreeDocument {
    let mut whole = json!({"revision": 1, "secrets": "left-out", "cluster": {}});
    for (name, value) in value.as_object().unwrap() {
        whole[name] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

/// What a document says, whenever it was written.
fn said(document: &TreeDocument) -> TreeDocument {
    TreeDocument {
        revision: 0,
        ..document.clone()
    }
}

#[tokio::test]
async fn another_cluster_has_the_same_tree_afterwards() {
    let (one, other) = (new(), new());
    set(
        &one,
        &Scope::Cluster,
        "fence",
        json!({"docker": {"image": ["a", "b:1"]}, "max_containers": 7}),
    )
    .await;
    set(&one, &node(), "fence/max_containers", json!(8)).await;
    set(
        &one,
        &Scope::Realm(Name::new("eu").unwrap()),
        "x/y",
        json!({"z": {}, "l": [1.5, "x", null]}),
    )
    .await;
    set(&one, &Scope::Cluster, "x/password", json!("hunter2")).await;
    let exported = one.export(Secrets::Redacted).await.unwrap();
    assert_eq!((exported.secrets, exported.unreadable), (1, vec![]));
    let text = serde_json::to_string(&exported.document).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("password"), "{text}");
    let secret = serde_json::to_string(&exported.secret).unwrap();
    assert!(
        secret.contains("hunter2") && !secret.contains("max_containers"),
        "{secret}"
    );
    assert_eq!(
        exported.document.with_secrets(&exported.secret).unwrap(),
        one.export(Secrets::Revealed).await.unwrap().document
    );
    let done = other.import(&exported.document, false, &author()).await.unwrap();
    assert_eq!((done.revision, done.differences.len()), (1, 5));
    let again = other.export(Secrets::Redacted).await.unwrap();
    assert_eq!(said(&again.document), said(&exported.document));
    let records = other.history(&Query::newest(9)).await.unwrap().records;
    assert_eq!(
        records.iter().map(|r| (r.number, r.revision)).collect::<Vec<_>>(),
        [(3, 1), (2, 1), (1, 1)]
    );
    let twice = other.import(&exported.document, false, &author()).await.unwrap();
    assert_eq!((twice.revision, twice.differences), (1, vec![]));
}

#[tokio::test]
async fn what_is_set_is_overwritten_only_when_asked_for() {
    let config = new();
    set(&config, &Scope::Cluster, "x/y", json!(1)).await;
    set(&config, &node(), "x/z", json!(1)).await;
    let given = document(json!({"cluster": {"x": {"y": 2, "w": 3}}}));
    let before = config.layers().await.unwrap();
    let refused = config.import(&given, false, &author()).await;
    assert!(matches!(refused, Err(Error::Overwrites { count: 2 })), "{refused:?}");
    assert_eq!(config.would_import(&given).await.unwrap().differences.len(), 3);
    assert_eq!(config.layers().await.unwrap(), before);
    config.import(&given, true, &author()).await.unwrap();
    let layers = config.layers().await.unwrap();
    assert_eq!(
        layers.own(&Scope::Cluster).nest(&KeyPath::root()),
        Some(json!({"x": {"y": 2, "w": 3}}))
    );
    assert!(layers.own(&node()).is_empty());
    // What is new alone overwrites nothing.
    let more = document(json!({"cluster": {"x": {"y": 2, "w": 3}, "more": {"a": 1}}}));
    config.import(&more, false, &author()).await.unwrap();
}

#[tokio::test]
async fn secrets_stay_where_they_are_left_out_and_go_where_they_are_included() {
    let (config, other) = (new(), new());
    let secret = at(&Scope::Cluster, "x/password");
    set(&config, &Scope::Cluster, "x/password", json!("hunter2")).await;
    set(&config, &Scope::Cluster, "x/y", json!(1)).await;
    config
        .import(&document(json!({"cluster": {"x": {"y": 1}}})), false, &author())
        .await
        .unwrap();
    let revealed = |config: &Config| {
        let config = config.clone();
        let secret = secret.clone();
        async move { config.get_with(&secret, Secrets::Revealed).await.unwrap() }
    };
    assert_eq!(revealed(&config).await, Some(json!("hunter2")));
    let in_the_way = document(json!({"cluster": {"x": {"password": {"deep": 1}}}}));
    assert!(matches!(
        config.import(&in_the_way, true, &author()).await,
        Err(Error::InTheWay { .. })
    ));
    let exported = config.export(Secrets::Revealed).await.unwrap();
    assert_eq!(exported.secrets, 0);
    let done = other.import(&exported.document, false, &author()).await.unwrap();
    assert!(!format!("{done:?}").contains("hunter2"));
    assert_eq!(revealed(&other).await, Some(json!("hunter2")));
    let kept_apart = other.store.range("secret/", Page::ALL).await.unwrap().entries;
    assert_eq!(kept_apart.len(), 1);
    // A document that has all secrets and not this one takes it away.
    let none = document(json!({"secrets": "included", "cluster": {"x": {"y": 1}}}));
    config.import(&none, true, &author()).await.unwrap();
    assert_eq!(revealed(&config).await, None);
}

#[tokio::test]
async fn one_bad_value_changes_nothing() {
    let config = new();
    set(&config, &Scope::Cluster, "x/y", json!(1)).await;
    let before = config.store.range("", Page::ALL).await.unwrap();
    let deep = (0..40).fold(json!(1), |value, _| json!([value]));
    let many: Map<_, _> = (0..=MAX_KEYS).map(|n| (format!("k{n}"), json!(1))).collect();
    for (bad, expected) in [
        (
            json!({"cluster": {"fence": {"max_containers": "x"}}}),
            "fence max_containers refuses the value",
        ),
        (
            json!({"cluster": {"ok": {"a": 1}}, "nodes": {"here": {"fence": {"docker": {"image": "B A D"}}}}}),
            "of node here refuses",
        ),
        (
            json!({"cluster": {"fence": {"ports": {"first": 65000, "count": 5000}}}}),
            "fence refuses the value",
        ),
        (json!({"cluster": {"fence": 5}}), "fence refuses the value"),
        (json!({"cluster": {"x": 5}}), "x refuses the value"),
        (json!({"cluster": {"a b": {}}}), "cannot be a name"),
        (json!({"cluster": {"x": {"a b": 1}}}), "cannot have this value"),
        (json!({"cluster": {"x": {"y": null}}}), "cannot have this value"),
        (json!({"cluster": {"x": {"y": deep}}}), "nested too deeply"),
        (json!({"cluster": {"x": many}}), "keys in one layer"),
        (
            json!({"cluster": {"x": {"y": "v".repeat(edit::MAX_VALUE + 1)}}}),
            "bytes in the value",
        ),
    ] {
        let bad = document(bad);
        let refused = config.import(&bad, true, &author()).await.unwrap_err();
        assert!(refused.to_string().contains(expected), "{refused}");
        assert!(config.would_import(&bad).await.is_err());
    }
    let large: Map<_, _> = (0..4).map(|n| (format!("c{n}"), json!(many_keys(MAX_KEYS)))).collect();
    let large = document(json!({"cluster": large, "nodes": {"a": {"x": {"y": 1}}}}));
    assert!(matches!(
        large.keys(),
        Err(Error::TooMuch {
            limit: MAX_DOCUMENT_KEYS,
            ..
        })
    ));
    let more = document(json!({"cluster": {"x": many_keys(commit::MAX_CHANGES + 1)}}));
    assert!(matches!(
        config.import(&more, true, &author()).await,
        Err(Error::TooMuch { .. })
    ));
    assert_eq!(config.store.range("", Page::ALL).await.unwrap(), before);
}

#[tokio::test]
async fn what_is_too_much_for_one_step_is_taken_in_part_by_part() {
    let (one, other) = (new(), new());
    let large = "v".repeat(edit::MAX_VALUE);
    let mut values: Map<String, Value> = (0..24).map(|n| (format!("large{n}"), json!(large))).collect();
    values.extend(many_keys(3 * commit::MAX_CHANGES));
    let mut cluster = json!({"x": values, "fence": {"max_containers": 7}});
    let given = |cluster: &Value| document(json!({"cluster": cluster, "nodes": {"a": {"x": {"y": 1}}}}));
    for config in [&one, &other] {
        set(config, &Scope::Cluster, "x/k0/below", json!(1)).await;
        set(config, &Scope::Cluster, "zz/gone", json!(1)).await;
    }
    let wanted = given(&cluster);
    let planned = one.would_import_in_parts(&wanted).await.unwrap().differences;
    assert!(planned.len() > 3 * commit::MAX_CHANGES);
    let author = author();
    let next = || one.import_part(&wanted, true, &author);
    assert!(matches!(
        one.import_part(&wanted, false, &author).await,
        Err(Error::Overwrites { count: 2 })
    ));
    let mut done = next().await.unwrap().differences;
    assert_eq!(done[0].change.path.as_str(), "fence/max_containers");
    // Whoever is interrupted goes on later.
    for parts in 1.. {
        let part = next().await.unwrap().differences;
        if part.is_empty() {
            assert!(parts > 4);
            break;
        }
        done.extend(part);
    }
    let sorted = |mut all: Vec<Difference>| {
        all.sort_by_key(|difference| (difference.scope.clone(), difference.change.path.clone()));
        all
    };
    assert_eq!(sorted(done), sorted(planned));
    assert_eq!(
        said(&one.export(Secrets::Redacted).await.unwrap().document),
        said(&wanted)
    );
    // What fits is one step, all the same.
    cluster["x"] = json!({"k": 1});
    let small = given(&cluster);
    other.import_part(&small, true, &author).await.unwrap();
    assert!(
        other
            .import_part(&small, true, &author)
            .await
            .unwrap()
            .differences
            .is_empty()
    );
}

fn many_keys(count: usize) -> Map<String, Value> {
    (0..count).map(|n| (format!("k{n}"), json!(1))).collect()
}

#[test]
fn what_a_document_may_not_have_is_refused() {
    for bad in [
        json!({"revision": 1, "secrets": "left-out"}),
        json!({"revision": 1, "secrets": "some", "cluster": {}}),
        json!({"revision": 1, "secrets": "included", "cluster": {}, "more": 1}),
        json!({"revision": 1, "secrets": "included", "cluster": {}, "nodes": {"a/b": {}}}),
        json!({"revision": 1, "secrets": "included", "cluster": []}),
    ] {
        assert!(serde_json::from_value::<TreeDocument>(bad.clone()).is_err(), "{bad}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|n| json!(n)),
        any::<u64>().prop_map(|n| json!(n)),
        any::<bool>().prop_map(|b| json!(b)),
        (-1e300..1e300).prop_map(|n: f64| json!(n)),
        any::<String>().prop_map(|text| json!(text)),
        prop::sample::select(vec![
            "",
            "on",
            "1e3",
            "0x1f",
            "~",
            "null",
            "2026-11-21",
            "- a",
            "a: b",
            "#",
            "!x",
            "&x",
            "\n\n x \n"
        ])
        .prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-z0-9{}:#!é-]{1,5}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_is_exported_as_yaml_is_imported_the_same(
        leaves in prop::collection::vec((any::<bool>(), "[xy]/[abc](/(d|password))?", values()), 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let checked: std::result::Result<(), TestCaseError> = runtime.block_on(async {
            let (one, other) = (new(), new());
            for (own, address, value) in leaves {
                let scope = if own { node() } else { Scope::Cluster };
                // What is refused is not in the tree.
                let _ = one.set(&at(&scope, &address), value, true, &author()).await;
            }
            let exported = one.export(Secrets::Revealed).await.unwrap().document;
            let text = yaml_serde::to_string(&exported).unwrap();
            let read: TreeDocument = yaml_serde::from_str(&text).unwrap();
            prop_assert_eq!(&read, &exported);
            other.import(&read, false, &author()).await.unwrap();
            let again = other.export(Secrets::Revealed).await.unwrap().document;
            prop_assert_eq!(said(&again), said(&exported));
            Ok(())
        });
        checked?;
    }
}
