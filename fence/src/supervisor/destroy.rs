//! Taking a container apart: every step is tried, each can be repeated, and the container is forgotten only when all
//! succeeded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::ContainerId;

use super::entry::Entry;
use super::{Error, LABEL_INSTANCE, Result, Supervisor};
use crate::container::{Handle, State};

impl Supervisor {
    /// Destroy a container and everything in it.
    pub async fn destroy(&self, handle: &Handle) -> Result<()> {
        let entry = self.entry(handle)?;
        self.destroy_entry(&entry).await
    }

    /// The same, by entry. In a task of its own: a client that goes away must not leave a container half destroyed.
    pub(super) async fn destroy_entry(&self, entry: &Arc<Entry>) -> Result<()> {
        if entry.destroying.swap(true, Ordering::AcqRel) {
            return Err(Error::BeingDestroyed {
                handle: entry.handle.clone(),
            });
        }
        let supervisor = self.clone();
        let entry = entry.clone();
        let destroyed = tokio::spawn(async move {
            let _life = entry.life.lock().await;
            let noted = entry
                .change(&supervisor.parts().inventory, |record| record.state = State::Destroying)
                .await;
            let result = match noted {
                Ok(()) => supervisor.take_apart(&entry).await,
                Err(error) => Err(error),
            };
            if result.is_err() {
                entry.destroying.store(false, Ordering::Release);
            }
            result
        });
        destroyed.await.unwrap_or(Err(Error::NotReady("stopping")))
    }

    /// Undo everything that makes up the container, whatever of it there is.
    pub(super) async fn take_apart(&self, entry: &Arc<Entry>) -> Result<()> {
        let removed = self.remove_from_engine(entry).await;
        if removed.is_ok() {
            entry.link.close();
        }
        let ports = self.release_ports(entry).await;
        removed?;
        ports?;
        remove_directory(entry)?;
        let forgotten = self.parts().inventory.remove(&entry.instance).await;
        forgotten.map_err(|source| Error::Inventory {
            what: entry.handle.to_string(),
            source,
        })?;
        self.table().remove(&entry.handle);
        Ok(())
    }

    async fn remove_from_engine(&self, entry: &Arc<Entry>) -> Result<()> {
        let engine = &self.parts().engine;
        let known = entry.record().engine_id.clone();
        let ids = match known.is_empty() {
            false => vec![ContainerId(known)],
            // The answer to its create may have been lost, so ask by label.
            true => {
                let mut labels = self.labels();
                labels.insert(LABEL_INSTANCE.to_owned(), entry.instance.clone());
                let found = engine.list(&labels).await;
                let found = found.map_err(|source| self.engine_failed("look for the container", entry, source))?;
                found.into_iter().map(|container| container.id).collect()
            }
        };
        for id in ids {
            let removed = engine.remove(&id).await;
            removed.map_err(|source| self.engine_failed("remove the container", entry, source))?;
        }
        Ok(())
    }
}

fn remove_directory(entry: &Entry) -> Result<()> {
    match std::fs::remove_dir_all(&entry.directory) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            let path = entry.directory.display().to_string();
            Err(Error::Files {
                attempt: "remove",
                path,
                source,
            })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
