//! What exists on this node and in which state: the truth about its containers, on disk.
//!
//! A record is written before an effect is acknowledged to anybody, and survives kill -9 at any moment (SQLite, full
//! synchronisation, 0600). What a record means is the supervisor's business; what really runs is the engine's.
//!
//! A database that is missing or damaged is made anew from copies of the records; see [`copies`] and [`Rebuilt`].

mod copies;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod fixture_tests;
mod rebuild;
mod record;
mod reserve;
mod store;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use rebuild::{Guessed, Rebuilt};
pub use record::{ImageRecord, PeaRecord, Record};

/// The result of an inventory call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the inventory could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not open the inventory {path}")]
    Open {
        path: String,
        #[source]
        source: Box<rusqlite::Error>,
    },
    #[error("the inventory {path} has format {found}, this fence knows up to {known}")]
    Format { path: String, found: i64, known: i64 },
    #[error("the inventory {path} is damaged: {reason}")]
    Damaged { path: String, reason: String },
    #[error("could not put the damaged inventory {path} aside")]
    Aside {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("could not {attempt} the inventory {path}")]
    Access {
        attempt: &'static str,
        path: String,
        #[source]
        source: Box<rusqlite::Error>,
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

impl Error {
    /// Whether the disk has no room, or fails. Temporary.
    pub fn is_full(&self) -> bool {
        match self {
            Error::Open { source, .. } | Error::Access { source, .. } => store::is_full(source),
            Error::Aside { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
            Error::Damaged { .. } | Error::Format { .. } | Error::Record { .. } | Error::Ended => false,
        }
    }

    /// Whether the file is not what it should be.
    fn is_damage(&self) -> bool {
        match self {
            Error::Open { source, .. } | Error::Access { source, .. } => store::is_damage(source),
            Error::Damaged { .. } => true,
            Error::Aside { .. } | Error::Format { .. } | Error::Record { .. } | Error::Ended => false,
        }
    }
}

/// The node's inventory. Clones are the same one.
#[derive(Clone)]
pub struct Inventory {
    store: Arc<Mutex<store::Store>>,
    directory: Arc<Path>,
}

impl Inventory {
    /// Open the inventory, or make it; one that is damaged is put aside and made anew.
    pub fn open(path: &Path) -> Result<Inventory> {
        Ok(Inventory {
            store: Arc::new(Mutex::new(store::Store::open(path)?)),
            directory: path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned).into(),
        })
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
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

    /// The copy of a record, whether there is a record or not.
    pub async fn copy(&self, instance: &str) -> Result<Option<Record>> {
        let instance = instance.to_owned();
        self.call(move |store| Ok(store.copy(&instance))).await
    }

    /// Take away the copies that have neither a record nor, by these instances, a container.
    pub async fn prune_copies(&self, found: BTreeSet<String>) -> Result<()> {
        self.call(move |store| store.prune_copies(&found)).await
    }

    /// What there is to know of how the inventory was made anew; `None` once that is history.
    pub async fn rebuilt(&self) -> Result<Option<Rebuilt>> {
        self.call(|store| store.rebuilt()).await
    }

    /// Note what became of making the inventory anew.
    pub async fn put_rebuilt(&self, rebuilt: Rebuilt) -> Result<()> {
        self.call(move |store| store.put_rebuilt(&rebuilt)).await
    }

    /// That the inventory was made anew is history.
    pub async fn forget_rebuilt(&self) -> Result<()> {
        self.call(|store| store.forget_rebuilt()).await
    }

    /// See to it that destroys can be written down although the disk is full.
    pub async fn keep_reserve(&self) -> Result<()> {
        self.call(|store| {
            store.keep_reserve();
            Ok(())
        })
        .await
    }

    /// From now on nothing can be written, as on a full disk, or everything again.
    #[cfg(test)]
    pub(crate) async fn set_full(&self, full: bool) {
        self.call(move |store| store.set_full(full)).await.unwrap();
    }

    /// Have what the file has now at this place too.
    #[cfg(test)]
    pub(crate) async fn save_to(&self, place: &Path) {
        let place = place.display().to_string();
        let saved = self.call(move |store| store.execute(&format!("VACUUM INTO '{place}'")));
        saved.await.unwrap();
    }

    /// Write garbage over the file while it is open.
    #[cfg(test)]
    pub(crate) async fn damage(&self) {
        let path = self.directory.join("inventory.db");
        let damaged = self.call(move |store| {
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")?;
            std::fs::write(&path, [7; 64 * 1024]).unwrap();
            store.execute("PRAGMA shrink_memory")
        });
        damaged.await.unwrap();
    }

    /// Write a record that cannot be read.
    #[cfg(test)]
    pub(crate) async fn put_unreadable(&self, instance: &str, handle: &str) {
        let (instance, handle) = (instance.to_owned(), handle.to_owned());
        let put = self.call(move |store| store.put_json(&instance, &handle, "{"));
        put.await.unwrap();
    }

    async fn call<T: Send + 'static>(&self, work: impl Fn(&store::Store) -> Result<T> + Send + 'static) -> Result<T> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            match work(&store) {
                Err(error) if error.is_damage() => {
                    store.renew(&error)?;
                    work(&store)
                }
                done => done,
            }
        });
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
