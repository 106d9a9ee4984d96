//! Keeping what processes say: main's output, and that of others where it was asked for.
//!
//! A task for each process reads as the log, an attachment that is in nobody's way, and acknowledges what is in the
//! kernel's hands. Init keeps what comes while fence is away, and drops what comes faster than a log may grow.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::entry::Entry;
use super::{Error, Result, Supervisor};
use crate::container::{Handle, ProcessId};
use crate::events::What;
use crate::init::{Chunk, OutputReader, Process, Stream};
use crate::logs::{Batch, Filter, Lines, Log, Pace, Piece, Place, Position};

/// The most processes of a container whose output is kept at a time.
const MAX_LOGGED: usize = 64;
/// How long the end of a line may take before what there is of it becomes an entry.
const LINGER: Duration = Duration::from_millis(200);
/// How long the rest of an output may take to be read before it is given up.
const SETTLE: Duration = Duration::from_secs(10);
/// How many logs are written to at a time: a disk that hangs must not take all of fence's threads.
const WRITERS: usize = 8;
/// What came faster than it could be kept, or was gone before fence was there.
const TOO_FAST: &str = "it came faster than it may be kept";

static WRITING: Semaphore = Semaphore::const_new(WRITERS);

/// The log of a container, to be read.
pub struct Logs {
    handle: Handle,
    log: Arc<Log>,
    told: watch::Receiver<u64>,
}

/// A number that no other run of a process has.
pub(super) fn fresh_run() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_nanosecond())
        .unwrap_or(1)
        .max(1)
}

impl Supervisor {
    /// What is kept of a container's output.
    pub fn logs(&self, handle: &Handle) -> Result<Logs> {
        let entry = self.entry(handle)?;
        Ok(Logs {
            handle: handle.clone(),
            log: entry.log.clone(),
            told: entry.log.subscribe(),
        })
    }

    /// See to it that the output of every process that has a log is read.
    pub(super) fn keep_logs(&self, entry: &Arc<Entry>) {
        for process in entry.link.list() {
            if process.log == 0 {
                continue;
            }
            let key = (process.id.clone(), process.log);
            {
                let mut logging = entry.logging.lock().unwrap_or_else(PoisonError::into_inner);
                if logging.len() >= MAX_LOGGED || !logging.insert(key.clone()) {
                    continue;
                }
            }
            let (supervisor, entry) = (self.clone(), entry.clone());
            tokio::spawn(async move {
                supervisor.keep_log(&entry, &process).await;
                entry
                    .logging
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&key);
            });
        }
    }

    /// Wait until what a process that has ended said is kept, for a while.
    pub(super) async fn logs_settled(&self, entry: &Arc<Entry>, process: &ProcessId) {
        let deadline = Instant::now() + SETTLE;
        let is_read = || {
            let logging = entry.logging.lock().unwrap_or_else(PoisonError::into_inner);
            logging.iter().any(|(id, _)| id == process)
        };
        while is_read() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn keep_log(&self, entry: &Arc<Entry>, process: &Arc<Process>) {
        let attachment = match entry.link.attach_log(&process.id).await {
            // Another of its name may have come in between.
            Ok(attachment) if attachment.process().number == process.number => attachment,
            Ok(_) => return,
            // Whoever connects next has it read.
            Err(error) => {
                return tracing::debug!(handle = %entry.handle, %error, "could not read an output for the log");
            }
        };
        let keepers = [Stream::Stdout, Stream::Stderr].map(|stream| {
            let reader = attachment.take_output(stream);
            async move {
                if let Some(reader) = reader {
                    self.keeper(entry, process, stream).run(reader).await;
                }
            }
        });
        let [out, err] = keepers;
        tokio::join!(out, err);
    }

    fn keeper(&self, entry: &Arc<Entry>, process: &Arc<Process>, stream: Stream) -> Keeper {
        Keeper {
            supervisor: self.clone(),
            entry: entry.clone(),
            process: process.clone(),
            place: Place {
                process: process.id.clone(),
                run: process.log,
                stream,
            },
            pace: Pace::new(Instant::now()),
            failing: false,
        }
    }
}

/// Writes one output down.
struct Keeper {
    supervisor: Supervisor,
    entry: Arc<Entry>,
    process: Arc<Process>,
    place: Place,
    pace: Pace,
    failing: bool,
}

