//! The tree, its cache and its document as each version writes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fixtures::{kept, pin, sql, with_additions};
use serde_json::{Value, json};

use super::cache::Cached;
use super::history::Query;
use super::key::{Component, KeyPath, Name};
use super::target::{Scope, Target};
use super::{Author, Config, Secrets, TreeDocument};
use crate::store::Error;
use crate::store::sqlite::SqliteStore;

const TABLES: [&str; 4] = ["state", "entries", "changes", "leases"];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn author() -> Author {
    Author {
        who: "ann (root)".into(),
        command: "kato config set".into(),
    }
}

fn target(scope: Scope, component: &str, path: &str) -> Target {
    let (component, path) = (Component::new(component).unwrap(), KeyPath::parse(path).unwrap());
    Target::resolve(&name("one"), Some(scope), &component, &path).unwrap()
}

/// A tree with something in every layer, changed and removed again.
async fn filled(path: &Path) -> Config {
    let store = SqliteStore::create(path).await.unwrap();
    let config = Config::new(Arc::new(store), name("one"));
    let set = async |scope, path: &str, value: Value| {
        let target = target(scope, "fence", path);
        config.set(&target, value, true, &author()).await.unwrap();
    };
    set(Scope::Cluster, "docker/image", json!("example/base:1")).await;
    set(
        Scope::Cluster,
        "docker/image",
        json!(["example/base:2", "example/base:1"]),
    )
    .await;
    set(Scope::Realm(name("large")), "max_containers", json!(7)).await;
    set(Scope::Node(name("one")), "default_memory_mb", json!(128)).await;
    set(Scope::Cluster, "stop_timeout", json!(5)).await;
    let removed = target(Scope::Cluster, "fence", "stop_timeout");
    config.del(&removed, &author()).await.unwrap();
    config
}

/// The text with the same time in each record of the history.
fn at_one_time(dump: &str) -> String {
    const AT: &str = "\"at\":\"";
    let mut parts = dump.split(AT);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.split_once('"').map_or("", |(_, rest)| rest);
        format!("{text}{AT}2026-01-02T03:04:05Z\"{rest}")
    })
}

fn restored(dump: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tree.db");
    sql::restore(&path, dump);
    (directory, path)
}

async fn is_the_filled_tree(config: &Config) {
    let effective = config.effective().await.unwrap();
    let value = |path: &str| effective.leaf(&KeyPath::parse(path).unwrap()).cloned();
    assert_eq!(
        value("fence/docker/image"),
        Some(json!(["example/base:2", "example/base:1"]))
    );
    assert_eq!(value("fence/default_memory_mb"), Some(json!(128)));
    assert_eq!(config.layers().await.unwrap().revision, 6);
    let all = Query {
        limit: 100,
        ..Query::default()
    };
    let history = config.history(&all).await.unwrap();
    assert_eq!(history.records.len(), 6);
    assert!(history.records.iter().all(|record| record.who == author().who));
}

#[tokio::test]
async fn a_tree_of_each_version_is_read_and_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tree.db");
    drop(filled(&path).await);
    pin("tree.sql", &at_one_time(&sql::dump(&path, &TABLES)));
    for version in kept("tree.sql") {
        let (_directory, path) = restored(&version.text);
        let config = Config::new(Arc::new(SqliteStore::open(&path).await.unwrap()), name("one"));
        is_the_filled_tree(&config).await;
        let back = config.rollback(1, &Default::default(), &author()).await.unwrap();
        assert_eq!(back.revision, 7, "of {}", version.version);
        let image = target(Scope::Cluster, "fence", "docker/image");
        assert_eq!(config.get(&image).await.unwrap(), Some(json!("example/base:1")));
    }
}

#[tokio::test]
async fn a_tree_of_a_later_format_is_refused_and_left_as_it_is() {
    for version in kept("tree.sql") {
        let (_directory, path) = restored(&version.text.replace("user_version = 1", "user_version = 2"));
        let before = sql::dump(&path, &TABLES);
        for opened in [SqliteStore::open(&path).await, SqliteStore::create(&path).await] {
            let error = opened.map(drop).unwrap_err();
            assert!(matches!(error, Error::NewerFormat { found: 2, .. }), "{error:?}");
        }
        assert_eq!(sql::dump(&path, &TABLES), before, "of {}", version.version);
    }
}

#[tokio::test]
async fn what_a_later_version_records_besides_is_passed_over() {
    for version in kept("tree.sql") {
        // In the records of the history, which are the tree's only objects with members of ours.
        let added = version
            .text
            .replace("{\"number\":", "{\"added_later\":{\"a\":1},\"number\":");
        assert_ne!(added, version.text);
        let (_directory, path) = restored(&added);
        let config = Config::new(Arc::new(SqliteStore::open(&path).await.unwrap()), name("one"));
        is_the_filled_tree(&config).await;
    }
}

#[tokio::test]
async fn a_cache_of_each_version_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let merged = [
        ("fence/docker/image", json!("example/base:1")),
        ("fence/max_containers", json!(7)),
    ];
    let merged = merged.map(|(path, value)| (KeyPath::parse(path).unwrap(), value));
    let cached = Cached::new(name("one"), 6, merged.into_iter().collect());
    cached.save(&path).unwrap();
    pin("config-cache.json", &std::fs::read_to_string(&path).unwrap());
    for version in kept("config-cache.json") {
        std::fs::write(&path, &version.text).unwrap();
        assert_eq!(
            Cached::load(&path, &name("one")).unwrap(),
            cached,
            "of {}",
            version.version
        );
        std::fs::write(&path, version.text.replace("\"format\":1", "\"format\":2")).unwrap();
        assert!(Cached::load(&path, &name("one")).is_err());
        let added = version.text.replacen('{', "{\"added_later\":{},", 1);
        std::fs::write(&path, added).unwrap();
        assert_eq!(Cached::load(&path, &name("one")).unwrap(), cached);
    }
}

#[tokio::test]
async fn a_document_of_each_version_is_taken_in() {
    let directory = tempfile::tempdir().unwrap();
    let config = filled(&directory.path().join("tree.db")).await;
    let document = config.export(Secrets::Revealed).await.unwrap().document;
    pin("tree-document.json", &serde_json::to_string_pretty(&document).unwrap());
    for version in kept("tree-document.json") {
        let read: TreeDocument = serde_json::from_str(&version.text).unwrap();
        let path = directory.path().join(format!("{}.db", version.version));
        let other = Config::new(Arc::new(SqliteStore::create(&path).await.unwrap()), name("one"));
        other.import(&read, false, &author()).await.unwrap();
        assert_eq!(other.effective().await.unwrap(), config.effective().await.unwrap());
        // What this version cannot take in it does not take in in part.
        let error = serde_json::from_str::<TreeDocument>(&with_additions(&version.text)).unwrap_err();
        assert!(error.to_string().contains("added_later"), "{error}");
    }
}
