//! After the machine was started anew: containers that were active are started again, and their main processes.
//!
//! What is to come back is noted in each record before anything is done about it, so that a fence which is killed in
//! the middle leaves the rest to the next one. Stopped containers stay as they are.

use std::sync::Arc;

use engine::{Container, ContainerId, ContainerState};
use tokio::time::Instant;

use super::entry::Entry;
use super::process::init_failed;
use super::repair::Subject;
use super::{Result, Supervisor};
use crate::container::{ProcessId, State};
use crate::fault;

impl Supervisor {
    /// Note of every active container that it is to come back; comparing brings it back. For a fence that is the first
    /// since the machine was started, after [`Supervisor::adopt`].
    pub async fn machine_was_started(&self) -> Result<()> {
        let mut noted = Ok(());
        for entry in self.entries() {
            {
                let mut record = entry.record();
                if record.state != State::Active || record.pid == 0 {
                    continue;
                }
                // It comes back also where that cannot be written now.
                record.comes_back = true;
            }
            let written = entry.change(&self.parts().inventory, |_| ()).await;
            fault::point("comeback/noted");
            noted = noted.and(written);
        }
        noted
    }

    /// Start a container again that ended with the machine, as far as it does not run; the caller holds its life. Says
    /// whether it is back, or gone for good; what failed is tried again later.
    pub(super) async fn bring_back(&self, entry: &Arc<Entry>, seen: Option<&Container>) -> Result<bool> {
        let subject = Subject::Comeback(entry.instance.clone());
        if self.check_time_left().is_err() {
            let event = "not started again after the machine was: the node is retired".to_owned();
            self.note_stopped(entry, "the node is retired", Some(event)).await?;
            self.repairs().done(&subject);
            return Ok(true);
        }
        if !self.repairs().is_due(&subject, Instant::now()) {
            return Ok(false);
        }
        let back = self.start_again(entry, seen).await;
        match &back {
            Ok(()) => self.repairs().done(&subject),
            Err(error) => {
                let what = format!(
                    "container {} could not be started again after the machine was",
                    entry.handle
                );
                self.repairs().failed(&subject, Instant::now(), what, error.chain());
            }
        }
        back.map(|()| true)
    }

    async fn start_again(&self, entry: &Arc<Entry>, seen: Option<&Container>) -> Result<()> {
        let inventory = &self.parts().inventory;
        if let Some(seen) = seen {
            if seen.state == ContainerState::Running {
                // Nothing was started anew, or this is a further try.
                self.adopt_first_process(entry).await?;
            } else {
                tracing::info!(handle = %entry.handle, "starting a container again that ended with the machine");
                self.run_first_process(entry, &ContainerId(seen.id.0.clone())).await?;
                fault::point("comeback/first-process-runs");
            }
            let connected = entry.link.connected().await;
            connected.map_err(|error| init_failed(&entry.handle, error))?;
            if !entry.record().ports.is_empty() {
                self.apply_forwards().await?;
            }
            let (started, command) = {
                let record = entry.record();
                (record.started, record.main.command.clone())
            };
            if started && entry.link.process(&ProcessId::main()).is_none() {
                self.spawn_main(entry, command).await?;
                self.tell_started(entry);
                fault::point("comeback/main-spawned");
            }
        }
        entry.change(inventory, |record| record.comes_back = false).await
    }
}
