//! The journal's files: a line of JSON an event, appended, and the older half thrown away when the newer is full.
//!
//! A line that was cut off by a crash was seen by nobody and is passed over. Knows nothing of who reads events.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Event;

/// The events of one file.
pub(super) const PER_FILE: usize = 4096;
/// The most that is read of one file, in bytes; well above what so many events take.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// Left out once the machine was started: what was written last may not have reached the disk.
const AFTER_BOOT: u64 = 1000;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

pub(super) struct Files {
    directory: PathBuf,
    newer: Option<File>,
    lines: usize,
}

/// What the files held.
pub(super) struct Found {
    pub(super) events: Vec<Event>,
    /// The number of the last event that anyone may have seen.
    pub(super) last: u64,
}

impl Files {
    /// Files that take nothing: their directory cannot be used.
    pub(super) fn none(directory: &Path) -> Files {
        Files {
            directory: directory.to_owned(),
            newer: None,
            lines: 0,
        }
    }

    pub(super) fn open(directory: &Path) -> io::Result<(Files, Found)> {
        std::fs::create_dir_all(directory)?;
        let mut files = Files::none(directory);
        let (older, _) = read(&files.older())?;
        let (newer, whole) = read(&files.path())?;
        files.lines = newer.len();
        files.append()?;
        if !whole && let Some(file) = &mut files.newer {
            file.write_all(b"\n")?;
        }
        let mut events = older;
        events.extend(newer);
        let last = events.iter().map(|event| event.number).max().unwrap_or(0);
        let last = if files.note_boot()? { last } else { last + AFTER_BOOT };
        Ok((files, Found { events, last }))
    }

    /// Write one event down. Nothing is in the file of one that failed but a line that makes no sense.
    pub(super) fn put(&mut self, event: &Event) -> io::Result<()> {
        if self.newer.is_none() {
            std::fs::create_dir_all(&self.directory)?;
            self.append()?;
        }
        if self.lines >= PER_FILE {
            std::fs::rename(self.path(), self.older())?;
            self.lines = 0;
            self.append()?;
        }
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let Some(file) = &mut self.newer else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let written = file.write(&line)?;
        if written < line.len() {
            // The disk is full; the next line must begin as one.
            let length = file.metadata()?.len();
            file.set_len(length - written as u64)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.lines += 1;
        Ok(())
    }

    fn append(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        self.newer = Some(options.append(true).create(true).mode(0o600).open(self.path())?);
        Ok(())
    }

    /// Whether the machine is the same start of it as when this was asked last; noted for the next time.
    fn note_boot(&self) -> io::Result<bool> {
        let path = self.directory.join("boot");
        let now = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
        let before = std::fs::read_to_string(&path);
        if before.as_ref().is_ok_and(|before| *before == now) {
            return Ok(true);
        }
        std::fs::write(&path, now)?;
        Ok(before.is_err_and(|error| error.kind() == io::ErrorKind::NotFound))
    }

    fn path(&self) -> PathBuf {
        self.directory.join("events.jsonl")
    }

    fn older(&self) -> PathBuf {
        self.directory.join("events.1.jsonl")
    }
}

/// The events of a file, and whether its last line is whole. A line that makes no sense, or is of a later fence, is
/// passed over.
fn read(path: &Path) -> io::Result<(Vec<Event>, bool)> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_FILE).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let whole = text.last().is_none_or(|last| *last == b'\n');
    let lines = text.split(|byte| *byte == b'\n');
    let events = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    Ok((events, whole))
}
