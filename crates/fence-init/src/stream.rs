//! One output of a process: our end of its pipe (or the terminal) and the [`Backlog`] behind it. Reads while there is
//! room; after the end of the process it reads on and throws away, so that what it left behind is not killed for
//! writing.

use fence_init::protocol::WindowSize;
use nix::errno::Errno;

use crate::output::Backlog;
use crate::poll::Watched;
use crate::stdio;

/// The most that is read once the process has ended, in bytes: no pipe or terminal holds more of what it wrote.
const LAST_READ: usize = 1024 * 1024;

/// One output stream.
#[derive(Debug)]
pub struct Output {
    source: Option<Watched>,
    pub backlog: Backlog,
}

impl Output {
    /// The output behind `source`; without one it has ended already.
    pub fn new(source: Option<Watched>, limit: usize) -> Self {
        let mut backlog = Backlog::new(limit);
        if source.is_none() {
            backlog.finish();
        }
        Self { source, backlog }
    }

    /// Reads once, as much as there is room for, and says whether anything changed.
    pub fn read(&mut self, scratch: &mut [u8]) -> bool {
        let changed = self.read_once(scratch).is_some();
        self.refresh();
        changed
    }

    /// The process has ended: takes in what it wrote, then ends the stream.
    pub fn finish(&mut self, scratch: &mut [u8]) {
        let mut left = LAST_READ;
        while !self.backlog.ended() && left > 0 {
            let most = left.min(scratch.len());
            match self
                .source
                .as_ref()
                .map(|source| nix::unistd::read(source, &mut scratch[..most]))
            {
                Some(Ok(count)) if count > 0 => {
                    left -= count;
                    self.backlog.push(&scratch[..count]);
                }
                Some(Err(Errno::EINTR)) => {}
                Some(Err(Errno::EAGAIN)) => break,
                Some(_) => self.end_of_file(),
                None => break,
            }
        }
        self.backlog.finish();
        self.refresh();
    }

    /// Watches the source for as long as what it gives can be used. To be called whenever readers came, went or acked.
    pub fn refresh(&mut self) {
        let read = self.backlog.ended() || self.backlog.room() > 0;
        if let Some(source) = &mut self.source
            && source.want(read, false).is_err()
        {
            // Nothing would ever wake init for it again.
            self.source = None;
            self.backlog.finish();
        }
    }

    /// Sets the size of the terminal.
    pub fn resize(&self, size: WindowSize) -> nix::Result<()> {
        self.source
            .as_ref()
            .map_or(Err(Errno::ENOTTY), |source| stdio::resize(source, size))
    }

    /// What is left to be read and thrown away.
    pub fn into_source(self) -> Option<Watched> {
        self.source
    }

    fn read_once(&mut self, scratch: &mut [u8]) -> Option<()> {
        let ended = self.backlog.ended();
        let room = if ended {
            scratch.len()
        } else {
            self.backlog.room().min(scratch.len())
        };
        let source = self.source.as_ref().filter(|_| room > 0)?;
        match nix::unistd::read(source, &mut scratch[..room]) {
            Err(Errno::EAGAIN | Errno::EINTR) => return None,
            Ok(count) if count > 0 => {
                if ended {
                    return None;
                }
                self.backlog.push(&scratch[..count]);
            }
            _ => self.end_of_file(),
        }
        Some(())
    }

    /// Nobody has the other end open any more. A terminal stays open by its input as long as its process lives.
    fn end_of_file(&mut self) {
        self.source = None;
        self.backlog.finish();
    }
}
