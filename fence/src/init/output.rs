//! The output of one attachment, as whoever passes it on to a client reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fence_init::protocol::{Stream, ToInit};
use tokio::sync::mpsc;

use super::attachment::Lease;
use super::{Error, Result};

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    Data(Bytes),
    /// So many bytes were dropped here, since nobody read them in time.
    Dropped(u64),
}

/// What a session passes to a reader.
pub(super) enum Item {
    Data(Bytes),
    Dropped { from: u64, upto: u64 },
    End,
}

/// Where a session puts what arrives for one stream of one attachment.
pub(super) struct Outlet {
    pub(super) items: mpsc::UnboundedSender<Item>,
    /// Arrived and not yet passed on, in bytes; bounded by the protocol's window.
    pub(super) unacked: u64,
}

/// Reads one stream of one attachment. Init sends nothing before the first [`next`](OutputReader::next).
pub struct OutputReader {
    lease: Arc<Lease>,
    stream: Stream,
    items: mpsc::UnboundedReceiver<Item>,
    /// The offset of what comes next, and of what was passed on.
    position: u64,
    delivered: u64,
    opened: bool,
    ended: bool,
    /// The container is gone, so a lost connection is the end of the output.
    gone: Arc<AtomicBool>,
}

impl OutputReader {
    pub(super) fn new(
        lease: Arc<Lease>,
        stream: Stream,
        from: u64,
        items: mpsc::UnboundedReceiver<Item>,
        gone: Arc<AtomicBool>,
    ) -> OutputReader {
        OutputReader {
            lease,
            stream,
            items,
            position: from,
            delivered: from,
            opened: false,
            ended: false,
            gone,
        }
    }

    /// The next piece, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        if self.ended {
            return Ok(None);
        }
        if !self.opened {
            self.opened = true;
            self.ack();
        }
        match self.items.recv().await {
            Some(Item::Data(data)) => {
                self.position += data.len() as u64;
                Ok(Some(Chunk::Data(data)))
            }
            Some(Item::Dropped { from, upto }) => {
                self.position = self.position.max(upto);
                Ok(Some(Chunk::Dropped(upto.saturating_sub(from))))
            }
            Some(Item::End) => {
                self.ended = true;
                Ok(None)
            }
            None if self.gone.load(Ordering::Acquire) => {
                self.ended = true;
                Ok(None)
            }
            None => Err(Error::Unreachable("the connection was lost".into())),
        }
    }

    /// Everything [`next`](OutputReader::next) gave so far was passed on: init need not keep it for the next reader.
    pub fn delivered(&mut self) {
        if self.position > self.delivered {
            self.lease
                .session
                .acked(self.lease.number, self.stream, self.position - self.delivered);
            self.delivered = self.position;
            self.ack();
        }
    }

    fn ack(&self) {
        let ack = ToInit::Ack {
            attachment: self.lease.number,
            stream: self.stream,
            upto: self.delivered,
        };
        self.lease.session.tell(&ack);
    }
}
