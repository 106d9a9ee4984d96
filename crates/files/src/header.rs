//! The block of 512 bytes before each member: numbers and names at fixed places, and a sum over all of them.

use crate::entry::{Entry, Kind};

/// The unit of an archive, in bytes.
pub const BLOCK: usize = 512;

/// A block.
pub type Block = [u8; BLOCK];

const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const MTIME: (usize, usize) = (136, 12);
const SUM: (usize, usize) = (148, 8);
const TYPE: usize = 156;
const LINK: (usize, usize) = (157, 100);
const MAGIC: (usize, usize) = (257, 8);
const MAJOR: (usize, usize) = (329, 8);
const MINOR: (usize, usize) = (337, 8);
const PREFIX: (usize, usize) = (345, 155);
/// Where GNU's sparse files say that more blocks of their map follow.
const SPARSE_GOES_ON: usize = 482;

/// The letters of blocks that say more about the member after them.
pub const PAX: u8 = b'x';
pub const PAX_GLOBAL: u8 = b'g';
pub const LONG_NAME: u8 = b'L';
pub const LONG_LINK: u8 = b'K';

/// The longest name that fits, in bytes.
pub const SHORT_NAME: usize = NAME.1;

/// Why a block is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("its checksum is wrong")]
    Sum,
    #[error("a number in it is none")]
    Number,
}

/// The member that the block announces, and its letter.
pub fn parse(block: &Block) -> Result<(Entry, u8), Error> {
    if number(field(block, SUM))? != i128::from(sum(block)) {
        return Err(Error::Sum);
    }
    let letter = block[TYPE];
    let mut path = text(field(block, NAME)).to_vec();
    if field(block, MAGIC).starts_with(b"ustar\0") {
        let prefix = text(field(block, PREFIX));
        if !prefix.is_empty() {
            path = [prefix, b"/", &path].concat();
        }
    }
    let kind = kind(letter, &path);
    let entry = Entry {
        path,
        kind,
        mode: id(field(block, MODE))? & 0o7777,
        uid: id(field(block, UID))?,
        gid: id(field(block, GID))?,
        size: u64::try_from(number(field(block, SIZE))?).map_err(|_| Error::Number)?,
        mtime: i64::try_from(number(field(block, MTIME))?).map_err(|_| Error::Number)?,
        link: text(field(block, LINK)).to_vec(),
        // Only devices have them, and some writers leave rubbish there for others.
        device: match kind {
            Kind::CharDevice | Kind::BlockDevice => (id(field(block, MAJOR))?, id(field(block, MINOR))?),
            _ => (0, 0),
        },
        attributes: Vec::new(),
    };
    Ok((entry, letter))
}

/// Whether a block of the map of a sparse file follows this header.
pub fn sparse_goes_on(block: &Block) -> bool {
    block[SPARSE_GOES_ON] != 0
}

/// The block that announces a member. What does not fit its fields is cut: see [`Writer`](crate::Writer).
pub fn format(entry: &Entry, letter: u8) -> Block {
    let mut block = [0; BLOCK];
    put_text(&mut block, NAME, &entry.path);
    put_number(&mut block, MODE, entry.mode.into());
    put_number(&mut block, UID, entry.uid.into());
    put_number(&mut block, GID, entry.gid.into());
    put_number(&mut block, SIZE, entry.size.into());
    put_number(&mut block, MTIME, entry.mtime.into());
    block[TYPE] = letter;
    put_text(&mut block, LINK, &entry.link);
    block[MAGIC.0..MAGIC.0 + MAGIC.1].copy_from_slice(b"ustar\x0000");
    put_number(&mut block, MAJOR, entry.device.0.into());
    put_number(&mut block, MINOR, entry.device.1.into());
    let sum = format!("{:06o}\0 ", sum(&block));
    put_text(&mut block, SUM, sum.as_bytes());
    block
}

/// The letter of a kind.
pub fn letter(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
        Kind::Sparse => b'S',
        Kind::Other(letter) => letter,
    }
}

