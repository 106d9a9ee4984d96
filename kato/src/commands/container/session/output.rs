//! What the process writes, on kato's own stdout and stderr, byte for byte.
//!
//! Each write is finished before the next frame is read, so that a slow reader slows the process down and nothing
//! piles up here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::error::{Error, Result};

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
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Output {
    /// The streams of this program.
    pub fn open() -> Result<Self> {
        Ok(Output {
            stdout: own(io::stdout().as_fd())?,
            stderr: own(io::stderr().as_fd())?,
        })
    }

    /// Writes bytes, all of them.
    pub async fn write(&mut self, stream: Stream, data: &[u8]) -> Result<Written> {
        let target = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(file) = target else {
            return Ok(Written::Done);
        };
        let result = match file.write_all(data).await {
            Ok(()) => file.flush().await,
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => Ok(Written::Done),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                *target = None;
                Ok(Written::ReaderLeft)
            }
            Err(error) => Err(Error::failed("could not write the process's output").because(error)),
        }
    }
}

/// A file of our own on a stream, which writes at once and whatever the bytes are.
fn own(stream: BorrowedFd<'_>) -> Result<Option<File>> {
    match stream.try_clone_to_owned() {
        Ok(fd) => Ok(Some(File::from_std(fd.into()))),
        Err(error) => Err(Error::failed("could not open the output").because(error)),
    }
}
