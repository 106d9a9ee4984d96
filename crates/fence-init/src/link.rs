//! The connection to fence: made, lost and made again, without ever blocking. Owns the socket, what was read and not
//! yet understood, and what waits to be written.
//!
//! ```text
//! down ──connected──▶ up ──closed, refused frame──▶ down (try again: soon at first, then less and less often)
//! ```
//!
//! Only fence can listen at the path: its directory is mounted read-only into the container.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use fence_init::frame::{self, Decoder, Frame};
use fence_init::protocol::{FromInit, MAX_DATA, MAX_FRAME, Stream};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::poll::{Poll, Token, Watched};

/// How soon to try again at first.
const SOON: Duration = Duration::from_millis(20);
/// How long to do that.
const SOON_FOR: Duration = Duration::from_secs(5);
/// The longest pause between two tries.
const LATE: Duration = Duration::from_millis(500);
/// How much may wait to be written before no more output is added, in bytes.
const ENOUGH: usize = 4 * MAX_DATA;
/// How much may wait to be written before nothing more is taken in, in bytes.
const TOO_MUCH: usize = MAX_FRAME;

/// The connection is of no more use.
#[derive(Debug)]
pub struct Lost;

#[derive(Debug)]
enum State {
    Down {
        since: Instant,
        again: Instant,
        pause: Duration,
    },
    Up {
        socket: Watched,
        decoder: Decoder,
    },
}

/// The connection, or the wait for it.
#[derive(Debug)]
pub struct Link {
    address: UnixAddr,
    poll: Poll,
    state: State,
    out: VecDeque<u8>,
}

impl Link {
    /// No connection yet. Fails where the path is too long to be a socket's.
    pub fn new(path: &Path, poll: Poll, now: Instant) -> nix::Result<Self> {
        let state = State::Down {
            since: now,
            again: now,
            pause: SOON,
        };
        Ok(Self {
            address: UnixAddr::new(path)?,
            poll,
            state,
            out: VecDeque::new(),
        })
    }

    /// Whether there is a connection.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// When to try to connect again.
    pub fn next_try(&self) -> Option<Instant> {
        match self.state {
            State::Down { again, .. } => Some(again),
            State::Up { .. } => None,
        }
    }

    /// Tries to connect if it is time to, and says whether that made a connection.
    pub fn try_connect(&mut self, now: Instant) -> bool {
        let State::Down { since, again, pause } = self.state else {
            return false;
        };
        if now < again {
            return false;
        }
        let Ok(socket) = self.open() else {
            let pause = if now - since < SOON_FOR {
                SOON
            } else {
                (pause * 2).min(LATE)
            };
            self.state = State::Down {
                since,
                again: now + pause,
                pause,
            };
            return false;
        };
        self.state = State::Up {
            socket,
            decoder: Decoder::new(),
        };
        true
    }

    fn open(&self) -> nix::Result<Watched> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        // Where the listener's queue is full this fails at once, as it does where nobody listens.
        connect(socket.as_raw_fd(), &self.address)?;
        let mut socket = self.poll.adopt(socket, Token::Link);
        socket.want(true, false)?;
        Ok(socket)
    }

    /// Gives the connection up.
    pub fn disconnect(&mut self, now: Instant) {
        self.out = VecDeque::new();
        self.state = State::Down {
            since: now,
            again: now + SOON,
            pause: SOON,
        };
    }

    /// Reads once what has come.
    pub fn read(&mut self, scratch: &mut [u8]) -> Result<(), Lost> {
        let congested = self.is_congested();
        let State::Up { socket, decoder } = &mut self.state else {
            return Ok(());
        };
        if congested {
            return Ok(());
        }
        match nix::unistd::read(&*socket, scratch) {
            Ok(0) => Err(Lost),
            Ok(count) => {
                decoder.push(&scratch[..count]);
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(_) => Err(Lost),
        }
    }

    /// The next frame, unless the peer has to read first what it was sent.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Lost> {
        if self.is_congested() {
            return Ok(None);
        }
        match &mut self.state {
            State::Up { decoder, .. } => decoder.next_frame().map_err(|_| Lost),
            State::Down { .. } => Ok(None),
        }
    }

    /// Queues a message; without a connection it is gone.
    pub fn send(&mut self, message: &FromInit) -> Result<(), Lost> {
        if self.is_up() {
            self.out.extend(frame::encode_control(message).map_err(|_| Lost)?);
        }
        Ok(())
    }

    /// Queues messages in their order.
    pub fn send_each(&mut self, messages: &[FromInit]) -> Result<(), Lost> {
        messages.iter().try_for_each(|message| self.send(message))
    }

    /// Queues output.
    pub fn send_output(&mut self, attachment: u32, stream: Stream, data: &[u8]) -> Result<(), Lost> {
        if self.is_up() {
            self.out
                .extend(frame::encode_output(attachment, stream, data).map_err(|_| Lost)?);
        }
        Ok(())
    }

    /// Whether output may be queued.
    pub fn has_room(&self) -> bool {
        self.is_up() && self.out.len() < ENOUGH
    }

    /// Whether nothing waits to be written.
    pub fn is_flushed(&self) -> bool {
        self.out.is_empty()
    }

    fn is_congested(&self) -> bool {
        self.out.len() >= TOO_MUCH
    }

    /// Writes what the peer takes now.
    pub fn flush(&mut self) -> Result<(), Lost> {
        let State::Up { socket, .. } = &mut self.state else {
            return Ok(());
        };
        while !self.out.is_empty() {
            match nix::unistd::write(&*socket, self.out.as_slices().0) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(_) => return Err(Lost),
            }
        }
        if self.out.is_empty() && self.out.capacity() > TOO_MUCH {
            self.out.shrink_to(ENOUGH);
        }
        let (read, write) = (self.out.len() < TOO_MUCH, !self.out.is_empty());
        socket.want(read, write).map_err(|_| Lost)
    }
}
