//! Reads an archive, member by member. Knows the extensions that writers of today use (pax, and GNU's long names); keeps
//! of none more than [`MAX_EXTENSION`] bytes.

use std::io::{self, Read};

use crate::entry::{Entry, Kind};
use crate::header::{self, BLOCK, Block, LONG_LINK, LONG_NAME, PAX, PAX_GLOBAL};

/// The most that is taken of what is said about one member besides its header, in bytes.
pub const MAX_EXTENSION: u64 = 1024 * 1024;

/// Why there is nothing more to be had of an archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the archive ends in the middle")]
    Truncated,
    #[error("this is no tar archive, or it is damaged: at byte {at} is no header: {why}")]
    Header { at: u64, why: header::Error },
    #[error("this is no tar archive, or it is damaged: what is said of the member at byte {at} makes no sense")]
    Extension { at: u64 },
    #[error("more than {MAX_EXTENSION} bytes are said of the member at byte {at}")]
    TooMuch { at: u64 },
    #[error("could not read the archive: {0}")]
    Read(io::Error),
}

/// What came before a header and belongs to its member.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<i64>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: bool,
    bytes: u64,
}

/// Reads an archive. As a [`Read`] it is the content of the present member.
pub struct Reader<R> {
    input: R,
    /// Where in the archive the next byte is.
    at: u64,
    /// What is left of the present member's content, and of the blank behind it.
    left: u64,
    blank: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// A reader at the beginning of an archive.
    pub fn new(input: R) -> Reader<R> {
        Reader {
            input,
            at: 0,
            left: 0,
            blank: 0,
            ended: false,
        }
    }

    /// The next member; what was not read of the one before is passed over. `None` = the archive is over.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let mut said = Said::default();
        loop {
            let at = self.at + self.left + self.blank;
            let Some(block) = self.next_block()? else {
                // Something was said of a member that does not come.
                return if said.bytes == 0 {
                    Ok(None)
                } else {
                    Err(Error::Truncated)
                };
            };
            let (entry, letter) = header::parse(&block).map_err(|why| Error::Header { at, why })?;
            match letter {
                PAX => {
                    let records = self.extension(at, entry.size, &mut said.bytes)?;
                    said.pax(&records, at)?;
                }
                LONG_NAME => said.path = Some(until_zero(self.extension(at, entry.size, &mut said.bytes)?)),
                LONG_LINK => said.link = Some(until_zero(self.extension(at, entry.size, &mut said.bytes)?)),
                // About all members: comments, mostly.
                PAX_GLOBAL => self.content_of(entry.size, at)?,
                _ => {
                    if entry.kind == Kind::Sparse {
                        self.skip_sparse_map(block)?;
                    }
                    let entry = said.complete(entry);
                    // Nothing but files has content, whatever its header says of a size; some writers say one for links.
                    let size = match entry.kind {
                        Kind::File | Kind::Sparse | Kind::Other(_) => entry.size,
                        _ => 0,
                    };
                    self.content_of(size, at)?;
                    return Ok(Some(Entry { size, ..entry }));
                }
            }
        }
    }

    /// The input, to be read on behind the end of the archive.
    pub fn into_input(self) -> R {
        self.input
    }

    /// A content of that length follows.
    fn content_of(&mut self, size: u64, at: u64) -> Result<(), Error> {
        // No file is as long as that, and sums of lengths stay sums.
        if size > u64::MAX / 4 {
            return Err(Error::Extension { at });
        }
        self.left = size;
        self.blank = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn extension(&mut self, at: u64, size: u64, sum: &mut u64) -> Result<Vec<u8>, Error> {
        *sum = sum.saturating_add(size).saturating_add(1);
        if *sum > MAX_EXTENSION {
            return Err(Error::TooMuch { at });
        }
        self.content_of(size, at)?;
        let mut content = Vec::new();
        self.read_to_end(&mut content).map_err(failed)?;
        Ok(content)
    }

    fn skip_sparse_map(&mut self, mut block: Block) -> Result<(), Error> {
        let mut more = header::sparse_goes_on(&block);
        while more {
            block = self.block()?.ok_or(Error::Truncated)?;
            more = block[504] != 0;
        }
        Ok(())
    }

    /// The next block that is a header; blank ones and the end of the input are the end of the archive.
    fn next_block(&mut self) -> Result<Option<Block>, Error> {
        if self.ended {
            return Ok(None);
        }
        self.skip()?;
        let block = self.block()?.filter(|block| block.iter().any(|byte| *byte != 0));
        self.ended = block.is_none();
        Ok(block)
    }

    fn skip(&mut self) -> Result<(), Error> {
        let mut scrap = [0; 16 * 1024];
        while self.read(&mut scrap).map_err(failed)? > 0 {}
        self.left = std::mem::take(&mut self.blank);
        while self.read(&mut scrap).map_err(failed)? > 0 {}
        Ok(())
    }

    /// One block, or `None` where the input ends before it.
    fn block(&mut self) -> Result<Option<Block>, Error> {
        let mut block = [0; BLOCK];
        let mut got = 0;
        while got < BLOCK {
            match self.input.read(&mut block[got..]) {
                Ok(0) if got == 0 => return Ok(None),
                Ok(0) => return Err(Error::Truncated),
                Ok(count) => got += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
        self.at += BLOCK as u64;
        Ok(Some(block))
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        self.at += count as u64;
        Ok(count)
    }
}

impl Said {
    /// Take in pax records: `LENGTH KEY=VALUE\n`, the length over all of it.
    fn pax(&mut self, mut records: &[u8], at: u64) -> Result<(), Error> {
        let wrong = || Error::Extension { at };
        while !records.is_empty() {
            let digits = records.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length: usize = parsed(&records[..digits]).ok_or_else(wrong)?;
            let record = records.get(digits + 1..length).ok_or_else(wrong)?;
            let (b'\n', record) = record.split_last().ok_or_else(wrong)? else {
                return Err(wrong());
            };
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            self.take(&record[..equals], &record[equals + 1..]).ok_or_else(wrong)?;
            records = &records[length..];
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(parsed(value)?),
            b"uid" => self.uid = Some(parsed(value)?),
            b"gid" => self.gid = Some(parsed(value)?),
            b"mtime" => self.mtime = Some(parsed(value.split(|byte| *byte == b'.').next()?)?),
            _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }

    fn complete(self, entry: Entry) -> Entry {
        Entry {
            path: self.path.unwrap_or(entry.path),
            link: self.link.unwrap_or(entry.link),
            size: self.size.unwrap_or(entry.size),
            uid: self.uid.unwrap_or(entry.uid),
            gid: self.gid.unwrap_or(entry.gid),
            mtime: self.mtime.unwrap_or(entry.mtime),
            kind: if self.sparse { Kind::Sparse } else { entry.kind },
            attributes: self.attributes,
            ..entry
        }
    }
}

fn parsed<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn until_zero(mut text: Vec<u8>) -> Vec<u8> {
    let end = text.iter().position(|byte| *byte == 0);
    text.truncate(end.unwrap_or(text.len()));
    text
}

/// An archive that ends within a member.
pub(crate) fn failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated,
        _ => Error::Read(error),
    }
}
