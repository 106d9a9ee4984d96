//! Taking a container apart: every step is tried, each can be repeated, and the container is forgotten only when all
//! succeeded.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::ContainerId;
use tokio::time::Instant;

use super::entry::Entry;
use super::{Error, LABEL_INSTANCE, Result, Slot, Supervisor};
use crate::container::{Handle, State};
use crate::fault;
use crate::inventory::Record;

impl Supervisor {
    /// Destroy a container and everything in it.
    pub async fn destroy(&self, handle: &Handle) -> Result<()> {
        let entry = self.entry(handle)?;
        self.destroy_entry(&entry).await
    }

    /// Destroy a container unless a client has come for it in the meantime. Says whether it did.
    pub(super) async fn destroy_if_idle(&self, entry: &Arc<Entry>) -> Result<bool> {
        if entry.destroying.swap(true, Ordering::AcqRel) {
            return Err(Error::BeingDestroyed {
                handle: entry.handle.clone(),
            });
        }
        // From here on a client is told that the container is being destroyed; one that was faster keeps it.
        if entry.idle.borrow().holds > 0 {
            entry.destroying.store(false, Ordering::Release);
            return Ok(false);
        }
        self.destroy_marked(entry).await.map(|()| true)
    }

    async fn destroy_entry(&self, entry: &Arc<Entry>) -> Result<()> {
        if entry.destroying.swap(true, Ordering::AcqRel) {
            return Err(Error::BeingDestroyed {
                handle: entry.handle.clone(),
            });
        }
        self.destroy_marked(entry).await
    }

    /// In a task of its own: a client that goes away must not leave a container half destroyed.
    async fn destroy_marked(&self, entry: &Arc<Entry>) -> Result<()> {
        let supervisor = self.clone();
        let entry = entry.clone();
        self.to_the_end(async move {
            let _life = entry.life.lock().await;
            let destroying = |record: &mut Record| record.state = State::Destroying;
            let result = match entry.change(&supervisor.parts().inventory, destroying).await {
                Ok(()) => {
                    fault::point("destroy/marked");
                    supervisor.take_apart(&entry).await
                }
                Err(error) => Err(error),
            };
            if result.is_err() {
                entry.destroying.store(false, Ordering::Release);
            }
            result
        })
        .await
    }

    /// Undo everything that makes up the container, whatever of it there is.
    pub(super) async fn take_apart(&self, entry: &Arc<Entry>) -> Result<()> {
        // The rules go first: the engine gives a removed container's address to the next one.
        let ports = self.release_ports(entry).await;
        // What has their network and their cgroup goes before what gives it.
        let peas = self.take_peas_apart(entry).await;
        let removed = self.remove_from_engine(entry).await;
        if removed.is_ok() {
            entry.link.close();
            fault::point("destroy/link-closed");
        }
        ports?;
        peas?;
        removed?;
        self.tell_destroyed(entry);
        remove_directory(&entry.directory)?;
        fault::point("destroy/directory-removed");
        entry.log.remove().map_err(|source| Error::Files {
            attempt: "remove the logs of",
            path: entry.handle.to_string(),
            source,
        })?;
        entry.forget(&self.parts().inventory).await?;
        fault::point("destroy/record-forgotten");
        self.free_slot(
            &entry.handle,
            |slot| matches!(slot, Slot::Taken(taken) if Arc::ptr_eq(taken, entry)),
        );
        fault::point("destroy/handle-freed");
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
                if found.is_empty() && entry.unanswered.load(Ordering::Acquire) {
                    // The engine may still be at it.
                    self.repairs().expect_late(&entry.instance, Instant::now());
                }
                found.into_iter().map(|container| container.id).collect()
            }
        };
        fault::point("destroy/engine-removing");
        for id in ids {
            let removed = engine.remove(&id).await;
            removed.map_err(|source| self.engine_failed("remove the container", entry, source))?;
        }
        fault::point("destroy/engine-removed");
        Ok(())
    }
}

pub(super) fn remove_directory(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            let path = directory.display().to_string();
            Err(Error::Files {
                attempt: "remove",
                path,
                source,
            })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
