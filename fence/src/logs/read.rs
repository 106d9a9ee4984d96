//! Reading a log, piece by piece, while it is written to and its oldest files go.

use std::io;

use fence_init::protocol::Stream;
use jiff::Timestamp;

use super::entry::Entry;
use super::files::{self, Line};
use super::log::Log;
use crate::container::ProcessId;

/// The most entries that are read at a time, and about how many bytes of them.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 256 * 1024;

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub process: Option<ProcessId>,
    pub stream: Option<Stream>,
    /// Not before.
    pub since: Option<Timestamp>,
}

/// Some entries, and where to go on.
#[derive(Debug, Default)]
pub struct Batch {
    pub entries: Vec<Entry>,
    pub at: Position,
    /// So many entries that were to come first are no longer kept.
    pub missed: u64,
    /// Nothing more is there now.
    pub end: bool,
}

/// How far a reader has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    file: u64,
    offset: u64,
    /// The last entry that was passed, whether it was wanted or not; 0 = none.
    pub number: u64,
}

impl Position {
    /// Behind the entry of this number.
    pub fn after(number: u64) -> Position {
        Position {
            number,
            ..Position::default()
        }
    }
}

impl Filter {
    fn wants(&self, entry: &Entry) -> bool {
        let is_old = |since: &Timestamp| entry.time.parse::<Timestamp>().is_ok_and(|time| time < *since);
        self.process.as_ref().is_none_or(|process| *process == entry.process)
            && self.stream.is_none_or(|stream| stream == entry.stream)
            && !self.since.as_ref().is_some_and(is_old)
    }
}

impl Log {
    /// The next entries that are wanted. Blocks on the disk.
    pub fn read(&self, at: Position, filter: &Filter) -> io::Result<Batch> {
        let mut batch = Batch { at, ..Batch::default() };
        let numbers = files::list(&self.directory)?;
        let mut bytes = 0;
        for number in numbers.iter().copied().filter(|number| *number >= at.file) {
            let offset = if number == at.file { at.offset } else { 0 };
            let lines = match files::Lines::open(&self.directory, number, offset) {
                // It has just gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lines => lines?,
            };
            if batch.take(lines, number, filter, &mut bytes)? {
                return Ok(batch);
            }
        }
        batch.end = true;
        Ok(batch)
    }

    /// Where to begin so that so many of the entries that are wanted follow. Blocks on the disk.
    pub fn tail(&self, count: usize, filter: &Filter) -> io::Result<Position> {
        let mut wanted = std::collections::VecDeque::new();
        let (mut at, mut before) = (Position::default(), 0);
        loop {
            let batch = self.read(at, filter)?;
            for entry in &batch.entries {
                wanted.push_back(entry.number);
                if wanted.len() > count {
                    before = wanted.pop_front().unwrap_or(before);
                }
            }
            at = batch.at;
            if batch.end {
                break;
            }
        }
        // What is missing at the beginning was not asked for.
        let first = wanted.front().copied().unwrap_or(at.number + 1);
        Ok(Position::after(if before > 0 {
            before
        } else {
            first.saturating_sub(1)
        }))
    }
}

impl Batch {
    /// Take what is wanted of a file. Says whether it is enough for now.
    fn take(&mut self, mut lines: files::Lines, file: u64, filter: &Filter, bytes: &mut usize) -> io::Result<bool> {
        while let Some(line) = lines.next()? {
            let before = self.at.offset;
            self.at.file = file;
            self.at.offset = lines.offset;
            let Line::Kept(kept) = line else { continue };
            let entry = kept.entry;
            if entry.number <= self.at.number {
                continue;
            }
            if self.at.number > 0 && entry.number > self.at.number + 1 {
                self.missed += entry.number - self.at.number - 1;
            }
            self.at.number = entry.number;
            if filter.wants(&entry) {
                *bytes += usize::try_from(lines.offset.saturating_sub(before)).unwrap_or(0);
                self.entries.push(entry);
            }
            if self.entries.len() >= BATCH || *bytes >= BATCH_BYTES {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
