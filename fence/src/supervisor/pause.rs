//! Pause and resume: all processes of a container are frozen, its first one too, and go on.
//!
//! The engine does it; the record says what was last known, and a comparison puts it right. A frozen container is
//! asked for nothing: what needs an answer of it is refused at once.

use std::sync::Arc;

use engine::ContainerId;

use super::entry::Entry;
use super::{Error, Result, Supervisor};
use crate::container::{ContainerInfo, Handle, State};
use crate::events::What;

impl Supervisor {
    /// Freeze all processes of a container. One that is frozen stays so.
    pub async fn pause(&self, handle: &Handle) -> Result<ContainerInfo> {
        let entry = self.entry(handle)?;
        let supervisor = self.clone();
        self.to_the_end(async move {
            let _life = entry.life.lock().await;
            supervisor.pause_entry(&entry).await?;
            Ok(supervisor.describe(&entry))
        })
        .await
    }

    /// Have a frozen container go on. One that is not frozen goes on anyway.
    pub async fn resume(&self, handle: &Handle) -> Result<ContainerInfo> {
        let entry = self.entry(handle)?;
        let supervisor = self.clone();
        self.to_the_end(async move {
            let _life = entry.life.lock().await;
            supervisor.check_freezable(&entry, "resume the processes")?;
            supervisor.resume_entry(&entry).await?;
            Ok(supervisor.describe(&entry))
        })
        .await
    }

    async fn pause_entry(&self, entry: &Arc<Entry>) -> Result<()> {
        self.check_freezable(entry, "pause the processes")?;
        if entry.record().paused {
            return Ok(());
        }
        let id = ContainerId(entry.record().engine_id.clone());
        let paused = self.parts().engine.pause(&id).await;
        paused.map_err(|source| self.engine_failed("pause the container", entry, source))?;
        self.note_paused(entry, true).await
    }

    /// The same as [`Supervisor::resume`], by whoever holds the entry's life.
    pub(super) async fn resume_entry(&self, entry: &Arc<Entry>) -> Result<()> {
        let id = ContainerId(entry.record().engine_id.clone());
        let resumed = self.parts().engine.resume(&id).await;
        resumed.map_err(|source| self.engine_failed("resume the container", entry, source))?;
        let paused = entry.record().paused;
        if paused {
            self.note_paused(entry, false).await?;
        }
        Ok(())
    }

    pub(super) async fn note_paused(&self, entry: &Arc<Entry>, paused: bool) -> Result<()> {
        let note = |record: &mut crate::inventory::Record| record.paused = paused;
        entry.change(&self.parts().inventory, note).await?;
        self.tell(entry, if paused { What::Paused } else { What::Resumed });
        Ok(())
    }

    fn check_freezable(&self, entry: &Entry, attempt: &'static str) -> Result<()> {
        let wrong = |state| {
            Err(Error::WrongState {
                handle: entry.handle.clone(),
                attempt,
                state,
            })
        };
        let record = entry.record();
        match record.state {
            _ if entry.is_being_destroyed() => wrong("being destroyed"),
            State::Active | State::Stopped if record.pid == 0 => wrong("not running; start it first"),
            State::Active | State::Stopped => Ok(()),
            State::Creating => wrong("being made"),
            State::Lost => wrong("lost: the engine no longer has it"),
            State::Destroying => wrong("being destroyed"),
        }
    }
}
