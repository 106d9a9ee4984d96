//! Taking over what an earlier fence left: records first, without the engine; then what the engine says of them.
//!
//! Running containers are adopted, half-made ones are undone, half-destroyed ones are finished. What carries this
//! node's label and is in no record is removed once it is old enough not to be somebody's work in progress.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use engine::{Container, ContainerState};

use super::entry::Entry;
use super::{Error, LABEL_INSTANCE, Result, Slot, Supervisor};
use crate::container::State;
use crate::init::Link;
use crate::inventory::Record;
use crate::network::PortGuard;

/// How old a container without a record must be before it is removed, in seconds.
const STRAY_AFTER: i64 = 60;

impl Supervisor {
    /// Take over every container of the inventory. Needs no engine, so that fence is there at once.
    pub async fn adopt(&self) -> Result<usize> {
        let records = self.parts().inventory.all().await;
        let records = records.map_err(|source| Error::Inventory {
            what: "what is there".into(),
            source,
        })?;
        let count = records.len();
        for record in records {
            let handle = record.handle.clone();
            if let Err(error) = self.adopt_record(record.clone()) {
                tracing::error!(%handle, error = error.chain(), "could not take over a container; will try again");
                self.unadopted().push(record);
            }
        }
        // Rules may be left of ports that are no longer anybody's.
        self.inner.filtered.store(true, Ordering::Release);
        if let Err(error) = self.apply_forwards().await {
            tracing::error!(error = error.chain(), "could not lead ports to containers");
        }
        self.inner.ready.store(true, Ordering::Release);
        Ok(count)
    }

    fn adopt_record(&self, record: Record) -> Result<()> {
        let directory = self.parts().run_dir.join(&record.instance);
        let (link, events) = Link::listen(&directory).map_err(|error| Error::InitUnreachable {
            handle: record.handle.clone(),
            reason: error.to_string(),
        })?;
        if record.pid != 0 {
            link.expect(record.pid);
        }
        let ports: Vec<PortGuard> = record
            .ports
            .iter()
            .filter_map(|port| self.parts().ports.again(port.host_port))
            .collect();
        let entry = Arc::new(Entry::new(record, link, directory, ports));
        self.table().insert(entry.handle.clone(), Slot::Taken(entry.clone()));
        self.watch_entry(&entry, events);
        self.watch_grace(&entry);
        Ok(())
    }

    /// Compare what is recorded with what the engine has, and act on the difference. Safe to repeat at any time.
    pub async fn reconcile(&self) -> Result<()> {
        // The records first: what appears in the engine only later is newer than this look.
        let entries = self.entries();
        let found = self.parts().engine.list(&self.labels()).await;
        let found = found.map_err(|source| Error::Engine {
            attempt: "list",
            what: "the containers".into(),
            source,
        })?;
        let by_instance: HashMap<&str, &Container> = found
            .iter()
            .filter_map(|container| Some((container.labels.get(LABEL_INSTANCE)?.as_str(), container)))
            .collect();
        self.adopt_again();
        for entry in &entries {
            self.reconcile_entry(entry, by_instance.get(entry.instance.as_str()).copied())
                .await;
        }
        self.remove_strays(&found).await;
        self.apply_forwards().await
    }

    /// Whether a create or a destroy was cut off and nobody is at work on it: [`Supervisor::reconcile`] ends it.
    pub fn has_unfinished(&self) -> bool {
        self.entries().iter().any(|entry| {
            let cut_off = matches!(entry.record().state, State::Creating | State::Destroying);
            cut_off && entry.life.try_lock().is_ok()
        })
    }

    async fn reconcile_entry(&self, entry: &Arc<Entry>, seen: Option<&Container>) {
        // Whoever holds its life is at work on it, and will leave it right.
        let Ok(life) = entry.life.try_lock() else { return };
        let state = entry.record().state;
        match (state, seen) {
            (State::Creating | State::Destroying, _) => {
                drop(life);
                self.finish(entry).await;
            }
            (State::Active | State::Stopped, seen) => {
                let runs = seen.is_some_and(|seen| seen.state == ContainerState::Running);
                let is_idle = seen.is_some() && entry.record().pid == 0;
                // Running without its init connected may mean that somebody else has started it anew.
                let is_known = runs && entry.link.is_connected();
                if !(is_idle || is_known) {
                    self.may_have_died(entry).await;
                }
                self.stop_after_main(entry).await;
            }
            (State::Lost, _) => {}
        }
    }

    /// Try again to take over what could not be at the start.
    fn adopt_again(&self) {
        let records = std::mem::take(&mut *self.unadopted());
        for record in records {
            if self.adopt_record(record.clone()).is_err() {
                self.unadopted().push(record);
            }
        }
    }

    fn unadopted(&self) -> MutexGuard<'_, Vec<Record>> {
        self.inner.unadopted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Undo a create or end a destroy that was cut off.
    async fn finish(&self, entry: &Arc<Entry>) {
        if entry.destroying.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::info!(handle = %entry.handle, "cleaning up a container that was cut off while being made or destroyed");
        let _life = entry.life.lock().await;
        if let Err(error) = self.take_apart(entry).await {
            entry.destroying.store(false, Ordering::Release);
            tracing::warn!(handle = %entry.handle, error = error.chain(), "could not clean up; will try again");
        }
    }

    /// Remove containers that carry this node's label and are in no record, readable or not.
    async fn remove_strays(&self, found: &[Container]) {
        let recorded = match self.parts().inventory.instances().await {
            Ok(recorded) => recorded,
            Err(error) => return tracing::warn!(%error, "cannot tell strays; leaving all containers alone"),
        };
        let now = jiff::Timestamp::now().as_second();
        for container in found {
            let Some(instance) = container.labels.get(LABEL_INSTANCE) else {
                continue;
            };
            if recorded.contains(instance) || now - container.created < STRAY_AFTER {
                continue;
            }
            tracing::warn!(
                instance,
                engine_id = container.id.0,
                "removing a container of this node that no record knows"
            );
            if let Err(error) = self.parts().engine.remove(&container.id).await {
                tracing::warn!(instance, %error, "could not remove it; will try again");
            }
        }
    }
}