impl Keeper {
    async fn run(mut self, mut reader: OutputReader) {
        let place = self.place.clone();
        let known = self.on_disk(move |log| log.written(&place)).await.unwrap_or(0);
        let mut lines = Lines::at(known.max(reader.position()));
        loop {
            let next = match lines.has_begun() {
                false => reader.next().await,
                true => match timeout(LINGER, reader.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        self.write(lines.flush().into_iter().collect(), &mut reader).await;
                        continue;
                    }
                },
            };
            match next {
                Ok(Some(chunk)) => {
                    let pieces = cut(&mut lines, chunk, reader.position(), known);
                    self.write(pieces, &mut reader).await;
                }
                Ok(None) => {
                    self.write(lines.flush().into_iter().collect(), &mut reader).await;
                    return;
                }
                Err(_) => {
                    if reader.resume().await.is_err() {
                        // The next to come begins with what was not acknowledged.
                        return;
                    }
                }
            }
        }
    }

    /// Write entries down, not faster than they may come, and have init forget what they hold.
    async fn write(&mut self, pieces: Vec<Piece>, reader: &mut OutputReader) {
        let Some(upto) = pieces.last().map(|piece| piece.upto) else {
            return;
        };
        let rules = self.supervisor.policy().logs;
        let wait = self.pace.wait(size(&pieces), rules.rate, Instant::now());
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // What is left of it is bounded.
                _ = self.process.wait() => {}
            }
        }
        let place = self.place.clone();
        let written = self.on_disk(move |log| log.write(&place, pieces, &rules)).await;
        match written {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                let reason = format!("output of {} cannot be kept: {error}", self.place.process);
                tracing::error!(handle = %self.entry.handle, %error, "could not write to a log");
                if !self.entry.is_being_destroyed() {
                    self.supervisor.tell(&self.entry, What::DiskFull { reason });
                }
            }
            Err(_) => {}
        }
        reader.delivered_upto(upto);
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Log) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let _one_of = WRITING.acquire().await.map_err(io::Error::other)?;
        let log = self.entry.log.clone();
        let done = tokio::task::spawn_blocking(move || work(&log)).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// What a chunk that ends here makes of entries, without what was written down already.
fn cut(lines: &mut Lines, chunk: Chunk, end: u64, known: u64) -> Vec<Piece> {
    match chunk {
        Chunk::Data(data) => {
            let begin = end - data.len() as u64;
            let skip = usize::try_from(known.saturating_sub(begin)).unwrap_or(usize::MAX);
            lines.take(&data[skip.min(data.len())..])
        }
        Chunk::Dropped(bytes) => match bytes.min(end.saturating_sub(known)) {
            0 => Vec::new(),
            missing => lines.dropped(missing, TOO_FAST),
        },
    }
}

/// How much is to be written: every entry has a head.
fn size(pieces: &[Piece]) -> u64 {
    /// About what an entry takes beside its text, in bytes.
    const HEAD: u64 = 128;
    pieces.iter().map(|piece| piece.size() + HEAD).sum()
}

impl Logs {
    /// Where to begin so that so many of the wanted entries follow.
    pub async fn tail(&self, count: usize, filter: &Filter) -> Result<Position> {
        let filter = filter.clone();
        self.on_disk(move |log| log.tail(count, &filter)).await
    }

    /// The next entries that are wanted.
    pub async fn read(&mut self, at: Position, filter: &Filter) -> Result<Batch> {
        self.told.mark_unchanged();
        let filter = filter.clone();
        self.on_disk(move |log| log.read(at, &filter)).await
    }

    /// Wait until there are more than when they were read last; `None` once the log is gone.
    pub async fn changed(&mut self) -> Option<()> {
        self.log.changed(&mut self.told).await
    }

    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce(&Log) -> io::Result<T> + Send + 'static) -> Result<T> {
        let log = self.log.clone();
        let done = tokio::task::spawn_blocking(move || work(&log)).await;
        let done = done.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|source| Error::Files {
            attempt: "read the logs of",
            path: self.handle.to_string(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upto(pieces: &[Piece]) -> Vec<u64> {
        pieces.iter().map(|piece| piece.upto).collect()
    }

    #[test]
    fn what_comes_again_after_a_crash_is_not_written_twice() {
        let mut lines = Lines::at(10);
        let data = |text: &'static [u8]| Chunk::Data(bytes::Bytes::from_static(text));
        assert!(cut(&mut lines, data(b"old\n"), 4, 10).is_empty());
        assert_eq!(upto(&cut(&mut lines, data(b"older\nnew\n"), 14, 10)), [14]);
        assert_eq!(upto(&cut(&mut lines, Chunk::Dropped(6), 20, 10)), [20]);
        let mut lines = Lines::at(10);
        assert!(cut(&mut lines, Chunk::Dropped(10), 10, 10).is_empty());
        assert_eq!(upto(&cut(&mut lines, Chunk::Dropped(8), 14, 10)), [14]);
    }
}
