//! The input of one process on its way: bytes from fence wait here until the process reads them. Owns our end of its
//! standard input.
//!
//! Offsets count the bytes that came over the present connection, so a fence that was restarted begins at 0 again.
//! What an earlier one sent and the process has not read yet stays in front. Who sends input may name itself, so that what
//! it sends again over the next connection is not passed on twice.

use std::collections::VecDeque;

use fence_init::protocol::STDIN_WINDOW;
use nix::errno::Errno;

use crate::poll::Watched;

/// The most that waits for one process, in bytes: a window each of a few connections. A process that reads nothing
/// all that time loses what comes beyond, and all that follows: what it reads has an end, and no hole. A terminal goes on
/// once all that waited was read, as one does whose keys were typed too far ahead.
const KEEP: usize = 4 * STDIN_WINDOW as usize;
/// How many sources are remembered; beyond it the one that was heard longest ago is forgotten.
const SOURCES: usize = 64;
/// What ends the input of a terminal.
const END_OF_FILE: u8 = 0x04;

/// The peer sent more than it was allowed to.
#[derive(Debug, PartialEq, Eq)]
pub struct Overrun;

/// One process's standard input.
#[derive(Debug)]
pub struct Input {
    /// `None` once it is closed or the process no longer reads.
    sink: Option<Watched>,
    tty: bool,
    queue: VecDeque<u8>,
    received: u64,
    told: u64,
    closing: bool,
    /// Something was thrown away: what follows is, too.
    is_cut: bool,
    /// Those who send, with how much of each has come; the last one heard is the last.
    sources: VecDeque<(u64, u64)>,
}

impl Input {
    /// The input behind `sink`.
    pub fn new(sink: Watched, tty: bool) -> Self {
        Self {
            sink: Some(sink),
            tty,
            queue: VecDeque::new(),
            received: 0,
            told: 0,
            closing: false,
            is_cut: false,
            sources: VecDeque::new(),
        }
    }

    /// Takes in what the peer sent; once the process cannot read any more it is thrown away.
    pub fn receive(&mut self, data: &[u8]) -> Result<(), Overrun> {
        self.take(data, 0)
    }

    /// The same from a source that counts what it sends, where `data` begins at this place.
    pub fn receive_from(&mut self, source: u64, from: u64, data: &[u8]) -> Result<(), Overrun> {
        let upto = self.has_of(source);
        let known = usize::try_from(upto.saturating_sub(from)).map_or(data.len(), |known| known.min(data.len()));
        self.take(data, known)?;
        self.sources.retain(|(name, _)| *name != source);
        if self.sources.len() == SOURCES {
            self.sources.pop_front();
        }
        self.sources
            .push_back((source, upto.max(from.saturating_add(data.len() as u64))));
        Ok(())
    }

    /// How much has come from a source.
    pub fn has_of(&self, source: u64) -> u64 {
        let found = self.sources.iter().find(|(name, _)| *name == source);
        found.map_or(0, |(_, upto)| *upto)
    }

    /// Takes in what comes after the first `known` bytes.
    fn take(&mut self, data: &[u8], known: usize) -> Result<(), Overrun> {
        self.received += data.len() as u64;
        if self.received > self.told + STDIN_WINDOW {
            return Err(Overrun);
        }
        let data = &data[known..];
        if self.sink.is_some() && !self.closing && !self.is_cut {
            let kept = data.len().min(KEEP.saturating_sub(self.queue.len()));
            self.queue.extend(&data[..kept]);
            self.is_cut = kept < data.len();
        }
        self.write();
        Ok(())
    }

    /// Ends the input behind what is queued. A terminal gets its end-of-file character and stays open.
    pub fn close(&mut self) {
        if !self.tty {
            self.closing = true;
        } else if self.sink.is_some() && self.queue.len() < KEEP {
            self.queue.push_back(END_OF_FILE);
        }
        self.write();
    }

    /// Forgets queue and sink: the process has ended.
    pub fn abandon(&mut self) {
        self.sink = None;
        self.queue = VecDeque::new();
    }

    /// A new connection counts from 0.
    pub fn reset(&mut self) {
        self.received = 0;
        self.told = 0;
    }

