//! The end of a pea: when its process has ended and was forgotten, when somebody else has ended it, or with its container.
//! Every step can be repeated, and the pea is forgotten when all succeeded. Callers hold the container's life.

use std::collections::HashMap;
use std::sync::Arc;

use engine::{Container, ContainerId, ContainerState};
use futures_util::future::join_all;

use super::super::destroy::remove_directory;
use super::super::entry::Entry;
use super::super::{Result, Supervisor};
use super::LABEL_PEA;
use crate::fault;
use crate::inventory::PeaRecord;

impl Supervisor {
    /// Remove one pea and all that belongs to it. Whoever waits for its process is told that it was killed.
    pub(super) async fn remove_pea(&self, entry: &Arc<Entry>, instance: &str) -> Result<()> {
        let record = entry.record().peas.iter().find(|pea| pea.instance == instance).cloned();
        let Some(record) = record else { return Ok(()) };
        self.take_pea_apart(entry, &record).await?;
        fault::point("pea/removed");
        entry
            .change(&self.parts().inventory, |of| {
                of.peas.retain(|pea| pea.instance != instance)
            })
            .await
    }

    /// The same, where the next comparison tries again.
    pub(super) async fn remove_pea_or_warn(&self, entry: &Arc<Entry>, instance: &str) {
        if let Err(error) = self.remove_pea(entry, instance).await {
            tracing::warn!(handle = %entry.handle, instance, error = error.chain(),
                "could not remove the container of a process; will try again");
        }
    }

    /// Remove all peas of a container that is ending; their records go with the container's.
    pub(in crate::supervisor) async fn take_peas_apart(&self, entry: &Arc<Entry>) -> Result<()> {
        let records = entry.record().peas.clone();
        let removed = join_all(records.iter().map(|record| self.take_pea_apart(entry, record))).await;
        removed.into_iter().collect()
    }

    /// Remove all peas of a container that stays and whose processes have all ended.
    pub(in crate::supervisor) async fn remove_peas(&self, entry: &Arc<Entry>) {
        let records = entry.record().peas.clone();
        for record in records {
            self.remove_pea_or_warn(entry, &record.instance).await;
        }
    }

    async fn take_pea_apart(&self, entry: &Arc<Entry>, record: &PeaRecord) -> Result<()> {
        let engine = &self.parts().engine;
        let failed = |source| self.engine_failed("remove the container of a process in", entry, source);
        let ids = match record.engine_id.is_empty() {
            false => vec![ContainerId(record.engine_id.clone())],
            // The answer to its create may have been lost, so ask by label.
            true => {
                let mut labels = self.labels();
                labels.insert(LABEL_PEA.to_owned(), record.instance.clone());
                let found = engine.list(&labels).await.map_err(failed)?;
                found.into_iter().map(|container| container.id).collect()
            }
        };
        for id in ids {
            engine.remove(&id).await.map_err(failed)?;
        }
        let pea = entry.peas().get(&record.process).cloned();
        if let Some(pea) = pea.filter(|pea| pea.instance == record.instance) {
            pea.link.close();
            remove_directory(&pea.directory)?;
            entry.peas().remove(&record.process);
            return Ok(());
        }
        remove_directory(&self.parts().run_dir.join(&record.instance))
    }

    /// Compare the peas that are recorded with what the engine has.
    pub(in crate::supervisor) async fn settle_peas(&self, entry: &Arc<Entry>, found: &HashMap<String, Container>) {
        let records = entry.record().peas.clone();
        for record in records {
            let runs = found
                .get(&record.instance)
                .is_some_and(|seen| seen.state == ContainerState::Running);
            if !record.runs || self.is_forgotten(entry, &record) || !runs && self.has_died(entry, &record).await {
                self.remove_pea_or_warn(entry, &record.instance).await;
            }
        }
    }

    /// Its process ended and nobody needs it any more, and fence was not there to remove the rest.
    fn is_forgotten(&self, entry: &Entry, record: &PeaRecord) -> bool {
        let pea = entry.peas().get(&record.process).cloned();
        pea.is_some_and(|pea| pea.link.is_connected() && pea.link.process(&record.process).is_none())
    }

    /// Whether the engine says clearly that its first process is no more.
    async fn has_died(&self, entry: &Entry, record: &PeaRecord) -> bool {
        match self
            .parts()
            .engine
            .inspect(&ContainerId(record.engine_id.clone()))
            .await
        {
            Ok(now) => now.pid == 0 || now.pid != record.pid,
            Err(error) if error.is_not_found() => true,
            Err(error) => {
                tracing::warn!(handle = %entry.handle, %error, "could not ask how the container of a process is");
                false
            }
        }
    }

    /// Something happened to a container in the engine: where it is a pea's, see whether it ended. Says whose it is.
    pub(in crate::supervisor) async fn pea_event(&self, id: &ContainerId, died: bool) -> Option<Arc<Entry>> {
        let of = |entry: &Arc<Entry>| {
            let record = entry.record();
            record.peas.iter().find(|pea| pea.engine_id == id.0).cloned()
        };
        let (entry, record) = self
            .entries()
            .into_iter()
            .find_map(|entry| of(&entry).map(|record| (entry, record)))?;
        if died {
            let _life = entry.life.lock().await;
            // It may have been removed meanwhile, by whoever has ended it.
            if of(&entry).is_some() && self.has_died(&entry, &record).await {
                self.remove_pea_or_warn(&entry, &record.instance).await;
            }
        }
        Some(entry)
    }
}
