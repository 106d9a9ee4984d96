//! The SQLite home: the common suite with a connection for each client, and what only this home promises: several
//! processes at once, a safe file, and healing when the file goes and comes.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};

use super::*;
use crate::store::conformance::{self, Home, count_up};
use crate::store::{Event, Page};

/// A directory with a store in it, for as long as the test runs.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Place {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("lib/tree.db")
    }
}

impl Home for Place {
    async fn client(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::create(&self.path()).await.unwrap())
    }
}

conformance::suite!(Place::new());

/// The test that runs again in a child process learns from this what to do there.
const ROLE: &str = "STORE_TEST_PATH";

/// Run the test of this name in a process of its own, with the store at `path`.
fn this_test_again(name: &str, path: &Path) -> Child {
    let name = format!("{}::{name}", module_path!().split_once("::").unwrap().1);
    let mut again = Command::new(std::env::current_exe().unwrap());
    again
        .args(["--exact", &name, "--nocapture"])
        .env(ROLE, path)
        .spawn()
        .unwrap()
}

async fn child_store() -> Option<Arc<dyn Store>> {
    let path = std::env::var_os(ROLE)?;
    Some(Arc::new(SqliteStore::open(Path::new(&path)).await.unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_writes_while_this_one_watches() {
    const CHANGES: u64 = 50;
    if let Some(store) = child_store().await {
        for _ in 0..CHANGES {
            count_up(&store, "n").await;
        }
        return;
    }
    let place = Place::new();
    let store = place.client().await;
    let mut watch = store.watch("n", 0).await.unwrap();
    let mut child = this_test_again("another_process_writes_while_this_one_watches", &place.path());
    conformance::bounded(async {
        for n in 1..=CHANGES {
            let changes = watch.next().await.unwrap();
            assert_eq!(
                changes.events,
                [Event::Put {
                    key: "n".to_owned(),
                    value: n.to_string().into_bytes()
                }]
            );
        }
    })
    .await;
    assert!(child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_write_at_once_and_lose_nothing() {
    const PROCESSES: u64 = 5;
    const TIMES: u64 = 20;
    if let Some(store) = child_store().await {
        for _ in 0..TIMES {
            count_up(&store, "n").await;
        }
        return;
    }
    let place = Place::new();
    let store = place.client().await;
    let mut watch = store.watch("n", 0).await.unwrap();
    let again = |_| this_test_again("many_processes_write_at_once_and_lose_nothing", &place.path());
    let children: Vec<Child> = (0..PROCESSES).map(again).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    conformance::bounded(async {
        for n in 1..=PROCESSES * TIMES {
            let changes = watch.next().await.unwrap();
            assert_eq!(
                changes.events,
                [Event::Put {
                    key: "n".to_owned(),
                    value: n.to_string().into_bytes()
                }]
            );
        }
    })
    .await;
}

#[tokio::test]
async fn many_who_make_the_store_at_once_make_one() {
    let place = Place::new();
    let path = place.path();
    let making: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn({
                let path = path.clone();
                async move { SqliteStore::create(&path).await.map(|_| ()) }
            })
        })
        .collect();
    for made in making {
        made.await.unwrap().unwrap();
    }
    assert_eq!(place.client().await.range("", Page::ALL).await.unwrap().revision, 0);
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    let place = Place::new();
    let store = place.client().await;
    let mut watch = store.watch("", 0).await.unwrap();
    store.txn(Txn::new().put("a", "1")).await.unwrap();
    watch.next().await.unwrap();
    let mut seen = 0;
    for file in place.path().parent().unwrap().read_dir().unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.path()
        );
        seen += 1;
    }
    assert_eq!(seen, 4, "the database, its log, its index and the file beside it");
}

#[tokio::test]
async fn opening_does_not_make_a_store() {
    let place = Place::new();
    let error = SqliteStore::open(&place.path()).await.unwrap_err();
    assert!(error.is_missing(), "{error:?}");
    assert!(!place.path().parent().unwrap().exists());
    // A file that is just being made is not a store yet, and making it completes it.
    std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    std::fs::write(place.path(), "").unwrap();
    assert!(SqliteStore::open(&place.path()).await.unwrap_err().is_missing());
    SqliteStore::create(&place.path()).await.unwrap();
    SqliteStore::open(&place.path()).await.unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused_with_its_number() {
    let place = Place::new();
    drop(place.client().await);
    rusqlite::Connection::open(place.path())
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    for result in [
        SqliteStore::open(&place.path()).await,
        SqliteStore::create(&place.path()).await,
    ] {
        let error = result.unwrap_err();
        assert!(
            matches!(
                error,
                Error::NewerFormat {
                    found: 99,
                    known: 1,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn what_is_not_a_store_is_refused_and_left_alone() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    std::fs::write(
        place.path(),
        "not a database, but long enough to be looked at".repeat(100),
    )
    .unwrap();
    let before = std::fs::read(place.path()).unwrap();
    for result in [
        SqliteStore::open(&place.path()).await,
        SqliteStore::create(&place.path()).await,
    ] {
        assert!(matches!(result.unwrap_err(), Error::Corrupt { .. }));
    }
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
    std::fs::remove_file(place.path()).unwrap();
    let other = rusqlite::Connection::open(place.path()).unwrap();
    other.execute_batch("CREATE TABLE other (x)").unwrap();
    assert!(matches!(
        SqliteStore::create(&place.path()).await.unwrap_err(),
        Error::Corrupt { .. }
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_when_the_store_goes_and_the_store_heals_when_one_comes() {
    let place = Place::new();
    let store = place.client().await;
    store.txn(Txn::new().put("a", "1")).await.unwrap();
    let mut watch = store.watch("", 1).await.unwrap();
    std::fs::remove_dir_all(place.path().parent().unwrap()).unwrap();
    conformance::bounded(async {
        let error = watch.next().await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
    })
    .await;
    assert!(store.get("a").await.unwrap_err().is_missing());
    drop(SqliteStore::create(&place.path()).await.unwrap());
    assert_eq!(store.get("a").await.unwrap(), None);
    assert!(matches!(store.watch("", 1).await.map(|_| ()), Err(Error::Ahead { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_hears_of_changes_after_the_file_beside_the_store_was_removed() {
    let place = Place::new();
    let (store, other) = (place.client().await, place.client().await);
    let mut watch = store.watch("", 0).await.unwrap();
    for n in 1..=3 {
        other.txn(Txn::new().put("n", n.to_string())).await.unwrap();
        conformance::bounded(async { assert_eq!(watch.next().await.unwrap().revision, n) }).await;
        let _ = std::fs::remove_file(place.directory.path().join("lib/tree.db-changed"));
    }
}

#[tokio::test]
async fn a_writer_that_holds_the_store_is_waited_for_and_no_longer_than_a_bound() {
    let place = Place::new();
    let store = place.client().await;
    let holder = rusqlite::Connection::open(place.path()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.txn(Txn::new().put("a", "1")).await.unwrap_err();
    assert!(matches!(error, Error::Busy { .. }) && error.is_retryable(), "{error:?}");
    // Readers go on meanwhile, and so do writers afterwards.
    assert_eq!(store.get("a").await.unwrap(), None);
    holder.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.txn(Txn::new().put("a", "1")).await.unwrap(), Outcome::Done(1));
}

#[tokio::test]
async fn a_lease_of_an_earlier_start_of_the_machine_has_expired() {
    let place = Place::new();
    let store = place.client().await;
    let lease = store.grant(Duration::from_secs(3600)).await.unwrap();
    store.txn(Txn::new().put_leased("a", "1", lease)).await.unwrap();
    rusqlite::Connection::open(place.path())
        .unwrap()
        .execute("UPDATE leases SET boot = 'earlier'", [])
        .unwrap();
    assert_eq!(store.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn old_changes_are_forgotten_by_themselves() {
    let place = Place::new();
    let store = place.client().await;
    store.txn(Txn::new().put("a", "1")).await.unwrap();
    rusqlite::Connection::open(place.path())
        .unwrap()
        .execute("UPDATE state SET revision = 20223", [])
        .unwrap();
    store.txn(Txn::new().put("a", "2")).await.unwrap();
    assert!(matches!(
        store.watch("a", 10_000).await.map(|_| ()),
        Err(Error::Compacted { .. })
    ));
    assert!(store.watch("a", 10_224).await.is_ok());
}
