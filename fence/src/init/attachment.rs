//! A client's hold on a process: its outputs, its exit, and what can be done to it.

use std::sync::{Arc, Mutex, PoisonError};

use fence_init::protocol::Stream;

use super::Exit;
use super::control::ProcessControl;
use super::link::Link;
use super::output::OutputReader;
use super::process::Process;
use super::session::Session;

/// One client's attachment to a process. The attachment ends when this and the readers taken from it are dropped.
pub struct Attachment {
    process: Arc<Process>,
    tty: bool,
    control: ProcessControl,
    outputs: Mutex<Vec<(Stream, OutputReader)>>,
}

impl Attachment {
    pub(super) fn new(
        link: Link,
        lifetime: u64,
        session: Session,
        process: Arc<Process>,
        tty: bool,
        outputs: Vec<(Stream, OutputReader)>,
    ) -> Self {
        let control = ProcessControl::new(link, lifetime, session, process.clone());
        Attachment {
            process,
            tty,
            control,
            outputs: Mutex::new(outputs),
        }
    }

    /// The process attached to.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Whether all output comes on [`Stream::Stdout`], from a terminal.
    pub fn has_tty(&self) -> bool {
        self.tty
    }

    /// The reader of a stream; each can be taken once.
    pub fn take_output(&self, stream: Stream) -> Option<OutputReader> {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let at = outputs.iter().position(|(name, _)| *name == stream)?;
        Some(outputs.swap_remove(at).1)
    }

    /// What can be done to the process.
    pub fn control(&self) -> ProcessControl {
        self.control.clone()
    }

    /// Wait until the process has ended, whatever of its output was read.
    pub async fn wait(&self) -> Exit {
        self.process.wait().await
    }
}
