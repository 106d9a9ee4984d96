//! What exists on this node and in which state: the truth about its containers, on disk.
//!
//! A record is written before an effect is acknowledged to anybody, and survives kill -9 at any moment (SQLite, full
//! synchronisation, 0600). What a record means is the supervisor's business; what really runs is the engine's.

mod record;
mod store;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

pub use record::{ImageRecord, Record};

/// The result of an inventory call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the inventory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not open the inventory {path}")]
    Open {
        path: String,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the inventory {path} has format {found}, this fence knows up to {known}")]
    Format { path: String, found: i64, known: i64 },
    #[error("could not {attempt} the inventory")]
    Access {
        attempt: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the inventory's record of {handle} makes no sense")]
    Record {
        handle: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the inventory's writer has ended")]
    Ended,
}

/// The node's inventory. Clones are the same one.
#[derive(Clone)]
pub struct Inventory {
    store: Arc<Mutex<store::Store>>,
}

impl Inventory {
    /// Open the inventory, or make it.
    pub fn open(path: &Path) -> Result<Inventory> {
        Ok(Inventory {
            store: Arc::new(Mutex::new(store::Store::open(path)?)),
        })
    }

    /// All records that can be read. One that cannot is left where it is, with a line in the log.
    pub async fn all(&self) -> Result<Vec<Record>> {
        self.call(|store| store.all()).await
    }

    /// The instances of all records, those that cannot be read too.
    pub async fn instances(&self) -> Result<BTreeSet<String>> {
        self.call(|store| store.instances()).await
    }

    /// The handles of the records that cannot be read.
    pub async fn unreadable(&self) -> Result<Vec<String>> {
        self.call(|store| store.unreadable()).await
    }

    /// Write a record, new or changed. It is on the disk when this returns.
    pub async fn put(&self, record: &Record) -> Result<()> {
        let record = record.clone();
        self.call(move |store| store.put(&record)).await
    }

    /// Forget a container. One that is not there is forgotten already.
    pub async fn remove(&self, instance: &str) -> Result<()> {
        let instance = instance.to_owned();
        self.call(move |store| store.remove(&instance)).await
    }

    /// From now on nothing can be written, as on a full disk, or everything again.
    #[cfg(test)]
    pub(crate) async fn set_full(&self, full: bool) {
        self.call(move |store| store.set_full(full)).await.unwrap();
    }

    /// Write a record that cannot be read.
    #[cfg(test)]
    pub(crate) async fn put_unreadable(&self, instance: &str, handle: &str) {
        let (instance, handle) = (instance.to_owned(), handle.to_owned());
        let put = self.call(move |store| store.put_json(&instance, &handle, "{"));
        put.await.unwrap();
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut store::Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut store.lock().unwrap_or_else(PoisonError::into_inner)));
        done.await.map_err(|_| Error::Ended)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::State;

    #[tokio::test]
    async fn what_was_put_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.db");
        let inventory = Inventory::open(&path).unwrap();
        let mut record = Record::sample("web");
        inventory.put(&record).await.unwrap();
        record.state = State::Stopped;
        inventory.put(&record).await.unwrap();
        inventory.put(&Record::sample("other")).await.unwrap();
        drop(inventory);
        let again = Inventory::open(&path).unwrap();
        let all = again.all().await.unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all.iter().find(|r| r.handle == record.handle), Some(&record));
        again.remove(&record.instance).await.unwrap();
        again.remove(&record.instance).await.unwrap();
        assert_eq!(again.all().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_record_that_makes_no_sense_is_left_alone_and_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.db");
        let inventory = Inventory::open(&path).unwrap();
        inventory.put(&Record::sample("web")).await.unwrap();
        inventory.put_unreadable("i", "h").await;
        assert_eq!(inventory.all().await.unwrap().len(), 1);
        assert!(inventory.instances().await.unwrap().contains("i"));
        assert_eq!(inventory.unreadable().await.unwrap(), ["h"]);
    }

    #[tokio::test]
    async fn on_a_full_disk_what_was_there_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.db");
        let inventory = Inventory::open(&path).unwrap();
        let record = Record::sample("web");
        inventory.put(&record).await.unwrap();
        inventory.call(|store| store.set_pages(16)).await.unwrap();
        let mut large = record.clone();
        large.events = vec!["x".repeat(1 << 20)];
        let error = inventory.put(&large).await.unwrap_err();
        assert!(crate::chain::chain(&error).contains("full"), "{error:?}");
        assert_eq!(inventory.all().await.unwrap(), std::slice::from_ref(&record));
        inventory.call(|store| store.set_pages(10_000)).await.unwrap();
        inventory.put(&large).await.unwrap();
        drop(inventory);
        assert_eq!(Inventory::open(&path).unwrap().all().await.unwrap(), [large]);
    }

    #[test]
    fn only_root_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.db");
        let _inventory = Inventory::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.db");
        rusqlite::Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        assert!(matches!(Inventory::open(&path), Err(Error::Format { found: 99, .. })));
    }
}
