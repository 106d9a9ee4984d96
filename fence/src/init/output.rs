//! The output of one attachment, as whoever passes it on to a client reads it.

use std::sync::Arc;

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
    /// Marks of dropped output since the last acknowledgement.
    pub(super) marks: u32,
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
}

impl OutputReader {
    pub(super) fn new(
        lease: Arc<Lease>,
        stream: Stream,
        from: u64,
        items: mpsc::UnboundedReceiver<Item>,
    ) -> OutputReader {
        OutputReader {
            lease,
            stream,
            items,
            position: from,
            delivered: from,
            opened: false,
            ended: false,
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
                // Where the stream begins is init's word.
                self.position = self.position.saturating_add(data.len() as u64);
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
            // With the container gone a lost connection is the end of the output.
            None if self.lease.process.has_vanished() => {
                self.ended = true;
                Ok(None)
            }
            None => Err(Error::Unreachable("the connection was lost".into())),
        }
    }

    /// Where in the whole stream the next piece begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Everything [`next`](OutputReader::next) gave so far was passed on: init need not keep it for the next reader.
    pub fn delivered(&mut self) {
        self.delivered_upto(self.position);
    }

    /// As [`delivered`](OutputReader::delivered), for what comes before this offset of the whole stream.
    pub fn delivered_upto(&mut self, offset: u64) {
        let upto = offset.min(self.position);
        if upto > self.delivered {
            self.lease
                .session
                .acked(self.lease.number, self.stream, upto - self.delivered);
            self.delivered = upto;
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