fn kind(letter: u8, path: &[u8]) -> Kind {
    match letter {
        // The oldest archives know directories by their names alone.
        0 if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        b'S' => Kind::Sparse,
        other => Kind::Other(other),
    }
}

fn field(block: &Block, (at, length): (usize, usize)) -> &[u8] {
    &block[at..at + length]
}

/// Up to the first zero byte.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits between blanks, or, where the first bit is set, the number itself in big-endian bytes.
fn number(field: &[u8]) -> Result<i128, Error> {
    if field[0] & 0x80 != 0 {
        // Of the first byte the second bit is the sign.
        let first = if field[0] & 0x40 != 0 { -1 } else { 0 } << 6 | i128::from(field[0] & 0x3f);
        return Ok(field[1..]
            .iter()
            .fold(first, |number, byte| number << 8 | i128::from(*byte)));
    }
    let digits = text(field).trim_ascii();
    if digits.len() > 12 || !digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return Err(Error::Number);
    }
    Ok(digits
        .iter()
        .fold(0, |number, digit| number << 3 | i128::from(digit - b'0')))
}

fn id(field: &[u8]) -> Result<u32, Error> {
    u32::try_from(number(field)?).map_err(|_| Error::Number)
}

fn sum(block: &Block) -> u32 {
    let blank = SUM.0..SUM.0 + SUM.1;
    let byte = |(at, byte): (usize, &u8)| u32::from(if blank.contains(&at) { b' ' } else { *byte });
    block.iter().enumerate().map(byte).sum()
}

fn put_text(block: &mut Block, (at, length): (usize, usize), text: &[u8]) {
    let fits = text.len().min(length);
    block[at..at + fits].copy_from_slice(&text[..fits]);
}

fn put_number(block: &mut Block, (at, length): (usize, usize), number: i128) {
    let digits = length - 1;
    if number >= 0 && number >> (3 * digits) == 0 {
        put_text(block, (at, length), format!("{number:0digits$o}").as_bytes());
        return;
    }
    let bytes = number.to_be_bytes();
    block[at..at + length].copy_from_slice(&bytes[bytes.len() - length..]);
    block[at] |= 0x80;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_octal_or_themselves() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"\0\0\0\0", 0),
            (b"77777777", 0o7777_7777),
            (b"\x80\x00\x00\x00\x00\x00\x01\x00", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(number(field), Ok(value), "{field:?}");
        }
        for bad in [&b"000064x\0"[..], b"8\0", b"-1\0"] {
            assert_eq!(number(bad), Err(Error::Number));
        }
    }

    #[test]
    fn a_block_with_another_byte_is_refused() {
        let block = format(&Entry::new("a/b", Kind::File), b'0');
        assert!(parse(&block).is_ok());
        for at in [0, 101, 130, TYPE, 400] {
            let mut spoilt = block;
            spoilt[at] ^= 1;
            assert!(parse(&spoilt).is_err(), "{at}");
        }
    }

    #[test]
    fn the_prefix_of_a_name_stands_before_it() {
        let mut block = format(&Entry::new("b", Kind::File), b'0');
        put_text(&mut block, PREFIX, b"a/long/way");
        let sum = format!("{:06o}\0 ", sum(&block));
        put_text(&mut block, SUM, sum.as_bytes());
        assert_eq!(parse(&block).unwrap().0.path, b"a/long/way/b");
    }

    proptest! {
        #[test]
        fn what_fits_is_the_same_again(
            path in "[a-z/]{1,100}", mode in 0..0o10000u32, uid: u32, gid: u32, size in 0..u64::MAX / 2, mtime in -1 << 40..1i64 << 40,
        ) {
            let entry = Entry { mode, uid, gid, size, mtime, ..Entry::new(path, Kind::File) };
            prop_assert_eq!(parse(&format(&entry, b'0')).unwrap().0, entry);
        }

        #[test]
        fn any_block_is_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), BLOCK)) {
            let block: Block = bytes.try_into().unwrap();
            let _ = parse(&block);
        }
    }
}
