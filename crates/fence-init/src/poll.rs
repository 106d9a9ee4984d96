//! Waiting for many file descriptors at once: a thin layer over epoll (level-triggered) with names instead of numbers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// How many events one wait returns at most; the rest comes with the next.
const BATCH: usize = 64;
/// The longest single wait; waiting again costs nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a file descriptor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    /// The connection to fence.
    Link,
    /// Signals to init.
    Signals,
    /// A pipe of the process with this number.
    Process(u32, Part),
}

/// Which pipe of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Part {
    /// What a process says that could not start.
    Report = 2,
    Input = 3,
    Stdout = 4,
    Stderr = 5,
}

impl Token {
    fn to_bits(self) -> u64 {
        match self {
            Token::Link => 0,
            Token::Signals => 1,
            Token::Process(number, part) => u64::from(number) << 8 | part as u64,
        }
    }

    fn from_bits(bits: u64) -> Option<Self> {
        let number = u32::try_from(bits >> 8).ok()?;
        match bits & 0xff {
            0 => Some(Token::Link),
            1 => Some(Token::Signals),
            2 => Some(Token::Process(number, Part::Report)),
            3 => Some(Token::Process(number, Part::Input)),
            4 => Some(Token::Process(number, Part::Stdout)),
            5 => Some(Token::Process(number, Part::Stderr)),
            _ => None,
        }
    }
}

/// The set of all watched file descriptors; clones share it.
#[derive(Clone, Debug)]
pub struct Poll(Rc<Epoll>);

impl Poll {
    /// An empty set.
    pub fn new() -> nix::Result<Self> {
        Ok(Self(Rc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?)))
    }

    /// Watches for as long as the process lives.
    pub fn watch_always(&self, fd: impl AsFd, token: Token) -> nix::Result<()> {
        self.0.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token.to_bits()))
    }

    /// Takes a file descriptor over; it is watched for nothing at first.
    pub fn adopt(&self, fd: OwnedFd, token: Token) -> Watched {
        Watched {
            fd,
            poll: self.clone(),
            token,
            interest: EpollFlags::empty(),
        }
    }

    /// Waits until something is ready or the time is up.
    pub fn wait(&self, timeout: Option<Duration>) -> nix::Result<Vec<Token>> {
        let timeout = timeout.map_or(EpollTimeout::NONE, |timeout| {
            // Rounded up: waking too early would only spin until the deadline.
            let millis = timeout.min(LONGEST_WAIT).as_micros().div_ceil(1000);
            EpollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
        });
        let mut events = [EpollEvent::empty(); BATCH];
        match self.0.wait(&mut events, timeout) {
            Ok(count) => Ok(events[..count]
                .iter()
                .filter_map(|event| Token::from_bits(event.data()))
                .collect()),
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }
}

/// A file descriptor in the set; leaves it when dropped.
#[derive(Debug)]
pub struct Watched {
    fd: OwnedFd,
    poll: Poll,
    token: Token,
    interest: EpollFlags,
}

impl Watched {
    /// Its name in the set.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Watches for reading, for writing, for both or for nothing at all, not even a hang-up.
    pub fn want(&mut self, read: bool, write: bool) -> nix::Result<()> {
        let mut wanted = EpollFlags::empty();
        wanted.set(EpollFlags::EPOLLIN, read);
        wanted.set(EpollFlags::EPOLLOUT, write);
        if wanted == self.interest {
            return Ok(());
        }
        let mut event = EpollEvent::new(wanted, self.token.to_bits());
        if self.interest.is_empty() {
            self.poll.0.add(&self.fd, event)?;
        } else if wanted.is_empty() {
            self.poll.0.delete(&self.fd)?;
        } else {
            self.poll.0.modify(&self.fd, &mut event)?;
        }
        self.interest = wanted;
        Ok(())
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Closing is not enough: a child between fork and exec holds the same open file, which would stay in the set.
        if !self.interest.is_empty() {
            let _ = self.poll.0.delete(&self.fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_went() {
        let parts = [Part::Report, Part::Input, Part::Stdout, Part::Stderr];
        let processes = parts
            .into_iter()
            .flat_map(|part| [0, 1, u32::MAX].map(|number| Token::Process(number, part)));
        for token in processes.chain([Token::Link, Token::Signals]) {
            assert_eq!(Token::from_bits(token.to_bits()), Some(token));
        }
    }

    #[test]
    fn only_what_is_wanted_is_reported() {
        let poll = Poll::new().unwrap();
        let (read, write) = nix::unistd::pipe().unwrap();
        let token = Token::Process(7, Part::Stdout);
        let mut source = poll.adopt(read, token);
        nix::unistd::write(&write, b"x").unwrap();
        assert!(poll.wait(Some(Duration::ZERO)).unwrap().is_empty());
        source.want(true, false).unwrap();
        assert_eq!(poll.wait(None).unwrap(), [token]);
        source.want(false, false).unwrap();
        drop(write);
        assert!(poll.wait(Some(Duration::ZERO)).unwrap().is_empty());
    }
}
