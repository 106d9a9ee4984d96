//! Changes told as they come: all, once, in order, whatever happens to the store in between.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::config::history::Author;
use crate::config::schema::REDACTED;
use crate::config::{KeyPath, Name, Scope, Target};
use crate::store::memory::MemoryStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Outcome, Store, Txn};

fn config(store: impl Store) -> Config {
    Config::new(Arc::new(store), Name::new("here").unwrap())
}

async fn set(config: &Config, address: &str, value: Value) {
    let target = Target {
        scope: Scope::Cluster,
        address: KeyPath::parse(address).unwrap(),
        own: false,
    };
    let author = Author {
        who: "alice".to_owned(),
        command: "set".to_owned(),
    };
    config.set(&target, value, false, &author).await.unwrap();
}

/// The value that the next news tell of.
async fn told(follow: &mut Follow) -> Value {
    match next(follow).await {
        News::Changed(record) => record.changes[0].new.clone().unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn next(follow: &mut Follow) -> News {
    let news = tokio::time::timeout(Duration::from_secs(20), follow.next()).await;
    news.expect("news within 20 s")
}

#[tokio::test]
async fn what_is_changed_from_now_on_is_told_in_order_without_secrets() {
    let config = config(MemoryStore::new());
    set(&config, "x/y", json!(0)).await;
    let mut follow = config.follow().await.unwrap();
    for number in 1..=40 {
        set(&config, "x/y", json!(number)).await;
    }
    set(&config, "x/password", json!("hunter2")).await;
    for number in 1..=40 {
        assert_eq!(told(&mut follow).await, json!(number));
    }
    assert_eq!(told(&mut follow).await, json!(REDACTED));
}

#[tokio::test]
async fn what_was_changed_while_nothing_could_be_watched_is_told_afterwards() {
    let store = MemoryStore::new();
    let config = config(store.clone());
    let mut follow = config.follow().await.unwrap();
    set(&config, "x/y", json!(1)).await;
    assert_eq!(told(&mut follow).await, json!(1));
    follow.watch = None;
    for number in 2..=150 {
        set(&config, "x/y", json!(number)).await;
    }
    let revision = store.range("", Page::ALL).await.unwrap().revision;
    store.compact(revision).await.unwrap();
    for number in 2..=150 {
        assert_eq!(told(&mut follow).await, json!(number));
    }
    set(&config, "x/y", json!(151)).await;
    assert_eq!(told(&mut follow).await, json!(151));
}

/// Spoils what the store holds of the newest record.
async fn spoil(store: &MemoryStore) {
    let newest = Page {
        limit: 1,
        descending: true,
    };
    let range = store.range(HISTORY, newest).await.unwrap();
    let txn = Txn::new().put(range.entries[0].key.clone(), *b"{");
    assert!(matches!(store.txn(txn).await.unwrap(), Outcome::Done(_)));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_told_of_once_and_passed_over() {
    for is_watched in [true, false] {
        let store = MemoryStore::new();
        let config = config(store.clone());
        set(&config, "x/y", json!(0)).await;
        let mut follow = config.follow().await.unwrap();
        set(&config, "x/y", json!(1)).await;
        if !is_watched {
            // All that is told follows from what the store holds then.
            follow.watch = None;
        }
        set(&config, "x/y", json!(2)).await;
        spoil(&store).await;
        set(&config, "x/y", json!(3)).await;
        let revision = store.range("", Page::ALL).await.unwrap().revision;
        if is_watched {
            let told_first = [told(&mut follow).await, told(&mut follow).await];
            assert_eq!(told_first, [json!(1), json!(2)]);
        } else {
            store.compact(revision).await.unwrap();
            assert_eq!(told(&mut follow).await, json!(1));
        }
        let passed_over = next(&mut follow).await;
        assert!(
            matches!(&passed_over, News::Unreadable(Error::Corrupt { key, .. }) if key.ends_with('3')),
            "{passed_over:?}"
        );
        assert_eq!(told(&mut follow).await, json!(3));
        // One that is the newest when it begins is no hindrance either.
        spoil(&store).await;
        let mut later = config.follow().await.unwrap();
        set(&config, "x/y", json!(4)).await;
        assert_eq!(told(&mut later).await, json!(4));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_is_told_of_once_and_so_is_its_return() {
    let directory = tempfile::tempdir().unwrap();
    let (path, away) = (directory.path().join("tree.db"), directory.path().join("away"));
    let store = SqliteStore::create(&path).await.unwrap();
    let config = config(store);
    set(&config, "x/y", json!(1)).await;
    let mut follow = config.follow().await.unwrap();
    std::fs::create_dir(&away).unwrap();
    let files = ["tree.db", "tree.db-wal", "tree.db-shm"];
    let carry = |from: &std::path::Path, to: &std::path::Path| {
        for file in files {
            // SQLite has the other two only at times.
            let _ = std::fs::rename(from.join(file), to.join(file));
        }
    };
    carry(directory.path(), &away);
    assert!(matches!(next(&mut follow).await, News::Lost(_)));
    carry(&away, directory.path());
    assert!(matches!(next(&mut follow).await, News::Back));
    set(&config, "x/y", json!(2)).await;
    assert_eq!(told(&mut follow).await, json!(2));
}
