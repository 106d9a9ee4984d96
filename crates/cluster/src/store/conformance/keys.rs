//! Keys, ranges, transactions and limits.

use std::time::Duration;

use super::{Home, done, keys, next, number, one, put};
use crate::store::limits::{MAX_KEY, MAX_OPERATIONS, MAX_REQUEST, MAX_VALUE, OPERATION_OVERHEAD};
use crate::store::{Error, Outcome, Page, Txn};

pub async fn a_second_client_sees_what_the_first_one_did(home: &impl Home) {
    let (one, two) = (home.client().await, home.client().await);
    assert_eq!(two.get("a").await.unwrap(), None);
    let revision = put(&one, "a", "1").await;
    let entry = two.get("a").await.unwrap().unwrap();
    assert_eq!(
        (entry.value, entry.revision, entry.lease),
        (b"1".to_vec(), revision, None)
    );
    assert!(two.range("", Page::ALL).await.unwrap().revision >= revision);
}

pub async fn a_range_is_ordered_and_bounded(home: &impl Home) {
    let store = home.client().await;
    for key in ["b/2", "b/10", "a", "b/1", "c", "b"] {
        put(&store, key, "x").await;
    }
    assert_eq!(keys(&store, "b/", Page::ALL).await, ["b/1", "b/10", "b/2"]);
    assert_eq!(
        keys(
            &store,
            "",
            Page {
                limit: 2,
                descending: false
            }
        )
        .await,
        ["a", "b"]
    );
    assert_eq!(
        keys(
            &store,
            "b/",
            Page {
                limit: 2,
                descending: true
            }
        )
        .await,
        ["b/2", "b/10"]
    );
    assert_eq!(keys(&store, "d", Page::ALL).await, [""; 0]);
}

pub async fn a_prefix_is_bytes_and_not_a_pattern(home: &impl Home) {
    let store = home.client().await;
    for key in ["a%b", "a_b", "axb", "é", "éa", "ê", "A%b"] {
        put(&store, key, "x").await;
    }
    assert_eq!(keys(&store, "a%", Page::ALL).await, ["a%b"]);
    assert_eq!(keys(&store, "a_", Page::ALL).await, ["a_b"]);
    assert_eq!(keys(&store, "é", Page::ALL).await, ["é", "éa"]);
    assert_eq!(
        store.get("é").await.unwrap().map(|entry| entry.key),
        Some("é".to_owned())
    );
    assert_eq!(store.get("a").await.unwrap(), None);
}

pub async fn every_change_has_a_later_revision(home: &impl Home) {
    let store = home.client().await;
    let first = put(&store, "a", "1").await;
    let second = put(&store, "a", "1").await;
    let third = done(&store, Txn::new().delete("a")).await;
    assert!(first < second && second < third);
    assert!(first > 0, "0 stands for a key that is not there");
}

pub async fn a_stale_compare_is_refused_and_nothing_is_done(home: &impl Home) {
    let store = home.client().await;
    let old = put(&store, "a", "1").await;
    let present = put(&store, "a", "2").await;
    for compare in [old, 0, present + 1] {
        let txn = Txn::new().when("a", compare).put("a", "3").put("b", "3").delete("a2");
        assert_eq!(store.txn(txn).await.unwrap(), Outcome::Stale);
    }
    // One that holds does not make up for one that does not.
    let txn = Txn::new().when("a", present).when("b", 1).put("a", "3");
    assert_eq!(store.txn(txn).await.unwrap(), Outcome::Stale);
    assert_eq!(number(&store, "a").await, (2, present));
    assert_eq!(store.get("b").await.unwrap(), None);
    done(
        &store,
        Txn::new().when("a", present).when("b", 0).put("a", "3").put("b", "3"),
    )
    .await;
    assert_eq!(number(&store, "b").await.0, 3);
}

pub async fn a_transaction_is_one_revision(home: &impl Home) {
    let store = home.client().await;
    put(&store, "old", "1").await;
    let after = store.range("", Page::ALL).await.unwrap().revision;
    let mut watch = store.watch("", after).await.unwrap();
    let revision = done(&store, Txn::new().put("b", "1").put("a", "2").delete("old")).await;
    let expected = [one("b", "1"), one("a", "2"), one("old", "(gone)")].concat();
    assert_eq!(next(&mut watch).await, (revision, expected));
    for key in ["a", "b"] {
        assert_eq!(store.get(key).await.unwrap().unwrap().revision, revision);
    }
}

pub async fn taking_away_what_is_not_there_is_no_change(home: &impl Home) {
    let store = home.client().await;
    let before = put(&store, "a", "1").await;
    assert_eq!(done(&store, Txn::new().delete("b")).await, before);
    assert_eq!(done(&store, Txn::new().when("a", before)).await, before);
    assert_eq!(store.range("", Page::ALL).await.unwrap().revision, before);
}

pub async fn a_request_beyond_the_limits_is_refused(home: &impl Home) {
    let store = home.client().await;
    let many = |count: usize| (0..count).fold(Txn::new(), |txn, n| txn.put(format!("k{n}"), "x"));
    let half = "v".repeat(MAX_REQUEST / 2 - 100);
    let refused = [
        many(MAX_OPERATIONS + 1),
        (0..=MAX_OPERATIONS)
            .fold(Txn::new(), |txn, n| txn.when(format!("k{n}"), 0))
            .put("a", "x"),
        Txn::new().put("a", "v".repeat(MAX_VALUE + 1)),
        Txn::new()
            .put("a", half.as_str())
            .put("b", half.as_str())
            .put("c", "v".repeat(200)),
        Txn::new().put("k".repeat(MAX_KEY + 1), "x"),
        Txn::new().put("", "x"),
        Txn::new().put("a\0b", "x"),
        Txn::new().put("a", "1").put("a", "2"),
        Txn::new().put("a", "1").delete("a"),
    ];
    for (number, txn) in refused.into_iter().enumerate() {
        let error = store.txn(txn).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "request {number}: {error:?}");
    }
    assert!(matches!(
        store.range(&"k".repeat(MAX_KEY + 1), Page::ALL).await,
        Err(Error::Refused { .. })
    ));
    assert!(matches!(
        store.grant(Duration::from_millis(10)).await,
        Err(Error::Refused { .. })
    ));
    assert_eq!(keys(&store, "", Page::ALL).await, [""; 0]);
}

pub async fn a_request_at_the_limits_is_taken(home: &impl Home) {
    let store = home.client().await;
    let many = (0..MAX_OPERATIONS).fold(Txn::new(), |txn, n| {
        txn.when(format!("k{n:03}"), 0).put(format!("k{n:03}"), "x")
    });
    done(&store, many).await;
    assert_eq!(keys(&store, "k", Page::ALL).await.len(), MAX_OPERATIONS);
    let rest = MAX_REQUEST - MAX_VALUE - 2 * (OPERATION_OVERHEAD + 1);
    done(
        &store,
        Txn::new().put("a", "v".repeat(MAX_VALUE)).put("b", "v".repeat(rest)),
    )
    .await;
    assert_eq!(store.get("b").await.unwrap().unwrap().value.len(), rest);
    let long = "k".repeat(MAX_KEY);
    put(&store, &long, "x").await;
    assert!(store.get(&long).await.unwrap().is_some());
}
