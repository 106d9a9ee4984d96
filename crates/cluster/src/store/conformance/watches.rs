//! Watches: every change once and in order, resumed where another ended, and what is forgotten is said.

use super::{Home, done, next, number, one, put};
use crate::store::{Error, Page, Txn};

pub async fn a_watch_gives_each_change_once_and_in_order(home: &impl Home) {
    let (store, other) = (home.client().await, home.client().await);
    let mut watch = store
        .watch("n", store.range("", Page::ALL).await.unwrap().revision)
        .await
        .unwrap();
    for n in 0..100 {
        let client = if n % 2 == 0 { &store } else { &other };
        let revision = put(client, "n", &n.to_string()).await;
        if n % 7 == 0 {
            // Now and then right after the change, else several at once.
            for seen in (n.max(6) - 6)..n {
                assert_eq!(next(&mut watch).await.1, one("n", &seen.to_string()));
            }
            assert_eq!(next(&mut watch).await, (revision, one("n", &n.to_string())));
        }
    }
    assert_eq!(next(&mut watch).await.1, one("n", "99"));
}

pub async fn a_watch_begins_after_the_revision_asked_for(home: &impl Home) {
    let store = home.client().await;
    put(&store, "a", "1").await;
    let after = put(&store, "a", "2").await;
    let third = put(&store, "a", "3").await;
    let fourth = done(&store, Txn::new().delete("a")).await;
    let mut watch = home.client().await.watch("a", after).await.unwrap();
    assert_eq!(next(&mut watch).await, (third, one("a", "3")));
    assert_eq!(next(&mut watch).await, (fourth, one("a", "(gone)")));
}

pub async fn a_watch_sees_its_prefix_only(home: &impl Home) {
    let store = home.client().await;
    let after = put(&store, "a/x", "0").await;
    let mut watch = store.watch("a/", after).await.unwrap();
    put(&store, "b/x", "1").await;
    put(&store, "a", "2").await;
    let revision = done(&store, Txn::new().put("a0", "3").put("a/y", "4").put("b/y", "5")).await;
    assert_eq!(next(&mut watch).await, (revision, one("a/y", "4")));
}

pub async fn a_watch_goes_on_where_another_ended(home: &impl Home) {
    let store = home.client().await;
    let mut seen = store.range("", Page::ALL).await.unwrap().revision;
    let writer = tokio::spawn({
        let store = home.client().await;
        async move {
            for n in 0..60 {
                put(&store, "n", &n.to_string()).await;
            }
        }
    });
    let mut expected = 0;
    while expected < 60 {
        // Each watch ends after three changes; the next one begins with the fourth.
        let mut watch = home.client().await.watch("n", seen).await.unwrap();
        for _ in 0..3 {
            let (revision, changes) = next(&mut watch).await;
            assert_eq!(changes, one("n", &expected.to_string()));
            (seen, expected) = (revision, expected + 1);
        }
    }
    writer.await.unwrap();
}

pub async fn a_slow_watch_loses_nothing(home: &impl Home) {
    let store = home.client().await;
    let mut watch = store
        .watch("n", store.range("", Page::ALL).await.unwrap().revision)
        .await
        .unwrap();
    for n in 0..300 {
        put(&store, "n", &n.to_string()).await;
    }
    for n in 0..300 {
        assert_eq!(next(&mut watch).await.1, one("n", &n.to_string()));
    }
}

pub async fn many_watches_see_the_same(home: &impl Home) {
    let store = home.client().await;
    let after = put(&store, "a", "0").await;
    let mut watches = Vec::new();
    for _ in 0..50 {
        watches.push(store.watch("a", after).await.unwrap());
    }
    let revision = put(&store, "a", "1").await;
    for watch in &mut watches {
        assert_eq!(next(watch).await, (revision, one("a", "1")));
    }
}

pub async fn what_is_compacted_cannot_be_watched_and_is_said(home: &impl Home) {
    let (store, other) = (home.client().await, home.client().await);
    let first = put(&store, "a", "1").await;
    let second = put(&store, "a", "2").await;
    let third = put(&store, "a", "3").await;
    store.compact(second).await.unwrap();
    let error = other.watch("a", first).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(error, Error::Compacted { .. }) && error.needs_new_range(),
        "{error:?}"
    );
    let mut watch = other.watch("a", second).await.unwrap();
    assert_eq!(next(&mut watch).await, (third, one("a", "3")));
    // The values stay, and compacting twice or backwards is done already.
    assert_eq!(number(&other, "a").await, (3, third));
    store.compact(second).await.unwrap();
    store.compact(first).await.unwrap();
    assert!(matches!(store.compact(third + 1).await, Err(Error::Ahead { .. })));
}

pub async fn a_revision_to_come_cannot_be_watched(home: &impl Home) {
    let store = home.client().await;
    let present = put(&store, "a", "1").await;
    let error = store.watch("a", present + 1).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(error, Error::Ahead { .. }) && error.needs_new_range(),
        "{error:?}"
    );
}
