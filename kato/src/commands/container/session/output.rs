//! What the process writes, on kato's own stdout and stderr, byte for byte.
//!
//! Each write is finished before the next frame is read, so that a slow reader slows the process down and nothing
//! piles up here. A connection may begin with what was already written on the one before and whose acknowledgement did
//! not arrive; that is not written again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::error::{Error, Result};
use crate::fence_api::stream::Offsets;

/// One of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// As wanted.
    Done,
    /// The reader has just gone; this and what follows is thrown away.
    ReaderLeft,
}

/// Both streams.
#[derive(Debug)]
pub struct Output {
    stdout: Target,
    stderr: Target,
}

/// One stream, and how far it has come.
#[derive(Debug)]
struct Target {
    /// None once its reader has gone.
    file: Option<File>,
    progress: Progress,
}

/// Places in the whole output of a process.
#[derive(Debug, Default)]
struct Progress {
    /// The connection has come so far.
    at: u64,
    /// Everything before was written, or cannot be had any more.
    done: u64,
}

impl Progress {
    fn connected(&mut self, from: u64) {
        self.at = from;
    }

    /// How many of the next bytes were written before.
    fn known(&self, length: usize) -> usize {
        usize::try_from(self.done.saturating_sub(self.at)).map_or(length, |known| known.min(length))
    }

    fn passed(&mut self, bytes: u64) {
        self.at = self.at.saturating_add(bytes);
        self.done = self.done.max(self.at);
    }
}

impl Output {
    /// The streams of this program.
    pub fn open() -> Result<Self> {
        Ok(Output {
            stdout: own(io::stdout().as_fd())?,
            stderr: own(io::stderr().as_fd())?,
        })
    }

    /// A connection begins at these places; where fence does not say them, behind all that was written.
    pub fn connected(&mut self, from: Option<Offsets>) {
        let done = |target: &Target| target.progress.done;
        let behind = Offsets {
            stdout: done(&self.stdout),
            stderr: done(&self.stderr),
        };
        let from = from.unwrap_or(behind);
        self.stdout.progress.connected(from.stdout);
        self.stderr.progress.connected(from.stderr);
    }

    /// How far this connection has come: everything before was written, now or on an earlier one.
    pub fn taken(&self) -> Offsets {
        Offsets {
            stdout: self.stdout.progress.at,
            stderr: self.stderr.progress.at,
        }
    }

    /// So much of a stream will not come. Gives how much of that was not written before either.
    pub fn skip(&mut self, stream: Stream, bytes: u64) -> u64 {
        let progress = &mut self.target(stream).progress;
        let known = progress.done.saturating_sub(progress.at).min(bytes);
        progress.passed(bytes);
        bytes - known
    }

    /// Writes bytes, all of them.
    pub async fn write(&mut self, stream: Stream, data: &[u8]) -> Result<Written> {
        let target = self.target(stream);
        let new = &data[target.progress.known(data.len())..];
        let result = match &mut target.file {
            Some(file) => write_all(file, new).await,
            None => Ok(()),
        };
        target.progress.passed(data.len() as u64);
        match result {
            Ok(()) => Ok(Written::Done),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                target.file = None;
                Ok(Written::ReaderLeft)
            }
            Err(error) => Err(Error::failed("could not write the process's output").because(error)),
        }
    }

    fn target(&mut self, stream: Stream) -> &mut Target {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

async fn write_all(file: &mut File, data: &[u8]) -> io::Result<()> {
    file.write_all(data).await?;
    file.flush().await
}

/// A file of our own on a stream, which writes at once and whatever the bytes are.
fn own(stream: BorrowedFd<'_>) -> Result<Target> {
    match stream.try_clone_to_owned() {
        Ok(fd) => Ok(Target {
            file: Some(File::from_std(fd.into())),
            progress: Progress::default(),
        }),
        Err(error) => Err(Error::failed("could not open the output").because(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes of a piece are new.
    fn new(progress: &mut Progress, length: usize) -> usize {
        let known = progress.known(length);
        progress.passed(length as u64);
        length - known
    }

    #[test]
    fn what_was_written_before_the_connection_broke_is_not_written_again() {
        let mut progress = Progress::default();
        progress.connected(100);
        assert_eq!((new(&mut progress, 10), new(&mut progress, 5)), (10, 5));
        progress.connected(108);
        assert_eq!((new(&mut progress, 4), new(&mut progress, 4)), (0, 1));
        assert_eq!((new(&mut progress, 3), progress.done), (3, 119));
        assert_eq!(progress.at, 119);
    }

    #[test]
    fn what_others_took_meanwhile_is_not_waited_for() {
        let mut progress = Progress::default();
        progress.connected(0);
        new(&mut progress, 10);
        progress.connected(50);
        assert_eq!((new(&mut progress, 4), progress.done), (4, 54));
    }
}
