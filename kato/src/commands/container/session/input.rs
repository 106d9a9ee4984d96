//! What goes to the process's standard input: read ahead a little, kept until fence has passed it on.
//!
//! A thread reads, because a terminal or a file cannot be waited for in another way; it ends with the program. What
//! was sent on a connection that broke, and not acknowledged, is sent again on the next one, but for what the process turns
//! out to have. Where fence does not acknowledge (no window), a piece counts as passed on once it is written to the
//! connection.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::keys::DetachKeys;
use crate::error::{Error, Result};

/// How much is read at a time.
const PIECE: usize = 32 * 1024;
/// How many pieces the thread is ahead.
const AHEAD: usize = 2;

/// Where the process's input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Kato's own standard input.
    Stdin {
        /// Whether the keys that detach are looked for.
        detach_keys: bool,
    },
    /// None: the process's input ends at once.
    Empty,
    /// None, and the process's input is left as it is, for others.
    Untouched,
}

/// What the thread says.
#[derive(Debug)]
enum Typed {
    Data(Bytes),
    Detach,
}

/// What there is to do about the input next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes.
    Send(Bytes),
    /// Say that the input ends.
    End,
    /// The administrator pressed the keys that detach.
    Detach,
}

/// The input, and how far it has come.
#[derive(Debug)]
pub struct Input {
    typed: Option<mpsc::Receiver<Typed>>,
    ends: bool,
    window: Option<u64>,
    /// Not known to be passed on; the first `sent` pieces went out on this connection.
    kept: VecDeque<Bytes>,
    sent: usize,
    /// Bytes of `kept` that went out on this connection, and how many were acknowledged on it altogether.
    in_flight: u64,
    taken: u64,
    /// Where `kept` begins in the whole of the input.
    begins: u64,
    end_sent: bool,
}

impl Input {
    /// Begins to read.
    pub fn open(source: Source) -> Result<Self> {
        let (typed, ends) = match source {
            Source::Stdin { detach_keys } => (Some(read_stdin(detach_keys)?), true),
            Source::Empty => (None, true),
            Source::Untouched => (None, false),
        };
        Ok(Input {
            typed,
            ends,
            window: None,
            kept: VecDeque::new(),
            sent: 0,
            in_flight: 0,
            taken: 0,
            begins: 0,
            end_sent: false,
        })
    }

    /// A connection begins, on which fence allows this window, with so much of the input being there already.
    pub fn connected(&mut self, window: Option<u64>, from: Option<u64>) {
        self.window = window;
        (self.sent, self.in_flight, self.taken, self.end_sent) = (0, 0, 0, false);
        if let Some(from) = from {
            self.forget(from.saturating_sub(self.begins));
            self.begins = from;
        }
    }

    /// What is to be done next; waits for input, and for room in the window. May be dropped and called again.
    pub async fn step(&mut self) -> Step {
        loop {
            let room = self.room();
            if room == 0 {
                return std::future::pending().await;
            }
            if let Some(piece) = self.kept.get_mut(self.sent) {
                // More than fence has room for would hold up what comes behind it: signals, and what was taken of the
                // output.
                let rest = piece.split_off(room.min(piece.len()));
                let piece = piece.clone();
                if !rest.is_empty() {
                    self.kept.insert(self.sent + 1, rest);
                }
                return Step::Send(piece);
            }
            let Some(typed) = &mut self.typed else {
                if self.ends && !self.end_sent {
                    return Step::End;
                }
                return std::future::pending().await;
            };
            match typed.recv().await {
                Some(Typed::Data(piece)) => self.kept.push_back(piece),
                Some(Typed::Detach) => return Step::Detach,
                None => self.typed = None,
            }
        }
    }

    /// How much may be sent now, in bytes.
    fn room(&self) -> usize {
        let room = self.window.map(|window| window.saturating_sub(self.in_flight));
        room.map_or(usize::MAX, |room| usize::try_from(room).unwrap_or(usize::MAX))
    }

    /// The bytes of the last [`Step::Send`] are on their way.
    pub fn sent(&mut self) {
        if self.window.is_none() {
            let piece = self.kept.pop_front();
            self.begins += piece.map_or(0, |piece| piece.len() as u64);
        } else if let Some(piece) = self.kept.get(self.sent) {
            self.in_flight += piece.len() as u64;
            self.sent += 1;
        }
    }

    /// The end of the input is on its way.
    pub fn end_sent(&mut self) {
        self.end_sent = true;
    }

    /// Fence has passed on the first `upto` bytes that were sent on this connection.
    pub fn taken(&mut self, upto: u64) {
        let more = upto.saturating_sub(self.taken).min(self.in_flight);
        self.taken += more;
        self.in_flight -= more;
        self.forget(more);
    }

    /// So many bytes of what is kept need not be kept any more.
    fn forget(&mut self, mut bytes: u64) {
        while bytes > 0
            && let Some(piece) = self.kept.front_mut()
        {
            let part = usize::try_from(bytes).unwrap_or(usize::MAX).min(piece.len());
            bytes -= part as u64;
            self.begins += part as u64;
            // What is left of a piece stays one that was sent.
            let _ = piece.split_to(part);
            if piece.is_empty() {
                self.kept.pop_front();
                self.sent = self.sent.saturating_sub(1);
            }
        }
    }
}

