//! An attachment at init. It lasts as long as its connection; what its readers have not passed on goes on over the next.
//!
//! ```text
//!  connection 1   ── lease ──────────✕ lost
//!                                        │ resume, by whichever reader of the attachment comes first
//!  connection 2                          └─── lease ───────▶   begins with what was not acknowledged
//! ```
//!
//! Where each reader has come to is the reader's; which process there is behind a name is the link's.

use std::sync::Arc;

use fence_init::protocol::{Stream, ToInit};
use tokio::sync::{Mutex, mpsc};

use super::link::{CONNECTED, Link};
use super::output::{Item, OutputReader};
use super::process::Process;
use super::session::{Session, lost};
use super::{Error, Result};

/// Where one output arrives.
pub(super) type Outlets = [(Stream, mpsc::UnboundedReceiver<Item>); 2];

/// The attachment over one connection, from before it is asked for. Dropped, it is ended at init.
pub(super) struct Lease {
    pub(super) session: Session,
    pub(super) number: u32,
    /// Whether it is the log's: in nobody's way, and for as long as the output is.
    pub(super) is_log: bool,
    process: Option<Arc<Process>>,
}

impl Lease {
    /// A number for an attachment, and where its outputs will arrive.
    pub(super) fn open(session: &Session) -> (Lease, Outlets) {
        let number = session.next_attachment();
        let outlets = [Stream::Stdout, Stream::Stderr].map(|stream| (stream, session.open_outlet(number, stream)));
        let session = session.clone();
        let lease = Lease {
            session,
            number,
            is_log: false,
            process: None,
        };
        (lease, outlets)
    }

    /// Init has attached it to this process.
    pub(super) fn of(mut self, process: Arc<Process>) -> Lease {
        if !self.is_log {
            process.attached();
            self.process = Some(process);
        }
        self
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.close_outlets(self.number);
        self.session.tell(&ToInit::Detach {
            attachment: self.number,
        });
        // After init was told: see `Process::unattached`.
        if let Some(process) = &self.process {
            process.detached();
        }
    }
}

/// One output of a lease that nobody reads yet.
pub(super) struct Begun {
    pub(super) stream: Stream,
    /// The offset of what comes first.
    pub(super) from: u64,
    pub(super) items: mpsc::UnboundedReceiver<Item>,
}

/// A lease, with the outputs that nobody took.
pub(super) struct Granted {
    pub(super) lease: Arc<Lease>,
    pub(super) process: Arc<Process>,
    pub(super) tty: bool,
    pub(super) begun: Vec<Begun>,
}

/// The leases of one attachment, one after the other. Its readers share it.
pub(super) struct Leases {
    link: Link,
    /// The container's first process that all of them are at.
    lifetime: u64,
    current: Mutex<Granted>,
}

impl Leases {
    /// The readers of an attachment that begins with this lease.
    pub(super) fn readers(link: Link, lifetime: u64, mut first: Granted) -> Vec<(Stream, OutputReader)> {
        let begun = std::mem::take(&mut first.begun);
        let lease = first.lease.clone();
        let leases = Arc::new(Leases {
            link,
            lifetime,
            current: Mutex::new(first),
        });
        let reader = |begun: Begun| (begun.stream, OutputReader::new(leases.clone(), lease.clone(), begun));
        begun.into_iter().map(reader).collect()
    }

    /// Whether the container's first process ended, and with it all that it could still have sent.
    pub(super) fn are_over(&self) -> bool {
        self.link.lifetime() != self.lifetime
    }

    /// Where this output goes on, once its connection was lost. Init is asked once for all readers, and waited for as
    /// long as any request waits for it.
    pub(super) async fn next(&self, stream: Stream) -> Result<(Arc<Lease>, Begun)> {
        let mut current = self.current.lock().await;
        if current.lease.session.is_lost() {
            let renewed = tokio::time::timeout(CONNECTED, self.renewed(&current.process, current.lease.is_log));
            *current = renewed.await.unwrap_or_else(|_| Err(lost()))?;
        }
        let at = current.begun.iter().position(|begun| begun.stream == stream);
        let begun = current.begun.swap_remove(at.ok_or_else(lost)?);
        Ok((current.lease.clone(), begun))
    }

    async fn renewed(&self, process: &Process, is_log: bool) -> Result<Granted> {
        loop {
            let session = self.link.session().await?;
            if self.are_over() {
                return Err(Error::Unreachable("the container was started anew".into()));
            }
            match self.link.lease(&session, &process.id, is_log).await {
                Ok(next) if next.process.number == process.number => return Ok(next),
                Ok(_) => return Err(Error::Unreachable("its name is another process's now".into())),
                // Lost again.
                Err(error) if error.refusal().is_none() && session.is_lost() => {}
                Err(error) => return Err(error),
            }
        }
    }
}
