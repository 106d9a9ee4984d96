//! Following the tree: changes arrive typed, bad values and a store that is gone do no harm.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::config::{Author, Config, KeyPath, Target};
use crate::store::Txn;
use crate::store::sqlite::SqliteStore;

const PATIENCE: Duration = Duration::from_secs(60);

struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        Node {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn tree(&self) -> PathBuf {
        self.directory.path().join("lib/tree.db")
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("fence/cache.json")
    }

    async fn make_tree(&self) -> Config {
        Config::new(Arc::new(SqliteStore::create(&self.tree()).await.unwrap()), name())
    }

    /// The tree as a daemon opens it: there or not.
    fn config(&self) -> Config {
        Config::new(Arc::new(SqliteStore::lazy(&self.tree())), name())
    }

    async fn live(&self) -> Live {
        self.config().watch(&self.cache()).await.unwrap()
    }
}

fn name() -> Name {
    Name::new("here").unwrap()
}

async fn set(config: &Config, path: &str, value: serde_json::Value) -> Revision {
    let target = Target::key(&Name::new("fence").unwrap(), &KeyPath::parse(path).unwrap()).unwrap();
    let author = Author {
        who: "alice".to_owned(),
        command: "kato config set".to_owned(),
    };
    config.set(&target, value, false, &author).await.unwrap().revision
}

/// Wait until the settings are as wanted.
async fn until(live: &mut Live, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let waiting = async {
        loop {
            let snapshot = live.current();
            if wanted(&snapshot) {
                return snapshot;
            }
            live.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the settings never were as wanted")
}

#[tokio::test]
async fn a_change_arrives_with_its_revision() {
    let node = Node::new();
    let config = node.make_tree().await;
    let mut live = node.live().await;
    assert_eq!(live.current().fence.max_containers, 256);
    let revision = set(&config, "max_containers", json!(7)).await;
    let snapshot = until(&mut live, |snapshot| snapshot.revision == revision).await;
    assert_eq!(snapshot.fence.max_containers, 7);
    assert_eq!(snapshot.stale, None);
}

#[tokio::test]
async fn what_is_written_beside_the_configuration_changes_no_revision() {
    let node = Node::new();
    let config = node.make_tree().await;
    let store = SqliteStore::open(&node.tree()).await.unwrap();
    store
        .txn(Txn::new().put("process/here/fence", "RUNNING"))
        .await
        .unwrap();
    let revision = set(&config, "max_containers", json!(7)).await;
    store
        .txn(Txn::new().put("process/here/fence", "STOPPED"))
        .await
        .unwrap();
    let mut live = node.live().await;
    assert_eq!(live.current().revision, revision);
    let next = set(&config, "registry/password", json!("x")).await;
    let snapshot = until(&mut live, |snapshot| snapshot.revision == next).await;
    assert_eq!(
        snapshot.tree.nest(&KeyPath::parse("fence/registry").unwrap()),
        None,
        "a secret is not followed"
    );
}

#[tokio::test]
async fn a_stored_value_that_cannot_be_used_leaves_the_last_one_in_use() {
    let node = Node::new();
    let config = node.make_tree().await;
    set(&config, "max_containers", json!(7)).await;
    let mut live = node.live().await;
    let store = SqliteStore::open(&node.tree()).await.unwrap();
    store
        .txn(Txn::new().put("config/cluster/fence/max_containers", "\"of a later release\""))
        .await
        .unwrap();
    let snapshot = until(&mut live, |snapshot| !snapshot.problems.is_empty()).await;
    assert_eq!(snapshot.fence.max_containers, 7);
    set(&config, "max_containers", json!(8)).await;
    let snapshot = until(&mut live, |snapshot| snapshot.problems.is_empty()).await;
    assert_eq!(snapshot.fence.max_containers, 8);
}

#[tokio::test]
async fn with_the_store_gone_the_last_settings_stay_and_are_flagged_until_it_is_back() {
    let node = Node::new();
    set(&node.make_tree().await, "max_containers", json!(7)).await;
    let mut live = node.live().await;
    let aside = node.directory.path().join("aside");
    std::fs::rename(node.tree().parent().unwrap(), &aside).unwrap();
    let snapshot = until(&mut live, |snapshot| snapshot.stale.is_some()).await;
    assert_eq!(snapshot.fence.max_containers, 7);
    std::fs::rename(&aside, node.tree().parent().unwrap()).unwrap();
    set(&node.config(), "max_containers", json!(8)).await;
    until(&mut live, |snapshot| {
        snapshot.stale.is_none() && snapshot.fence.max_containers == 8
    })
    .await;
}

#[tokio::test]
async fn a_start_without_the_store_uses_what_was_kept_and_heals() {
    let node = Node::new();
    let config = node.make_tree().await;
    set(&config, "max_containers", json!(7)).await;
    set(&config, "registry/password", json!("hunter2")).await;
    let mut live = node.live().await;
    let revision = set(&config, "max_containers", json!(8)).await;
    until(&mut live, |snapshot| snapshot.revision == revision).await;
    wait_for_file(&node.cache(), "\"fence/max_containers\":8").await;
    drop((live, config));
    std::fs::remove_dir_all(node.tree().parent().unwrap()).unwrap();

    let mut live = node.live().await;
    let snapshot = live.current();
    assert_eq!((snapshot.fence.max_containers, snapshot.revision), (8, revision));
    assert!(snapshot.stale.is_some());
    let kept = std::fs::read_to_string(node.cache()).unwrap();
    assert!(!kept.contains("hunter2"), "{kept}");
    assert_eq!(node.cache().metadata().unwrap().permissions().mode() & 0o777, 0o600);

    set(&node.make_tree().await, "max_containers", json!(9)).await;
    let snapshot = until(&mut live, |snapshot| snapshot.fence.max_containers == 9).await;
    assert_eq!(snapshot.stale, None);
}

#[tokio::test]
async fn a_first_start_without_a_store_says_so() {
    let node = Node::new();
    let error = node.config().watch(&node.cache()).await.unwrap_err();
    assert!(
        matches!(error, Error::Nothing { .. }) && error.is_no_tree(),
        "{error:?}"
    );
    // Another node's file, or a damaged one, is of no use either.
    std::fs::create_dir_all(node.cache().parent().unwrap()).unwrap();
    for content in ["", "{}", r#"{"format":1,"node":"other","revision":1,"merged":{}}"#] {
        std::fs::write(node.cache(), content).unwrap();
        assert!(node.config().watch(&node.cache()).await.is_err(), "{content}");
    }
}

#[tokio::test]
async fn forgotten_changes_are_made_up_for_by_reading_anew() {
    let node = Node::new();
    let config = node.make_tree().await;
    set(&config, "max_containers", json!(7)).await;
    let mut live = node.live().await;
    let store = SqliteStore::open(&node.tree()).await.unwrap();
    for number in 8..20 {
        let revision = set(&config, "max_containers", json!(number)).await;
        store.compact(revision).await.unwrap();
    }
    let snapshot = until(&mut live, |snapshot| snapshot.fence.max_containers == 19).await;
    assert_eq!(snapshot.stale, None);
}

/// The disk is told after the programs.
async fn wait_for_file(path: &Path, content: &str) {
    let waiting = async {
        while !std::fs::read_to_string(path).unwrap_or_default().contains(content) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the file never had the content");
}
