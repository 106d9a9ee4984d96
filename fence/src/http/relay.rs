//! A process's input on its way from a client: in one line, and out of the way of everything else the client says.
//!
//! Input that the process does not read waits here, [`WINDOW`] bytes and the piece that goes beyond them, so that signals,
//! sizes and acknowledgements need not wait behind it; a client that sends more fills its socket. Pieces are joined, so
//! that short ones take no more room than their bytes. Input of a client that left is still passed on, for a moment.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::supervisor::{InputSource, ProcessControl, Result, Written};

/// How much input waits for the process, in bytes.
pub(super) const WINDOW: u32 = 256 * 1024;
/// The most that is put in line, and sent to the process, at once, in bytes.
const PIECE: usize = 64 * 1024;
/// How long the input of a client that left goes on waiting for the process.
pub(super) const AFTERWARDS: Duration = Duration::from_secs(5);

/// What waits.
#[derive(Default)]
struct Line {
    data: BytesMut,
    /// Whether the input ends behind it. What comes after that is thrown away.
    ended: bool,
}

/// Where a client's input is put. Dropping it says that the client has left.
pub(super) struct Feed {
    line: watch::Sender<Line>,
    _left: DropGuard,
}

/// Where the input waits for the process.
pub(super) struct Waiting {
    line: watch::Sender<Line>,
    left: CancellationToken,
    /// When the client has left: how long its input may still wait.
    until: Option<Instant>,
    source: Option<InputSource>,
    /// The process was told of the end.
    is_closed: bool,
}

/// The next of a line.
enum Next {
    Data(Bytes),
    End,
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
    let line = watch::Sender::new(Line::default());
    let left = CancellationToken::new();
    let feed = Feed {
        line: line.clone(),
        _left: left.clone().drop_guard(),
    };
    let waiting = Waiting {
        line,
        left,
        until: None,
        source,
        is_closed: false,
    };
    (feed, waiting)
}

impl Feed {
    /// Put a piece in line; waits while the line is full.
    pub(super) async fn data(&self, mut data: Bytes) {
        while !data.is_empty() {
            let part = data.split_to(data.len().min(PIECE));
            let mut line = self.line.subscribe();
            // The sender lives in self, so this cannot fail.
            let _ = line.wait_for(|line| line.has_room() || line.ended).await;
            self.line.send_modify(|line| line.put(&part));
        }
    }

    /// Nothing comes after what is in line.
    pub(super) fn end(&self) {
        self.line
            .send_if_modified(|line| !std::mem::replace(&mut line.ended, true));
    }
}

impl Line {
    fn has_room(&self) -> bool {
        self.data.len() < WINDOW as usize
    }

    fn put(&mut self, part: &[u8]) {
        if !self.ended {
            self.data.extend_from_slice(part);
        }
    }

    fn take(&mut self) -> Option<Next> {
        if self.data.is_empty() {
            return self.ended.then_some(Next::End);
        }
        let next = self.data.split_to(self.data.len().min(PIECE)).freeze();
        if self.data.is_empty() {
            // An idle line keeps no memory.
            self.data = BytesMut::new();
        }
        Some(Next::Data(next))
    }
}

impl Waiting {
    /// Send the process the next piece, at its own pace. Returns why it was not sent, if it was not; `None` = nothing more
    /// will come.
    pub(super) async fn pass_on(&mut self, control: &ProcessControl) -> Option<Result<Passed>> {
        if self.is_closed {
            return None;
        }
        let overdue = async {
            self.left.cancelled().await;
            let until = *self.until.get_or_insert_with(|| Instant::now() + AFTERWARDS);
            tokio::time::sleep_until(until).await;
        };
        let done = tokio::select! {
            biased;
            next = give(&self.line, &self.left, control, self.source.as_mut(), &mut self.is_closed) => next?,
            () = overdue => return None,
        };
        if let Err(error) = &done {
            tracing::debug!("could not pass on a client's input: {}", error.chain());
        }
        Some(done)
    }
}

async fn give(
    line: &watch::Sender<Line>,
    left: &CancellationToken,
    control: &ProcessControl,
    source: Option<&mut InputSource>,
    is_closed: &mut bool,
) -> Option<Result<Passed>> {
    Some(match next(line, left).await? {
        Next::End => {
            *is_closed = true;
            let ended = control.close_input().await;
            ended.map(|()| Passed {
                bytes: 0,
                written: None,
            })
        }
        Next::Data(data) => {
            let bytes = data.len() as u64;
            let written = control.write(data, source).await;
            written.map(|written| Passed {
                bytes,
                written: Some(written),
            })
        }
    })
}

/// The next of the line; `None` once the client has left and nothing waits.
async fn next(line: &watch::Sender<Line>, left: &CancellationToken) -> Option<Next> {
    let mut filled = line.subscribe();
    tokio::select! {
        biased;
        // The sender outlives this, so it cannot fail.
        _ = filled.wait_for(|line| !line.data.is_empty() || line.ended) => {}
        () = left.cancelled() => {}
    }
    let mut next = None;
    line.send_modify(|line| next = line.take());
    next
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// What waits: the bytes, piece by piece.
    fn all(waiting: &Waiting) -> Vec<usize> {
        let mut pieces = Vec::new();
        while let Some(Some(Next::Data(data))) = next(&waiting.line, &waiting.left).now_or_never() {
            pieces.push(data.len());
        }
        pieces
    }

    #[test]
    fn all_of_the_window_fits_however_short_the_pieces_are_and_one_piece_more() {
        let (feed, waiting) = line(None);
        let put = |length: usize| feed.data(vec![0; length].into()).now_or_never();
        assert!((0..4096).all(|_| put(1).is_some()));
        let rest = WINDOW as usize - 4096 - 1;
        assert!(put(rest).is_some() && put(PIECE).is_some());
        assert_eq!(put(1), None, "the line is full");
        assert_eq!(all(&waiting), [PIECE, PIECE, PIECE, PIECE, PIECE - 1]);
        assert_eq!(waiting.line.borrow().data.capacity(), 0);
    }

    #[test]
    fn the_input_ends_once_behind_what_waits_and_nothing_comes_after() {
        let (feed, waiting) = line(None);
        feed.data("hello".into()).now_or_never().unwrap();
        for _ in 0..3 {
            feed.end();
            feed.data(vec![0; 2 * WINDOW as usize].into()).now_or_never().unwrap();
        }
        assert_eq!(all(&waiting), [5]);
        let end = next(&waiting.line, &waiting.left).now_or_never().unwrap();
        assert!(matches!(end, Some(Next::End)));
    }

    #[test]
    fn a_client_that_left_leaves_behind_what_waits_and_no_end() {
        let (feed, waiting) = line(None);
        feed.data("hello".into()).now_or_never().unwrap();
        drop(feed);
        assert_eq!(all(&waiting), [5]);
        assert!(next(&waiting.line, &waiting.left).now_or_never().unwrap().is_none());
    }
}
