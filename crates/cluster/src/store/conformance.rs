//! The promises of a [`Store`], as functions that every home's tests run.
//!
//! A home gives a [`Home`]: a place to which any number of clients connect, as separate processes would. `suite!`
//! makes a test of each promise.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::limits::{MAX_KEY, MAX_OPERATIONS, MAX_REQUEST, MAX_VALUE, OPERATION_OVERHEAD};
use super::{Changes, Error, Event, LeaseId, Outcome, Page, Revision, Store, Txn, Watch};

/// How long anything may take before a promise counts as broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A place that clients connect to; each test has its own, empty.
pub trait Home: Send + Sync + 'static {
    /// A further client, sharing nothing with the others but the place.
    fn client(&self) -> impl Future<Output = Arc<dyn Store>> + Send;
}

/// A test of each promise, for the home that `$home` makes.
macro_rules! suite {
    ($home:expr) => {
        $crate::store::conformance::suite!(@ $home;
            a_second_client_sees_what_the_first_one_did
            a_range_is_ordered_and_bounded
            a_prefix_is_bytes_and_not_a_pattern
            every_change_has_a_later_revision
            a_stale_compare_is_refused_and_nothing_is_done
            a_transaction_is_one_revision
            taking_away_what_is_not_there_is_no_change
            a_request_beyond_the_limits_is_refused
            a_request_at_the_limits_is_taken
            a_watch_gives_each_change_once_and_in_order
            a_watch_begins_after_the_revision_asked_for
            a_watch_sees_its_prefix_only
            a_watch_goes_on_where_another_ended
            a_slow_watch_loses_nothing
            many_watches_see_the_same
            what_is_compacted_cannot_be_watched_and_is_said
            a_revision_to_come_cannot_be_watched
            a_lease_takes_its_keys_with_it
            a_lease_that_is_kept_alive_stays
            a_revoked_lease_is_gone
            a_key_without_its_lease_stays
            counting_by_many_loses_nothing
            one_of_many_gets_the_key
        );
    };
    (@ $home:expr; $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let home = $home;
                $crate::store::conformance::bounded($crate::store::conformance::$promise(&home)).await;
            }
        )*
    };
}
pub(crate) use suite;

/// Fail a promise that takes too long, instead of hanging.
pub async fn bounded(promise: impl Future<Output = ()>) {
    tokio::time::timeout(PATIENCE, promise)
        .await
        .expect("the promise took too long");
}

async fn done(store: &Arc<dyn Store>, txn: Txn) -> Revision {
    match store.txn(txn).await.unwrap() {
        Outcome::Done(revision) => revision,
        Outcome::Stale => panic!("the transaction was stale"),
    }
}

async fn put(store: &Arc<dyn Store>, key: &str, value: &str) -> Revision {
    done(store, Txn::new().put(key, value)).await
}

async fn keys(store: &Arc<dyn Store>, prefix: &str, page: Page) -> Vec<String> {
    store
        .range(prefix, page)
        .await
        .unwrap()
        .entries
        .into_iter()
        .map(|entry| entry.key)
        .collect()
}

async fn number(store: &Arc<dyn Store>, key: &str) -> (u64, Revision) {
    let entry = store.get(key).await.unwrap();
    entry.map_or((0, 0), |entry| {
        (String::from_utf8(entry.value).unwrap().parse().unwrap(), entry.revision)
    })
}