    /// Writes what the process takes now.
    pub fn write(&mut self) {
        while let Some(sink) = &self.sink
            && !self.queue.is_empty()
        {
            match nix::unistd::write(sink, self.queue.as_slices().0) {
                Ok(count) => drop(self.queue.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(_) => self.abandon(),
            }
        }
        if self.queue.is_empty() {
            self.queue.shrink_to(0);
            self.is_cut &= !self.tty;
            if self.closing {
                self.sink = None;
            }
        }
        let waiting = !self.queue.is_empty();
        if let Some(sink) = &mut self.sink
            && sink.want(false, waiting).is_err()
        {
            self.abandon();
        }
    }

    /// The offset to acknowledge, if it has moved.
    pub fn ack(&mut self) -> Option<u64> {
        // What waits in front from an earlier connection only makes this smaller than it might be.
        let passed = self.received.saturating_sub(self.queue.len() as u64);
        (passed > self.told).then(|| {
            self.told = passed;
            passed
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use nix::fcntl::OFlag;

    use super::*;
    use crate::poll::{Part, Poll, Token};

    fn input(tty: bool) -> (Poll, Input, OwnedFd) {
        let poll = Poll::new().unwrap();
        let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK).unwrap();
        let sink = poll.adopt(write, Token::Process(1, Part::Input));
        (poll, Input::new(sink, tty), read)
    }

    fn read(fd: &OwnedFd) -> nix::Result<Vec<u8>> {
        let mut buffer = [0; 100];
        let count = nix::unistd::read(fd, &mut buffer)?;
        Ok(buffer[..count].to_vec())
    }

    #[test]
    fn input_is_passed_on_acknowledged_and_closed() {
        let (_poll, mut input, far) = input(false);
        input.receive(b"hello").unwrap();
        assert_eq!(input.ack(), Some(5));
        assert_eq!(input.ack(), None);
        assert_eq!(read(&far).unwrap(), b"hello");
        assert_eq!(read(&far), Err(Errno::EAGAIN));
        input.close();
        assert_eq!(read(&far).unwrap(), b"");
    }

    #[test]
    fn more_than_the_window_is_refused() {
        let (_poll, mut input, _far) = input(false);
        let block = vec![0; STDIN_WINDOW as usize];
        input.receive(&block).unwrap();
        // The pipe took a part of it; that much may follow, no more.
        let passed = input.ack().unwrap();
        input.receive(&block[..passed as usize]).unwrap();
        assert_eq!(input.receive(b"x"), Err(Overrun));
    }

    #[test]
    fn a_process_that_does_not_read_any_more_costs_nothing_and_is_acknowledged() {
        let (_poll, mut input, far) = input(false);
        drop(far);
        input.receive(b"hello").unwrap();
        assert_eq!(input.ack(), Some(5));
        input.receive(b"again").unwrap();
        assert_eq!(input.ack(), Some(10));
    }

    #[test]
    fn a_new_connection_counts_from_zero_behind_what_waits() {
        let (_poll, mut input, far) = input(false);
        input.receive(&vec![0; STDIN_WINDOW as usize]).unwrap();
        let passed = input.ack().unwrap();
        input.reset();
        input.receive(b"hello").unwrap();
        assert_eq!(input.ack(), None);
        let mut seen = 0;
        while seen < STDIN_WINDOW + 5 {
            seen += read(&far).unwrap().len() as u64;
            input.write();
        }
        assert!(passed < STDIN_WINDOW);
        assert_eq!(input.ack(), Some(5));
    }

    /// Sends so much more than is kept that the last byte, and the one sent alone after it, are too many; then reads all
    /// that waits. Gives how much that is, without what the pipe held when the rest began to wait.
    fn overfilled(input: &mut Input, far: &OwnedFd) -> usize {
        let window = vec![1; STDIN_WINDOW as usize];
        let held = (0..KEEP / window.len()).fold(0, |held, _| {
            input.reset();
            input.receive(&window).unwrap();
            held.max(window.len() - input.queue.len().min(window.len()))
        });
        input.reset();
        input.receive(&vec![1; held + 1]).unwrap();
        input.receive(b"x").unwrap();
        assert_eq!(input.queue.len(), KEEP);
        let mut seen = 0;
        while let Ok(data) = read(far) {
            assert!(!data.contains(&b'x'));
            seen += data.len();
            input.write();
        }
        seen - held
    }

    #[test]
    fn what_is_too_much_ends_what_the_process_reads_and_leaves_no_hole() {
        let (_poll, mut input, far) = input(false);
        assert_eq!(overfilled(&mut input, &far), KEEP);
        input.reset();
        input.receive(b"more").unwrap();
        assert_eq!((read(&far), input.ack()), (Err(Errno::EAGAIN), Some(4)));
        input.close();
        assert_eq!(read(&far).unwrap(), b"");
    }

    #[test]
    fn a_terminal_goes_on_once_what_waited_was_read() {
        let (_poll, mut input, far) = input(true);
        assert_eq!(overfilled(&mut input, &far), KEEP);
        input.receive(b"more").unwrap();
        assert_eq!(read(&far).unwrap(), b"more");
    }

    #[test]
    fn what_a_source_sends_again_is_passed_on_once() {
        let (_poll, mut input, far) = input(false);
        input.receive_from(7, 0, b"hello").unwrap();
        input.receive_from(8, 0, b"+").unwrap();
        input.reset();
        assert_eq!((input.has_of(7), input.has_of(8), input.has_of(9)), (5, 1, 0));
        input.receive_from(7, 2, b"llo world").unwrap();
        input.receive_from(7, 0, b"hello").unwrap();
        assert_eq!(read(&far).unwrap(), b"hello+ world");
        assert_eq!((input.has_of(7), input.ack()), (11, Some(14)));
    }

    #[test]
    fn so_many_sources_are_remembered_and_those_heard_last() {
        let (_poll, mut input, _far) = input(false);
        for source in 0..=SOURCES as u64 {
            input.receive_from(source, 0, b"x").unwrap();
            input.receive_from(0, 0, b"x").unwrap();
        }
        assert_eq!((input.has_of(0), input.has_of(1), input.has_of(2)), (1, 0, 1));
        assert_eq!(input.receive_from(0, u64::MAX, b"xx"), Ok(()));
    }

    #[test]
    fn a_terminal_gets_its_end_of_file_character_and_stays_open() {
        let (_poll, mut input, far) = input(true);
        input.receive(b"a").unwrap();
        input.close();
        input.receive(b"b").unwrap();
        assert_eq!(read(&far).unwrap(), b"a\x04b");
        assert_eq!(input.ack(), Some(2));
    }
}
