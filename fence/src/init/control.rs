//! What can be done to a process by whoever is attached to it: input, its end, signals, the size of a terminal.
//!
//! Signals and sizes go over whichever connection to init there is. Input does as long as it has no hole: where some was
//! under way when a connection was lost, nobody here knows how much of it arrived, and no more is sent. A client whose
//! input is of a source can ask, and send it again.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fence_init::protocol::{FromInit, MAX_DATA, ToInit};

use super::link::Link;
use super::process::Process;
use super::session::{Session, lost};
use super::{Error, Result};
use crate::container::WindowSize;

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

/// A place in the input of a process, as far as one connection to its init goes.
#[derive(Clone, Debug, Default)]
pub struct Written {
    process: Option<Arc<Process>>,
    upto: u64,
}

/// By which connection input goes, and what is known of its process since that began.
#[derive(Clone)]
struct Way {
    session: Session,
    process: Arc<Process>,
}

/// What can be done to a process by whoever is attached to it.
#[derive(Clone)]
pub struct ProcessControl {
    link: Link,
    /// The container's first process that it is below.
    lifetime: u64,
    process: Arc<Process>,
    input: Arc<Mutex<Way>>,
}

impl ProcessControl {
    pub(super) fn new(link: Link, lifetime: u64, session: Session, process: Arc<Process>) -> ProcessControl {
        let way = Way {
            session,
            process: process.clone(),
        };
        ProcessControl {
            link,
            lifetime,
            process,
            input: Arc::new(Mutex::new(way)),
        }
    }

    /// Pass on input, of a source where one is given; waits while the process does not read. What comes after its end is
    /// thrown away.
    pub async fn write(&self, mut data: Bytes, mut source: Option<&mut InputSource>) -> Result<Written> {
        let mut written = Written::default();
        while !data.is_empty() {
            let part = data.split_to(data.len().min(MAX_DATA));
            // What a source sends next depends on what init says that it has of it.
            let way = match source {
                Some(_) => self.way(),
                None => self.next_way().await?,
            };
            let room = tokio::select! {
                biased;
                room = way.process.input_window.acquire_many(part.len() as u32) => room,
                () = way.session.lost() => return Err(lost()),
            };
            let Ok(room) = room else { break };
            room.forget();
            let length = part.len() as u64;
            let upto = way.process.input_sent(length);
            match &mut source {
                Some(source) => {
                    way.session.input_from(way.process.number, source, &part)?;
                    // Where it began is init's word.
                    source.at = source.at.saturating_add(length);
                }
                None => way.session.input(way.process.number, &part)?,
            }
            let process = Some(way.process.clone());
            written = Written { process, upto };
        }
        Ok(written)
    }

    /// Wait until init has passed on what was written until then, or nobody will ever read it.
    pub async fn passed_on(&self, written: Written) {
        if let Some(process) = written.process {
            process.input_passed(written.upto).await;
        }
    }

    /// The source of this name with what the process has of its input; `None` where its init knows of no sources.
    pub async fn input_source(&self, name: u64) -> Result<Option<InputSource>> {
        let Way { session, process } = self.way();
        if !session.knows_input_sources() {
            return Ok(None);
        }
        let process = process.number;
        let ask = |seq| ToInit::InputSource {
            seq,
            process,
            source: name,
        };
        match session.ask(ask).await? {
            FromInit::InputSource { upto, .. } => Ok(Some(InputSource { name, at: upto })),
            _ => Err(Error::Unreachable("it gave an answer to another question".into())),
        }
    }

    /// The input has come to its end.
    pub async fn close_input(&self) -> Result<()> {
        let Way { session, process } = self.next_way().await?;
        let process = process.number;
        session.tell(&ToInit::CloseInput { process });
        Ok(())
    }

    /// Send a signal. One that has ended is past caring.
    pub async fn signal(&self, signal: i32) -> Result<()> {
        let id = self.process.id.to_string();
        self.ask(|seq| ToInit::Signal { seq, id, signal }).await
    }

    /// Set the size of the process's terminal.
    pub async fn resize(&self, size: WindowSize) -> Result<()> {
        let id = self.process.id.to_string();
        let WindowSize { columns, rows } = size;
        self.ask(|seq| ToInit::Resize { seq, id, columns, rows }).await
    }

    /// Ask for something that is of no use any more once the process has ended.
    async fn ask(&self, request: impl FnOnce(u64) -> ToInit) -> Result<()> {
        if self.process.exit().is_some() {
            return Ok(());
        }
        let session = self.link.session().await;
        if self.is_over() {
            return Ok(());
        }
        match session?.ask(request).await {
            Err(Error::Refused(_)) if self.process.exit().is_some() => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Whether the first process ended that this was below, and this with it; another may run under its name.
    fn is_over(&self) -> bool {
        self.link.lifetime() != self.lifetime
    }

    fn way(&self) -> Way {
        self.input.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The way by which input goes on: over the next connection where nothing was lost with the one before.
    async fn next_way(&self) -> Result<Way> {
        let way = self.way();
        if !way.session.is_lost() || self.process.exit().is_some() {
            return Ok(way);
        }
        if !way.process.is_input_passed_on() {
            return Err(lost());
        }
        let session = self.link.session().await?;
        let process = self.link.process(&self.process.id);
        match process.filter(|process| process.number == way.process.number && !self.is_over()) {
            Some(process) => {
                let next = Way { session, process };
                *self.input.lock().unwrap_or_else(PoisonError::into_inner) = next.clone();
                Ok(next)
            }
            None => Err(lost()),
        }
    }
}
