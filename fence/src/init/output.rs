//! The output of one attachment, as whoever passes it on to a client reads it.

use std::sync::Arc;

use bytes::Bytes;
use fence_init::protocol::{Stream, ToInit};
use tokio::sync::mpsc;

use super::Result;
use super::lease::{Begun, Lease, Leases};
use super::session::lost;

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
    /// What comes before this offset, and did not arrive, was dropped.
    Dropped {
        upto: u64,
    },
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
    leases: Arc<Leases>,
    lease: Arc<Lease>,
    stream: Stream,
    items: mpsc::UnboundedReceiver<Item>,
    /// The offset of what comes next, and of what was passed on.
    position: u64,
    delivered: u64,
    /// How far this lease has come, and what was acknowledged of it. It may begin before what was passed on.
    arrived: u64,
    acked: u64,
    opened: bool,
    ended: bool,
}

impl OutputReader {
    pub(super) fn new(leases: Arc<Leases>, lease: Arc<Lease>, begun: Begun) -> OutputReader {
        let Begun { stream, from, items } = begun;
        OutputReader {
            leases,
            lease,
            stream,
            items,
            position: from,
            delivered: from,
            arrived: from,
            acked: from,
            opened: false,
            ended: false,
        }
    }

    /// Have init keep what comes from now on until it was passed on.
    pub fn open(&mut self) {
        if !self.opened {
            self.opened = true;
            self.ack();
        }
    }

    /// The next piece, or `None` at the end of the stream. An error: the connection was lost, see
    /// [`resume`](OutputReader::resume).
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        self.open();
        loop {
            if self.arrived > self.position {
                let missing = self.arrived - self.position;
                self.position = self.arrived;
                return Ok(Some(Chunk::Dropped(missing)));
            }
            if self.ended {
                return Ok(None);
            }
            match self.items.recv().await {
                Some(Item::Data(data)) => {
                    if let Some(news) = self.news_of(data) {
                        return Ok(Some(Chunk::Data(news)));
                    }
                }
                Some(Item::Dropped { upto }) => {
                    self.arrived = self.arrived.max(upto);
                    self.settle();
                }
                Some(Item::End) => self.ended = true,
                // With the container gone a lost connection is the end of the output.
                None if self.leases.are_over() => self.ended = true,
                None => return Err(lost()),
            }
        }
    }

    /// Go on over the next connection with what follows the last piece, once the connection was lost. Waits for init to
    /// come back, for a while; where the container ended instead, so has the output.
    pub async fn resume(&mut self) -> Result<()> {
        match self.leases.next(self.stream).await {
            Ok((lease, begun)) => {
                (self.lease, self.items) = (lease, begun.items);
                (self.arrived, self.acked) = (begun.from, begun.from);
                self.opened = false;
                Ok(())
            }
            Err(_) if self.leases.are_over() => {
                self.ended = true;
                Ok(())
            }
            Err(error) => Err(error),
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
        self.delivered = self.delivered.max(offset.min(self.position));
        self.settle();
    }

    /// What of these bytes was not there before.
    fn news_of(&mut self, mut data: Bytes) -> Option<Bytes> {
        let known = self.position.saturating_sub(self.arrived);
        // Where the stream begins is init's word.
        self.arrived = self.arrived.saturating_add(data.len() as u64);
        if self.arrived <= self.position {
            self.settle();
            return None;
        }
        let news = data.split_off(usize::try_from(known).map_or(data.len(), |known| known.min(data.len())));
        self.position = self.arrived;
        Some(news)
    }

    /// Acknowledge what has arrived and was passed on.
    fn settle(&mut self) {
        let upto = self.delivered.min(self.arrived);
        if upto > self.acked {
            let session = &self.lease.session;
            session.acked(self.lease.number, self.stream, upto - self.acked);
            self.acked = upto;
            self.ack();
        }
    }

    fn ack(&self) {
        let ack = ToInit::Ack {
            attachment: self.lease.number,
            stream: self.stream,
            upto: self.acked,
        };
        self.lease.session.tell(&ack);
    }
}
