//! What happens to containers without anyone asking for it: their main process ends, the kernel or somebody at the
//! engine's own controls ends them.

use std::sync::{Arc, Weak};

use engine::{ContainerId, Event, EventKind};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Supervisor;
use super::entry::Entry;
use crate::container::{ProcessId, State};
use crate::events::What;
use crate::init::LinkEvent;

impl Supervisor {
    /// Watch over one container's processes for as long as it is there.
    pub(super) fn watch_entry(&self, entry: &Arc<Entry>, mut events: mpsc::UnboundedReceiver<LinkEvent>) {
        let supervisor = self.clone();
        let entry: Weak<Entry> = Arc::downgrade(entry);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let Some(entry) = entry.upgrade() else { return };
                let concerns_main = match event {
                    // Main may have ended while nobody was connected.
                    LinkEvent::Connected => {
                        supervisor.keep_logs(&entry);
                        true
                    }
                    LinkEvent::Ended { id, .. } if id == ProcessId::main() => true,
                    // Fence's own are nobody's business.
                    LinkEvent::Ended { id, .. } if id.is_internal() => false,
                    LinkEvent::Ended { id, exit } => {
                        supervisor.tell_ended(&entry, id, exit);
                        false
                    }
                    LinkEvent::Collected { .. } => false,
                };
                if concerns_main {
                    supervisor.main_may_have_ended(&entry).await;
                }
            }
        });
    }

    /// The end of the process `main` stops the container.
    async fn main_may_have_ended(&self, entry: &Arc<Entry>) {
        let _life = entry.life.lock().await;
        self.stop_after_main(entry).await;
        if let Err(error) = self.settle_main(entry).await {
            tracing::warn!(handle = %entry.handle, error = error.chain(), "could not record how its main process is");
        }
    }

    /// The same, by whoever holds the entry's life.
    pub(super) async fn stop_after_main(&self, entry: &Arc<Entry>) {
        let main = entry.link.process(&ProcessId::main());
        let has_ended = main.is_some_and(|main| main.exit().is_some());
        if entry.is_being_destroyed() || !entry.record().started || !has_ended {
            return;
        }
        tracing::info!(handle = %entry.handle, "the main process has ended; stopping the container");
        if let Err(error) = self.stop_entry(entry, true, "its main process ended").await {
            tracing::warn!(handle = %entry.handle, error = error.chain(), "could not stop after the main process ended");
        }
    }

    /// Something happened in the engine to a container of this node.
    pub async fn engine_event(&self, event: &Event) {
        match &event.kind {
            EventKind::Died { id, .. } => self.died(id).await,
            EventKind::Removed(id) => self.removed(id).await,
            EventKind::OutOfMemory(id) => self.out_of_memory(id).await,
            EventKind::ImageChanged(_) => self.parts().images.nudge(),
            EventKind::Created(_) | EventKind::Started(_) => {}
        }
    }

    /// The engine answers again after it was away: what it could not give may be there now.
    pub fn engine_is_back(&self) {
        self.parts().images.nudge();
        self.forget_engine_disk();
        self.repairs().try_again(Instant::now());
    }

    fn by_engine_id(&self, id: &ContainerId) -> Option<Arc<Entry>> {
        self.entries()
            .into_iter()
            .find(|entry| entry.record().engine_id == id.0)
    }

    async fn died(&self, id: &ContainerId) {
        let Some(entry) = self.by_engine_id(id) else {
            self.pea_event(id, true).await;
            return;
        };
        let _life = entry.life.lock().await;
        self.may_have_died(&entry).await;
    }

    async fn removed(&self, id: &ContainerId) {
        let Some(entry) = self.by_engine_id(id) else {
            self.pea_event(id, true).await;
            return;
        };
        let _life = entry.life.lock().await;
        self.may_have_died(&entry).await;
    }

    /// A container's first process may have ended, and with it all others, or the container may be gone: ask the
    /// engine about this very one, and believe nothing but a clear answer. The caller holds the entry's life.
    pub(super) async fn may_have_died(&self, entry: &Arc<Entry>) {
        let (known, state, comes_back) = {
            let record = entry.record();
            (record.pid, record.state, record.comes_back)
        };
        if entry.is_being_destroyed() || comes_back || !matches!(state, State::Active | State::Stopped) {
            return;
        }
        let id = ContainerId(entry.record().engine_id.clone());
        match self.parts().engine.inspect(&id).await {
            Ok(now) if now.pid != 0 && now.pid == known => {}
            Ok(_) if known == 0 => {}
            Ok(_) => {
                self.note(entry, State::Stopped, "ended by the engine or the kernel")
                    .await
            }
            Err(error) if error.is_not_found() => {
                self.note(entry, State::Lost, "removed from the engine by somebody else")
                    .await;
            }
            // The next comparison asks again.
            Err(error) => tracing::warn!(handle = %entry.handle, %error, "could not ask how a container is"),
        }
    }

    async fn note(&self, entry: &Arc<Entry>, state: State, event: &str) {
        tracing::warn!(handle = %entry.handle, event, "something happened to a container behind fence's back");
        entry.link.ended();
        self.tell_died(entry, state, event);
        let noted = entry
            .change(&self.parts().inventory, |record| {
                if record.started {
                    record.main.exit_status = Some(128 + nix::libc::SIGKILL);
                }
                record.state = state;
                record.started = false;
                record.paused = false;
                record.pid = 0;
                record.ip.clear();
                record.events.push(event.to_owned());
            })
            .await;
        if let Err(error) = noted {
            tracing::error!(handle = %entry.handle, error = error.chain(), "could not record what happened to a container");
        }
        self.remove_peas(entry).await;
        // Its address may soon be another container's.
        if !entry.record().ports.is_empty()
            && let Err(error) = self.apply_forwards().await
        {
            tracing::error!(handle = %entry.handle, error = error.chain(), "could not take away the rules of its ports");
        }
    }

    async fn out_of_memory(&self, id: &ContainerId) {
        let entry = match self.by_engine_id(id) {
            Some(entry) => Some(entry),
            None => self.pea_event(id, false).await,
        };
        let Some(entry) = entry else { return };
        self.tell(&entry, What::OutOfMemory);
        // Garden's own words.
        let event = "Out of memory".to_owned();
        if let Err(error) = entry
            .change(&self.parts().inventory, |record| record.events.push(event))
            .await
        {
            tracing::error!(handle = %entry.handle, error = error.chain(), "could not record that memory ran out");
        }
    }
}
