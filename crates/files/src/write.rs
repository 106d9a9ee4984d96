//! Writes an archive, member by member: plain headers that every reader knows, and pax records for what does not fit
//! them.

use std::io::{self, Write};

use crate::entry::{Entry, Kind};
use crate::header::{self, BLOCK, PAX, SHORT_NAME};

/// Writes an archive. As a [`Write`] it takes the content of the present member.
pub struct Writer<W> {
    output: W,
    /// What is missing of the present member's content, and the blank behind it.
    left: u64,
    blank: usize,
}

impl<W: Write> Writer<W> {
    /// A writer of an archive without members yet.
    pub fn new(output: W) -> Writer<W> {
        Writer {
            output,
            left: 0,
            blank: 0,
        }
    }

    /// Announce the next member. What is missing of the content of the one before is made of zeros.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.fill()?;
        let records = records(entry);
        if !records.is_empty() {
            let mut about = Entry::new("pax", Kind::Other(PAX));
            about.size = records.len() as u64;
            self.announce(&about)?;
            self.write_all(&records)?;
            self.fill()?;
        }
        self.announce(entry)
    }

    /// The archive is complete.
    pub fn finish(mut self) -> io::Result<W> {
        self.fill()?;
        self.output.write_all(&[0; 2 * BLOCK])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn announce(&mut self, entry: &Entry) -> io::Result<()> {
        self.output
            .write_all(&header::format(entry, header::letter(entry.kind)))?;
        self.left = entry.size;
        self.blank = (entry.size.next_multiple_of(BLOCK as u64) - entry.size) as usize;
        Ok(())
    }

    /// Complete the present member.
    fn fill(&mut self) -> io::Result<()> {
        io::copy(&mut io::Read::take(io::repeat(0), self.left), &mut self.output)?;
        self.left = 0;
        let blank = std::mem::take(&mut self.blank);
        self.output.write_all(&[0; BLOCK][..blank])
    }
}

impl<W: Write> Write for Writer<W> {
    /// Takes no more than was announced.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
        let count = self.output.write(&data[..most])?;
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// What the header has no room for.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    for (key, value) in [("path", &entry.path), ("linkpath", &entry.link)] {
        if value.len() > SHORT_NAME {
            records.extend(record(key.as_bytes(), value));
        }
    }
    for (name, value) in &entry.attributes {
        records.extend(record(&[b"SCHILY.xattr.", &name[..]].concat(), value));
    }
    records
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits too.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;
    use crate::read::{Error, Reader};

    fn archive(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (entry, content) in entries {
            writer.entry(entry).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap()
    }

    fn members(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
        let mut reader = Reader::new(archive);
        let mut members = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).map_err(crate::read::failed)?;
            members.push((entry, content));
        }
        Ok(members)
    }

    fn sample() -> Vec<(Entry, Vec<u8>)> {
        let file = |path: &str, content: &[u8]| {
            let entry = Entry {
                size: content.len() as u64,
                attributes: vec![(b"user.a".to_vec(), b"\x00=\n".to_vec())],
                ..Entry::new(path, Kind::File)
            };
            (entry, content.to_vec())
        };
        let link = Entry {
            link: "y".repeat(300).into_bytes(),
            ..Entry::new("link", Kind::Symlink)
        };
        vec![
            (Entry::new("dir/", Kind::Directory), vec![]),
            file("dir/file", b"hello"),
            file(&"x/".repeat(200), &[7; 1024]),
            (link, vec![]),
            file("empty", b""),
        ]
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(members(&archive(&sample())).unwrap(), sample());
    }

    #[test]
    fn a_length_counts_its_own_digits() {
        assert_eq!(record(b"a", b""), b"5 a=\n");
        assert_eq!(record(b"a", b"1234"), b"9 a=1234\n");
        assert_eq!(record(b"a", b"12345"), b"11 a=12345\n");
    }

    #[test]
    fn content_that_does_not_come_is_zeros_and_more_of_it_is_refused() {
        let mut writer = Writer::new(Vec::new());
        let announced = Entry {
            size: 3,
            ..Entry::new("a", Kind::File)
        };
        writer.entry(&announced).unwrap();
        writer.entry(&announced).unwrap();
        assert!(writer.write_all(b"abcd").is_err());
        let members = members(&writer.finish().unwrap()).unwrap();
        let contents: Vec<_> = members.into_iter().map(|(_, content)| content).collect();
        assert_eq!(contents, [b"\0\0\0".to_vec(), b"abc".to_vec()]);
    }

    #[test]
    fn an_archive_that_ends_early_is_told_from_one_that_is_over() {
        let whole = archive(&sample());
        let until = |length: usize| members(&whole[..length]);
        // Between members an archive may end, which some writers do without saying so.
        assert!(until(0).unwrap().is_empty() && until(512).unwrap().len() == 1);
        for length in [1, 511, 513, 1024, 1537, 2048, 2050] {
            assert!(matches!(until(length), Err(Error::Truncated)), "{length}");
        }
        assert_eq!(until(whole.len() - 512).unwrap().len(), 5);
    }

    #[test]
    fn what_is_said_of_a_member_is_bounded() {
        let mut about = Entry::new("pax", Kind::Other(PAX));
        about.size = 1 << 40;
        let huge = header::format(&about, PAX);
        assert!(matches!(members(&huge), Err(Error::TooMuch { at: 0 })));
        about.size = u64::MAX;
        assert!(members(&header::format(&about, b'0')).is_err());
    }

    proptest! {
        #[test]
        fn a_spoilt_archive_is_read_or_refused(spoilt in hostile::spoilt(vec![archive(&sample())])) {
            if let Ok(members) = members(&spoilt) {
                prop_assert!(members.len() < spoilt.len() / BLOCK + 1);
            }
        }
    }
}
