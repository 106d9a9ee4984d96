//! Taking over what an earlier fence left, from the records alone: fence is there at once, whatever the engine does.
//!
//! What the engine says of it is compared afterwards; see [`super::reconcile`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::create::listen_failed;
use super::entry::Entry;
use super::repair::Subject;
use super::{Error, Result, Slot, Supervisor};
use crate::fault;
use crate::init::Link;
use crate::inventory::Record;
use crate::network::PortGuard;

impl Supervisor {
    /// Take over every container of the inventory. Needs no engine.
    pub async fn adopt(&self) -> Result<usize> {
        let records = self.parts().inventory.all().await;
        let records = records.map_err(|source| Error::Inventory {
            what: "what is there".into(),
            source,
        })?;
        fault::point("adopt/records-read");
        let count = records.len();
        for record in records {
            self.adopt_or_keep(record);
            fault::point("adopt/taken-over");
        }
        // Rules may be left of ports that are no longer anybody's.
        self.inner.filtered.store(true, Ordering::Release);
        if let Err(error) = self.repair_rules().await {
            tracing::error!(error = error.chain(), "could not lead ports to containers");
        }
        fault::point("adopt/rules-applied");
        // The engine may still be at what an earlier fence has asked it for and forgotten.
        self.repairs().expect_late("", Instant::now());
        self.inner.ready.store(true, Ordering::Release);
        Ok(count)
    }

    /// Try again to take over what could not be.
    pub(super) fn adopt_again(&self) {
        // Each stays in the list until it is in the table, so that its handle is nobody else's at any moment.
        let records = self.unadopted().clone();
        for record in records {
            self.try_to_adopt(record);
        }
    }

    pub(super) fn adopt_or_keep(&self, record: Record) {
        self.unadopted().push(record.clone());
        self.try_to_adopt(record);
    }

    fn try_to_adopt(&self, record: Record) {
        let now = Instant::now();
        let subject = Subject::Record(record.handle.to_string());
        if !self.repairs().is_due(&subject, now) {
            return;
        }
        let (handle, instance) = (record.handle.clone(), record.instance.clone());
        match self.adopt_record(record) {
            Ok(()) => {
                self.unadopted().retain(|record| record.instance != instance);
                self.repairs().done(&subject);
            }
            Err(error) => {
                let why = error.chain();
                tracing::error!(%handle, error = why, "could not take over a container; will try again");
                let what = format!("container {handle} could not be taken over");
                self.repairs().failed(&subject, now, what, why);
            }
        }
    }

    fn adopt_record(&self, record: Record) -> Result<()> {
        let directory = self.parts().run_dir.join(&record.instance);
        let (link, events) = Link::listen(&directory).map_err(|error| listen_failed(&record.handle, error))?;
        if record.pid != 0 {
            link.expect(record.pid);
        }
        let ports: Vec<PortGuard> = record
            .ports
            .iter()
            .filter_map(|port| self.parts().ports.again(port.host_port))
            .collect();
        let log = self.parts().logs.log(&record.instance);
        let entry = Arc::new(Entry::new(record, link, directory, ports, log));
        let unanswered = entry.record().engine_id.is_empty();
        entry.unanswered.store(unanswered, Ordering::Release);
        self.adopt_peas(&entry)?;
        self.table().insert(entry.handle.clone(), Slot::Taken(entry.clone()));
        self.watch_entry(&entry, events);
        self.watch_grace(&entry);
        Ok(())
    }
}
