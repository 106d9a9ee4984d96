//! The files of one container's log: numbered, the highest is written to, the lowest go first.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::entry::{Heading, Kept, Written};

/// The longest line that is read, in bytes; what fence writes is much shorter.
const MAX_LINE: u64 = 256 * 1024;

/// One line of a file.
#[derive(Debug)]
pub(super) enum Line {
    Heading(Heading),
    Kept(Box<Kept>),
    /// Cut off by a crash, or of a later fence.
    Other,
}

/// The numbers of the files there are, ascending.
pub(super) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:08}.log"))
}

/// How much a container's files take.
pub(super) fn size(directory: &Path) -> u64 {
    let numbers = list(directory).unwrap_or_default();
    let sizes = numbers.iter().map(|number| std::fs::metadata(path(directory, *number)));
    sizes.filter_map(Result::ok).map(|metadata| metadata.len()).sum()
}

/// Open a file to write to; its directory is made with it.
pub(super) fn append(directory: &Path, number: u64) -> io::Result<File> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let mut options = OpenOptions::new();
    options
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path(directory, number))
}

/// Where the lines of a file end, what the last entry is, and how far each output has come.
pub(super) fn ends(directory: &Path, number: u64) -> io::Result<(u64, u64, Written)> {
    let mut reader = Lines::open(directory, number, 0)?;
    let (mut last, mut written) = (0, Written::new());
    while let Some(line) = reader.next()? {
        match line {
            Line::Heading(heading) => {
                last = heading.last;
                written = heading.written.into_iter().collect();
            }
            Line::Kept(kept) => {
                last = kept.entry.number;
                let place = super::Place {
                    process: kept.entry.process,
                    run: kept.run,
                    stream: kept.entry.stream,
                };
                written.insert(place, kept.upto);
            }
            Line::Other => {}
        }
    }
    Ok((reader.offset, last, written))
}

/// The whole lines of a file, from an offset.
pub(super) struct Lines {
    reader: BufReader<File>,
    /// Behind the last whole line that was read.
    pub(super) offset: u64,
}

impl Lines {
    pub(super) fn open(directory: &Path, number: u64, offset: u64) -> io::Result<Lines> {
        let mut file = File::open(path(directory, number))?;
        file.seek(SeekFrom::Start(offset))?;
        let reader = BufReader::with_capacity(64 * 1024, file);
        Ok(Lines { reader, offset })
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        let length = (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut line)?;
        let whole = line.last() == Some(&b'\n');
        if !whole && (length as u64) < MAX_LINE {
            // More of it may be written by and by.
            return Ok(None);
        }
        self.offset += length as u64;
        if let Ok(kept) = serde_json::from_slice::<Kept>(&line) {
            return Ok(Some(Line::Kept(Box::new(kept))));
        }
        Ok(Some(match serde_json::from_slice::<Heading>(&line) {
            Ok(heading) => Line::Heading(heading),
            Err(_) => Line::Other,
        }))
    }
}
