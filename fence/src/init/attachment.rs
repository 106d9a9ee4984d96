//! A client's hold on a process: its outputs, its exit, and what can be done to it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use fence_init::protocol::{FromInit, MAX_DATA, Stream, ToInit};

use super::output::OutputReader;
use super::process::Process;
use super::session::Session;
use super::{Error, Exit, Result};
use crate::container::WindowSize;

/// The attachment at init: ended when nothing holds it any more.
pub(super) struct Lease {
    pub(super) session: Session,
    pub(super) number: u32,
    pub(super) process: Arc<Process>,
}

impl Lease {
    pub(super) fn new(session: Session, number: u32, process: Arc<Process>) -> Arc<Lease> {
        process.attached();
        Arc::new(Lease {
            session,
            number,
            process,
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.close_outlets(self.number);
        self.session.tell(&ToInit::Detach {
            attachment: self.number,
        });
        self.process.detached();
    }
}

/// One client's attachment to a process. The attachment ends when this and the readers taken from it are dropped.
pub struct Attachment {
    process: Arc<Process>,
    tty: bool,
    control: ProcessControl,
    outputs: Mutex<Vec<(Stream, OutputReader)>>,
}

impl Attachment {
    pub(super) fn new(
        process: Arc<Process>,
        session: Session,
        tty: bool,
        outputs: Vec<(Stream, OutputReader)>,
    ) -> Self {
        let control = ProcessControl {
            process: process.clone(),
            session,
        };
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

/// Who sends input, and may send it again after fence was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputSource {
    pub(super) name: u64,
    pub(super) at: u64,
}

impl InputSource {
    /// Where in the whole of its input the next piece begins.
    pub fn position(&self) -> u64 {
        self.at
    }
}

/// A place in the input of a process, as far as this connection to its init goes.
#[derive(Clone, Copy, Debug)]
pub struct Written(u64);

/// What can be done to a process by whoever is attached to it.
#[derive(Clone)]
pub struct ProcessControl {
    process: Arc<Process>,
    session: Session,
}

impl ProcessControl {
    /// Pass on input, of a source where one is given; waits while the process does not read. What comes after its end is
    /// thrown away.
    pub async fn write(&self, mut data: Bytes, mut source: Option<&mut InputSource>) -> Result<Written> {
        let mut written = Written(0);
        while !data.is_empty() {
            let part = data.split_to(data.len().min(MAX_DATA));
            let Ok(room) = self.process.input_window.acquire_many(part.len() as u32).await else {
                break;
            };
            room.forget();
            let length = part.len() as u64;
            written = Written(self.process.input_sent(length));
            match &mut source {
                Some(source) => {
                    self.session.input_from(self.process.number, source, &part)?;
                    // Where it began is init's word.
                    source.at = source.at.saturating_add(length);
                }
                None => self.session.input(self.process.number, &part)?,
            }
        }
        Ok(written)
    }

    /// Wait until init has passed on what was written until then, or nobody will ever read it.
    pub async fn passed_on(&self, written: Written) {
        self.process.input_passed(written.0).await;
    }

    /// The source of this name with what the process has of its input; `None` where its init knows of no sources.
    pub async fn input_source(&self, name: u64) -> Result<Option<InputSource>> {
        if !self.session.knows_input_sources() {
            return Ok(None);
        }
        let process = self.process.number;
        let ask = |seq| ToInit::InputSource {
            seq,
            process,
            source: name,
        };
        match self.session.ask(ask).await? {
            FromInit::InputSource { upto, .. } => Ok(Some(InputSource { name, at: upto })),
            _ => Err(Error::Unreachable("it gave an answer to another question".into())),
        }
    }

    /// The input has come to its end.
    pub fn close_input(&self) {
        self.session.tell(&ToInit::CloseInput {
            process: self.process.number,
        });
    }

    /// Send a signal. One that has ended is past caring.
    pub async fn signal(&self, signal: i32) -> Result<()> {
        let id = self.process.id.to_string();
        self.unless_ended(
            self.session
                .ask(|seq| ToInit::Signal { seq, id, signal })
                .await
                .map(drop),
        )
    }

    /// Set the size of the process's terminal.
    pub async fn resize(&self, size: WindowSize) -> Result<()> {
        let id = self.process.id.to_string();
        let WindowSize { columns, rows } = size;
        self.unless_ended(
            self.session
                .ask(|seq| ToInit::Resize { seq, id, columns, rows })
                .await
                .map(drop),
        )
    }

    fn unless_ended(&self, result: Result<()>) -> Result<()> {
        match result {
            Err(Error::Refused(_)) if self.process.exit().is_some() => Ok(()),
            other => other,
        }
    }
}