fn read_stdin(detach_keys: bool) -> Result<mpsc::Receiver<Typed>> {
    let failed = |error: io::Error| Error::failed("could not read standard input").because(error);
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let (sender, receiver) = mpsc::channel(AHEAD);
    let keys = detach_keys.then(DetachKeys::default);
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || pump(stdin, keys, &sender))
        .map_err(failed)?;
    Ok(receiver)
}

/// Reads until the end, which is told by closing the channel. An input that cannot be read (a terminal that is gone)
/// has come to its end.
fn pump(mut stdin: impl Read, mut keys: Option<DetachKeys>, sender: &mpsc::Sender<Typed>) {
    let mut buffer = vec![0; PIECE];
    loop {
        let typed = match stdin.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => &buffer[..length],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let (pass, detach) = match &mut keys {
            None => (typed.to_vec(), false),
            Some(keys) => {
                let sifted = keys.sift(typed);
                (sifted.pass, sifted.detach)
            }
        };
        if !pass.is_empty() && sender.blocking_send(Typed::Data(pass.into())).is_err() {
            return;
        }
        if detach {
            let _ = sender.blocking_send(Typed::Detach);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn input(pieces: &[&'static [u8]]) -> Input {
        let (sender, receiver) = mpsc::channel(16);
        for piece in pieces {
            sender.try_send(Typed::Data(Bytes::from_static(piece))).unwrap();
        }
        Input {
            typed: Some(receiver),
            ..Input::open(Source::Empty).unwrap()
        }
    }

    fn next(input: &mut Input) -> Option<Step> {
        input.step().now_or_never()
    }

    fn send_all(input: &mut Input) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(Step::Send(piece)) = next(input) {
            all.extend_from_slice(&piece);
            input.sent();
        }
        all
    }

    #[test]
    fn the_input_goes_out_once_and_then_its_end() {
        let mut input = input(&[b"one", b"two"]);
        input.connected(None, None);
        assert_eq!(send_all(&mut input), b"onetwo");
        assert_eq!(next(&mut input), Some(Step::End));
        input.end_sent();
        assert_eq!(next(&mut input), None);
    }

    #[test]
    fn no_more_goes_out_than_the_window_holds() {
        let mut input = input(&[b"one", b"two", b"three"]);
        input.connected(Some(4), None);
        assert_eq!(send_all(&mut input), b"onet");
        assert_eq!(next(&mut input), None);
        input.taken(1);
        assert_eq!(send_all(&mut input), b"w");
        input.taken(4);
        assert_eq!(send_all(&mut input), b"oth");
        input.connected(Some(100), Some(6));
        assert_eq!(send_all(&mut input), b"three");
        assert_eq!(next(&mut input), Some(Step::End));
    }

    #[test]
    fn what_was_not_taken_goes_out_again_on_the_next_connection() {
        let mut input = input(&[b"one", b"two"]);
        input.connected(Some(100), None);
        assert_eq!(send_all(&mut input), b"onetwo");
        assert_eq!(next(&mut input), Some(Step::End));
        input.end_sent();
        input.taken(4);
        input.connected(Some(100), None);
        assert_eq!(send_all(&mut input), b"wo");
        assert_eq!(next(&mut input), Some(Step::End));
        input.taken(2);
        input.connected(Some(100), None);
        assert_eq!(next(&mut input), Some(Step::End));
    }

    #[test]
    fn what_the_process_has_does_not_go_out_again_whether_it_was_acknowledged_or_not() {
        let mut input = input(&[b"one", b"two", b"three"]);
        input.connected(Some(100), Some(0));
        assert_eq!(send_all(&mut input), b"onetwothree");
        input.taken(2);
        input.connected(Some(100), Some(7));
        assert_eq!(send_all(&mut input), b"hree");
        input.taken(1);
        input.connected(Some(100), Some(8));
        assert_eq!(send_all(&mut input), b"ree");
        input.connected(Some(100), Some(11));
        assert_eq!(next(&mut input), Some(Step::End));
    }

    #[test]
    fn a_fence_that_takes_more_than_it_was_sent_does_no_harm() {
        let mut input = input(&[b"one"]);
        input.connected(Some(2), None);
        input.taken(9);
        assert_eq!(send_all(&mut input), b"on");
        input.taken(9);
        assert_eq!(send_all(&mut input), b"e");
        input.taken(u64::MAX);
        assert_eq!(next(&mut input), Some(Step::End));
    }

    #[test]
    fn no_input_ends_at_once_and_an_untouched_one_never() {
        let mut empty = Input::open(Source::Empty).unwrap();
        empty.connected(None, None);
        assert_eq!(next(&mut empty), Some(Step::End));
        let mut untouched = Input::open(Source::Untouched).unwrap();
        untouched.connected(None, None);
        assert_eq!(next(&mut untouched), None);
    }

    #[test]
    fn the_keys_come_after_what_was_typed_before_them() {
        let (sender, mut receiver) = mpsc::channel(16);
        pump(&b"ls\x10\x11rm"[..], Some(DetachKeys::default()), &sender);
        assert!(matches!(receiver.try_recv().unwrap(), Typed::Data(data) if data == "ls"));
        assert!(matches!(receiver.try_recv().unwrap(), Typed::Detach));
    }
}
