//! etcd killed and started again, a leader lost, history forgotten, and space used up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::store::conformance::bounded;
use crate::store::etcd::admin::AlarmKind;
use crate::store::etcd::{Endpoints, EndpointsFile, EtcdStore};
use crate::store::{Error, Page};

/// Count a key up until told to stop; return how often it was acknowledged and how often that was left open.
async fn count(store: EtcdStore, key: &'static str, is_over: Arc<AtomicBool>, acknowledged: Arc<AtomicU64>) -> u64 {
    let mut open = 0;
    while !is_over.load(Ordering::Relaxed) {
        let (present, revision) = number(&store, key).await;
        let txn = Txn::new().when(key, revision).put(key, (present + 1).to_string());
        match store.txn(txn).await {
            Ok(Outcome::Done(_)) => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Outcome::Stale) => {}
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                open += 1;
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    open
}

/// Every value from 1 on, each once and in order, until the key is taken away; the last one is returned.
async fn follow(store: EtcdStore, key: &'static str) -> u64 {
    let (mut seen, mut after) = (0, 0);
    loop {
        let mut watch = watch(&store, key, after).await;
        while let Ok(changes) = watch.next().await {
            for value in values(&changes.events) {
                let Ok(value) = value.parse::<u64>() else {
                    return seen;
                };
                assert_eq!(value, seen + 1, "after {after}");
                seen = value;
            }
            after = changes.revision;
        }
    }
}

async fn until(progress: &AtomicU64, at_least: u64) {
    while progress.load(Ordering::Relaxed) < at_least {
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_killed_under_a_writer_and_a_watcher_loses_and_invents_nothing() {
    let mut server = Server::start().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writer = tokio::spawn(count(server.store(), "n", is_over.clone(), acknowledged.clone()));
    let watcher = tokio::spawn(follow(server.store(), "n"));
    bounded(async {
        for _ in 0..3 {
            until(&acknowledged, acknowledged.load(Ordering::Relaxed) + 100).await;
            server.kill();
            server.run();
        }
        until(&acknowledged, acknowledged.load(Ordering::Relaxed) + 100).await;
        is_over.store(true, Ordering::Relaxed);
        let open = writer.await.unwrap();
        let store = server.store();
        let ((present, _), acknowledged) = (number(&store, "n").await, acknowledged.load(Ordering::Relaxed));
        assert!(
            (acknowledged..=acknowledged + open).contains(&present),
            "{present}, of which {acknowledged} acknowledged and {open} open"
        );
        store.txn(Txn::new().delete("n")).await.unwrap();
        assert_eq!(watcher.await.unwrap(), present);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_whose_leader_is_killed_under_writers_keep_the_count() {
    const KEYS: [&str; 3] = ["n0", "n1", "n2"];
    let mut servers = Server::start_three().await;
    let urls: Vec<String> = servers.iter().map(Server::url).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for (turn, key) in KEYS.into_iter().enumerate() {
        // Each begins with another member, and two write each key.
        let mut urls = urls.clone();
        urls.rotate_left(turn);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let store = || EtcdStore::new(Endpoints::Given(urls.clone()), None);
        let both = [(); 2].map(|()| tokio::spawn(count(store(), key, is_over.clone(), acknowledged.clone())));
        writers.push((key, acknowledged, both));
    }
    bounded(async {
        for (_, acknowledged, _) in &writers {
            until(acknowledged, 50).await;
        }
        let leader = leader(&servers).await;
        servers[leader].kill();
        for (_, acknowledged, _) in &writers {
            until(acknowledged, acknowledged.load(Ordering::Relaxed) + 50).await;
        }
        is_over.store(true, Ordering::Relaxed);
        let store = EtcdStore::new(Endpoints::Given(urls), None);
        for (key, acknowledged, both) in writers {
            let mut open = 0;
            for writer in both {
                open += writer.await.unwrap();
            }
            let ((present, _), acknowledged) = (number(&store, key).await, acknowledged.load(Ordering::Relaxed));
            assert!(
                (acknowledged..=acknowledged + open).contains(&present),
                "{key} is {present}, of which {acknowledged} acknowledged and {open} open"
            );
        }
    })
    .await;
}

/// Which of the servers leads.
async fn leader(servers: &[Server]) -> usize {
    for (number, server) in servers.iter().enumerate() {
        let status = server.store().admin().status(&server.url()).await.unwrap();
        if status.leader == Some(status.id) {
            return number;
        }
    }
    panic!("nobody leads");
}

#[tokio::test]
async fn a_watcher_that_comes_back_after_compaction_reads_anew() {
    let server = Server::start().await;
    let store = server.store();
    let seen = put(&store, "a", "1").await;
    let mut present = seen;
    for n in 2..10 {
        present = put(&store, "a", &n.to_string()).await;
    }
    store.compact(present).await.unwrap();
    for after in [0, seen] {
        let error = store.watch("a", after).await.unwrap_err();
        assert!(
            matches!(error, Error::Compacted { through, .. } if through <= present),
            "{error:?}"
        );
    }
    let range = store.range("a", Page::ALL).await.unwrap();
    let mut watch = store.watch("a", range.revision).await.unwrap();
    let next = put(&store, "a", "10").await;
    assert_eq!(watch.next().await.unwrap().revision, next);
}

#[tokio::test]
async fn a_large_range_comes_whole_and_of_one_revision() {
    const KEYS: usize = 700;
    let server = Server::start().await;
    let store = server.store();
    for some in (0..KEYS).collect::<Vec<_>>().chunks(100) {
        let txn = some.iter().fold(Txn::new(), |txn, n| txn.put(format!("k{n:04}"), "x"));
        store.txn(txn).await.unwrap();
    }
    for descending in [false, true] {
        for limit in [1, 300, KEYS, usize::MAX] {
            let range = store.range("k", Page { limit, descending }).await.unwrap();
            let mut expected: Vec<String> = (0..KEYS).map(|n| format!("k{n:04}")).collect();
            if descending {
                expected.reverse();
            }
            expected.truncate(limit);
            let keys: Vec<String> = range.entries.into_iter().map(|entry| entry.key).collect();
            assert_eq!(keys, expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_far_behind_gets_large_changes_whole() {
    let server = Server::start().await;
    let store = server.store();
    let large = "v".repeat(500 * 1024);
    let after = put(&store, "before", "x").await;
    for _ in 0..12 {
        store
            .txn(
                Txn::new()
                    .put("a", large.as_str())
                    .put("b", large.as_str())
                    .put("c", "x"),
            )
            .await
            .unwrap();
    }
    let mut watch = store.watch("", after).await.unwrap();
    for n in 1..=12 {
        let changes = watch.next().await.unwrap();
        let lengths: Vec<usize> = values(&changes.events).iter().map(String::len).collect();
        assert_eq!(
            (changes.revision, lengths),
            (after + n, vec![large.len(), large.len(), 1])
        );
    }
}

#[tokio::test]
async fn a_full_etcd_says_so_and_recovers() {
    let server = Server::start_with(&["--quota-backend-bytes", "16777216"]).await;
    let (store, admin) = (server.store(), server.store().admin());
    let large = "v".repeat(1024 * 1024);
    let full = loop {
        match store.txn(Txn::new().put("a", large.as_str())).await {
            Ok(outcome) => assert!(matches!(outcome, Outcome::Done(_))),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full { .. }) && full.is_retryable(), "{full:?}");
    let small = store.txn(Txn::new().put("b", "x")).await;
    assert!(matches!(small, Err(Error::Full { .. })), "{small:?}");
    let alarms = admin.alarms().await.unwrap();
    assert_eq!(
        alarms.iter().map(|alarm| alarm.kind).collect::<Vec<_>>(),
        [AlarmKind::Full]
    );

    // What is there can be read, and room is made by forgetting.
    let revision = store.range("a", Page::ALL).await.unwrap().revision;
    let before = admin.status(&server.url()).await.unwrap();
    store.compact(revision).await.unwrap();
    admin.defragment(&server.url()).await.unwrap();
    let after = admin.status(&server.url()).await.unwrap();
    assert!(after.size < before.size, "{before:?} {after:?}");
    for alarm in alarms {
        admin.disarm(alarm).await.unwrap();
    }
    store.txn(Txn::new().put("b", "x")).await.unwrap();
}

#[tokio::test]
async fn a_store_without_an_etcd_says_so_at_once_and_heals() {
    let server = Server::start().await;
    let file = server.path("endpoints.json");
    let store = EtcdStore::new(Endpoints::File(file.clone()), None);
    assert!(store.get("a").await.unwrap_err().is_missing());
    std::fs::write(&file, "{}").unwrap();
    assert!(matches!(store.get("a").await, Err(Error::Corrupt { .. })));

    // An address where nobody is, then one where etcd is.
    let nobody = EndpointsFile {
        endpoints: vec!["http://127.0.0.1:1".to_owned()],
    };
    nobody.write(&file).unwrap();
    let error = store.get("a").await.unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable { place, .. } if place.contains("127.0.0.1:1")),
        "{error:?}"
    );
    let here = EndpointsFile {
        endpoints: vec!["http://127.0.0.1:1".to_owned(), server.url()],
    };
    here.write(&file).unwrap();
    put(&store, "a", "1").await;
    assert_eq!(number(&store, "a").await.0, 1);
}