/// Change `key` from what it is to the next number, however often others come in between.
pub async fn count_up(store: &Arc<dyn Store>, key: &str) {
    loop {
        let (present, revision) = number(store, key).await;
        let next = Txn::new().when(key, revision).put(key, (present + 1).to_string());
        match store.txn(next).await {
            Ok(Outcome::Done(_)) => return,
            Ok(Outcome::Stale) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn puts(changes: &Changes) -> Vec<(String, String)> {
    let put = |event: &Event| match event {
        Event::Put { key, value } => (key.clone(), String::from_utf8(value.clone()).unwrap()),
        Event::Delete { key } => (key.clone(), "(gone)".to_owned()),
    };
    changes.events.iter().map(put).collect()
}

async fn next(watch: &mut Watch) -> (Revision, Vec<(String, String)>) {
    let changes = watch.next().await.unwrap();
    (changes.revision, puts(&changes))
}

fn one(key: &str, value: &str) -> Vec<(String, String)> {
    vec![(key.to_owned(), value.to_owned())]
}

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

pub async fn a_lease_takes_its_keys_with_it(home: &impl Home) {
    let (store, other) = (home.client().await, home.client().await);
    let lease = store.grant(Duration::from_secs(1)).await.unwrap();
    let after = done(&store, Txn::new().put_leased("a", "1", lease).put("b", "1")).await;
    assert_eq!(other.get("a").await.unwrap().unwrap().lease, Some(lease));
    let mut watch = other.watch("", after).await.unwrap();
    let (revision, changes) = next(&mut watch).await;
    assert_eq!(changes, one("a", "(gone)"));
    assert_eq!(keys(&store, "", Page::ALL).await, ["b"]);
    assert!(store.range("", Page::ALL).await.unwrap().revision >= revision);
    assert!(matches!(store.keep_alive(lease).await, Err(Error::NoLease { .. })));
    let late = Txn::new().put_leased("a", "2", lease);
    assert!(matches!(store.txn(late).await, Err(Error::NoLease { .. })));
}

pub async fn a_lease_that_is_kept_alive_stays(home: &impl Home) {
    let store = home.client().await;
    let (kept, left) = (Duration::from_secs(2), Duration::from_secs(3));
    let (kept, left) = (store.grant(kept).await.unwrap(), store.grant(left).await.unwrap());
    done(
        &store,
        Txn::new().put_leased("kept", "1", kept).put_leased("left", "1", left),
    )
    .await;
    // The one that is left alone has the longer time, so it shows that the other one's was over.
    while store.get("left").await.unwrap().is_some() {
        store.keep_alive(kept).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(store.get("kept").await.unwrap().is_some());
}

pub async fn a_revoked_lease_is_gone(home: &impl Home) {
    let store = home.client().await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let after = done(&store, Txn::new().put_leased("a", "1", lease)).await;
    let mut watch = store.watch("a", after).await.unwrap();
    store.revoke(lease).await.unwrap();
    assert_eq!(next(&mut watch).await.1, one("a", "(gone)"));
    assert_eq!(store.get("a").await.unwrap(), None);
    store.revoke(lease).await.unwrap();
    assert!(matches!(
        store.keep_alive(LeaseId(4711)).await,
        Err(Error::NoLease { .. })
    ));
}

pub async fn a_key_without_its_lease_stays(home: &impl Home) {
    let store = home.client().await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    done(
        &store,
        Txn::new().put_leased("a", "1", lease).put_leased("b", "1", lease),
    )
    .await;
    put(&store, "a", "2").await;
    store.revoke(lease).await.unwrap();
    assert_eq!(keys(&store, "", Page::ALL).await, ["a"]);
}

pub async fn counting_by_many_loses_nothing(home: &impl Home) {
    const CLIENTS: u64 = 6;
    const TIMES: u64 = 20;
    let store = home.client().await;
    let after = store.range("", Page::ALL).await.unwrap().revision;
    let mut watch = store.watch("n", after).await.unwrap();
    let mut counting = Vec::new();
    for _ in 0..CLIENTS {
        let client = home.client().await;
        counting.push(tokio::spawn(async move {
            for _ in 0..TIMES {
                count_up(&client, "n").await;
            }
        }));
    }
    for n in 1..=CLIENTS * TIMES {
        assert_eq!(next(&mut watch).await.1, one("n", &n.to_string()));
    }
    for client in counting {
        client.await.unwrap();
    }
    assert_eq!(number(&store, "n").await.0, CLIENTS * TIMES);
}

pub async fn one_of_many_gets_the_key(home: &impl Home) {
    let mut trying = Vec::new();
    for n in 0..8 {
        let client = home.client().await;
        trying.push(tokio::spawn(async move {
            client
                .txn(Txn::new().when("leader", 0).put("leader", n.to_string()))
                .await
                .unwrap()
        }));
    }
    let mut got = 0;
    for client in trying {
        got += usize::from(matches!(client.await.unwrap(), Outcome::Done(_)));
    }
    assert_eq!(got, 1);
}
