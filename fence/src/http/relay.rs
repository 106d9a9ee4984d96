//! A process's input on its way from a client: in one line, and out of the way of everything else the client says.
//!
//! Input that the process does not read waits here, up to [`WINDOW`] bytes, so that signals and sizes need not wait
//! behind it; a client that sends more fills its socket. Input of a client that left is still passed on, for a moment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::supervisor::{InputSource, ProcessControl, Result, Written};

/// How much input waits for the process, in bytes.
pub(super) const WINDOW: u32 = 256 * 1024;
/// What the shortest piece counts as, so that very short ones are bounded too.
const LEAST: u32 = 256;
/// How long the input of a client that left goes on waiting for the process.
pub(super) const AFTERWARDS: Duration = Duration::from_secs(5);

/// A piece that waits, with the room it takes, or the end.
enum Piece {
    Data(Bytes, u32),
    End,
}

/// Where a client's input is put. Dropping it says that the client has left.
pub(super) struct Feed {
    queue: mpsc::UnboundedSender<Piece>,
    room: Arc<Semaphore>,
    _left: DropGuard,
}

/// Where the input waits for the process.
pub(super) struct Waiting {
    queue: mpsc::UnboundedReceiver<Piece>,
    room: Arc<Semaphore>,
    left: CancellationToken,
    /// When the client has left: how long its input may still wait.
    until: Option<Instant>,
    source: Option<InputSource>,
}

/// A piece that is on its way to the process.
pub(super) struct Passed {
    /// Its length, in bytes.
    pub(super) bytes: u64,
    /// Where it ends; none for the end of the input.
    pub(super) written: Option<Written>,
}

/// A line with nobody in it, for the input of this source where the client named one.
pub(super) fn line(source: Option<InputSource>) -> (Feed, Waiting) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(WINDOW as usize));
    let left = CancellationToken::new();
    let feed = Feed {
        queue: sender,
        room: room.clone(),
        _left: left.clone().drop_guard(),
    };
    (
        feed,
        Waiting {
            queue: receiver,
            room,
            left,
            until: None,
            source,
        },
    )
}

impl Feed {
    /// Put a piece in line; waits while there is no room.
    pub(super) async fn data(&self, mut data: Bytes) {
        while !data.is_empty() {
            let part = data.split_to(data.len().min(WINDOW as usize));
            // At most WINDOW bytes.
            let size = (part.len() as u32).max(LEAST);
            if let Ok(taken) = self.room.acquire_many(size).await {
                taken.forget();
            }
            // Nobody takes it once the process is given up on.
            let _ = self.queue.send(Piece::Data(part, size));
        }
    }

    /// Nothing comes after what is in line.
    pub(super) fn end(&self) {
        let _ = self.queue.send(Piece::End);
    }
}

impl Waiting {
    /// Send the process the next piece, at its own pace. Returns why it was not sent, if it was not; `None` = nothing more
    /// will come.
    pub(super) async fn pass_on(&mut self, control: &ProcessControl) -> Option<Result<Passed>> {
        let overdue = async {
            self.left.cancelled().await;
            let until = *self.until.get_or_insert_with(|| Instant::now() + AFTERWARDS);
            tokio::time::sleep_until(until).await;
        };
        let done = tokio::select! {
            biased;
            next = give(&mut self.queue, &self.room, control, self.source.as_mut()) => next?,
            () = overdue => return None,
        };
        if let Err(error) = &done {
            tracing::debug!("could not pass on a client's input: {}", error.chain());
        }
        Some(done)
    }
}

async fn give(
    queue: &mut mpsc::UnboundedReceiver<Piece>,
    room: &Semaphore,
    control: &ProcessControl,
    source: Option<&mut InputSource>,
) -> Option<Result<Passed>> {
    Some(match queue.recv().await? {
        Piece::End => {
            let ended = control.close_input().await;
            ended.map(|()| Passed {
                bytes: 0,
                written: None,
            })
        }
        Piece::Data(data, size) => {
            let bytes = data.len() as u64;
            let written = control.write(data, source).await;
            room.add_permits(size as usize);
            written.map(|written| Passed {
                bytes,
                written: Some(written),
            })
        }
    })
}
