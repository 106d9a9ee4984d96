//! All logs of the node: where they are and how much they take together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::files;
use super::log::Log;

/// The logs of this node, each in a directory named for its container's instance. Clones are the same.
#[derive(Clone)]
pub struct Store {
    directory: PathBuf,
    total: Arc<AtomicU64>,
}

impl Store {
    /// The logs below this directory, which is made with the first of them.
    pub fn new(directory: &Path) -> Store {
        let store = Store {
            directory: directory.to_owned(),
            total: Arc::default(),
        };
        let sizes = store.instances().into_iter();
        let total = sizes.map(|instance| files::size(&directory.join(instance))).sum();
        store.total.store(total, Ordering::Relaxed);
        store
    }

    /// The log of a container.
    pub fn log(&self, instance: &str) -> Log {
        Log::new(self.directory.join(instance), self.total.clone())
    }

    /// The containers that have a log.
    pub fn instances(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.collect()
    }

    /// What all of them take, in bytes.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}
