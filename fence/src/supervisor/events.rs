//! What the supervisor tells of containers, and who may hear it.
//!
//! The end of something is told before it is recorded: a fence that is killed in between tells it again rather than
//! never.

use std::sync::Arc;

use tokio::sync::watch;

use super::Supervisor;
use super::entry::Entry;
use crate::container::{ProcessId, State};
use crate::events::{Batch, What};
use crate::init::Exit;

impl Supervisor {
    /// At most so many events after this number, of this container where one is given.
    pub fn events_after(&self, number: u64, container: Option<&str>, most: usize) -> Batch {
        self.parts().events.after(number, container, most)
    }

    /// The number of the last event, as it grows.
    pub fn last_event(&self) -> watch::Receiver<u64> {
        self.parts().events.last()
    }

    /// Something happened to a container.
    pub(super) fn tell(&self, entry: &Entry, what: What) {
        self.parts().events.tell(&entry.handle, &entry.instance, what);
    }

    pub(super) fn tell_created(&self, entry: &Entry) {
        self.tell(entry, What::Created);
        if entry.record().started {
            self.tell_started(entry);
        }
    }

    pub(super) fn tell_started(&self, entry: &Entry) {
        let command = entry.record().main.command.clone();
        self.tell(entry, What::Started { command });
    }

    /// A container's processes were ended, for this reason, and main like this where it ran.
    pub(super) fn tell_stopped(&self, entry: &Entry, main: Option<Exit>, reason: &str) {
        let (started, state) = {
            let record = entry.record();
            (record.started, record.state)
        };
        if let Some(exit) = main.filter(|_| started) {
            let exit_status = exit.status();
            self.tell(entry, What::MainEnded { exit_status });
        }
        if state == State::Active {
            let reason = reason.to_owned();
            self.tell(entry, What::Stopped { reason });
        }
    }

    /// A process other than main ended.
    pub(super) fn tell_ended(&self, entry: &Arc<Entry>, process: ProcessId, exit: Exit) {
        // Of a container that goes, that is told.
        if !entry.is_being_destroyed() {
            let exit_status = exit.status();
            self.tell(entry, What::ProcessEnded { process, exit_status });
        }
    }

    /// Its first process ended behind fence's back, or all of it is gone.
    pub(super) fn tell_died(&self, entry: &Entry, state: State, reason: &str) {
        if entry.record().started {
            let exit_status = Exit::Signal(nix::libc::SIGKILL).status();
            self.tell(entry, What::MainEnded { exit_status });
        }
        let reason = reason.to_owned();
        self.tell(
            entry,
            match state {
                State::Lost => What::Lost { reason },
                _ => What::Died { reason },
            },
        );
    }

    /// All of it is gone; nothing where nobody was ever told that it was there.
    pub(super) fn tell_destroyed(&self, entry: &Entry) {
        if entry.record().state == State::Destroying {
            self.tell(entry, What::Destroyed);
        }
    }
}
