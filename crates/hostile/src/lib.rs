//! Bad input for the tests of every crate; nothing that is shipped depends on it.
//!
//! A target keeps its samples in files, good ones and those that once made trouble: its corpus. A test replays the
//! corpus as it is and then [`spoilt`], in [`pieces`]. What must hold is the test's own affair, and so are the files.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// The samples in a folder, in the order of their names.
///
/// # Panics
///
/// Where there are none, since a test of nothing passes.
#[track_caller]
pub fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let entries = Path::new(folder).read_dir();
    let entries = entries.unwrap_or_else(|error| panic!("could not read the corpus {folder}: {error}"));
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus {folder} is empty");
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()))
    };
    paths.iter().map(read).collect()
}

/// One way to spoil a sample; places and lengths are taken modulo what is there.
#[derive(Clone, Debug)]
enum Damage {
    Flip(usize, u8),
    Insert(usize, Vec<u8>),
    Overwrite(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
    CutOff(usize),
    /// The rest of another sample from there on.
    Splice(usize, usize, usize),
}

/// What parsers stumble over: edges of numbers, ends of text, what brackets, separates, quotes and escapes.
const NASTY: &[&[u8]] = &[
    b"\0",
    b"\xff\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\0",
    b"\0\x10\0\0",
    b"\r\n",
    b"\n\n",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x80\xae",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"9223372036854775808",
    b"null",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"..",
    b"/../",
    b"%00",
    b"%2f",
    b":",
    b" ",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => proptest::sample::select(NASTY).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 1..9),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<usize>;
    prop_oneof![
        (place(), 1u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        (place(), bytes()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (place(), bytes()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        (place(), 1..64usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (place(), 1..64usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
        place().prop_map(Damage::CutOff),
        (place(), place(), place()).prop_map(|(at, other, from)| Damage::Splice(at, other, from)),
    ]
}

impl Damage {
    fn apply(&self, sample: &mut Vec<u8>, all: &[Vec<u8>]) {
        let length = sample.len();
        let place = |at: usize| at % (length + 1);
        match self {
            Damage::Flip(at, bits) if length > 0 => sample[at % length] ^= bits,
            Damage::Flip(..) => {}
            Damage::Insert(at, bytes) => drop(sample.splice(place(*at)..place(*at), bytes.iter().copied())),
            Damage::Overwrite(at, bytes) => {
                let end = (place(*at) + bytes.len()).min(length);
                drop(sample.splice(place(*at)..end, bytes.iter().copied()));
            }
            Damage::Remove(at, count) => drop(sample.drain(place(*at)..(place(*at) + count).min(length))),
            Damage::Repeat(at, count) => {
                let part = sample[place(*at)..(place(*at) + count).min(length)].to_vec();
                drop(sample.splice(place(*at)..place(*at), part));
            }
            Damage::CutOff(at) => sample.truncate(place(*at)),
            Damage::Splice(at, other, from) => {
                let other = &all[other % all.len()];
                sample.truncate(place(*at));
                sample.extend_from_slice(&other[from % (other.len() + 1)..]);
            }
        }
    }
}

/// The samples, each spoilt in a few places, and now and then bytes that never were a sample.
pub fn spoilt(samples: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let of_sample = (any::<usize>(), vec(damage(), 0..6)).prop_map(move |(which, damages)| {
        let mut sample = samples[which % samples.len()].clone();
        damages.iter().for_each(|damage| damage.apply(&mut sample, &samples));
        sample
    });
    prop_oneof![
        8 => of_sample,
        1 => vec(any::<u8>(), 0..200),
    ]
}

/// As [`spoilt`], as text: what is not UTF-8 becomes U+FFFD.
pub fn spoilt_text(samples: Vec<Vec<u8>>) -> impl Strategy<Value = String> {
    spoilt(samples).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Lengths for [`pieces`].
pub fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![Just(1usize), 1..16usize, 1..4096usize], 1..12)
}

/// A stream in pieces of these lengths, again and again from the first.
pub fn pieces<'a>(mut stream: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let length = (*lengths.next()?).clamp(1, stream.len().max(1));
        let (piece, rest) = stream.split_at_checked(length)?;
        stream = rest;
        Some(piece)
    })
}

/// Any JSON, with these names among its keys.
pub fn json(keys: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u64..3).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[A-Z]{1,3}=[a-z]{0,4}".prop_map(Value::from),
        "/[a-z./]{0,8}".prop_map(Value::from),
        bytes().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned().into()),
    ];
    let key = prop_oneof![
        4 => proptest::sample::select(keys).prop_map(str::to_owned),
        1 => ".{0,6}",
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((key.clone(), inner), 0..8).prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest! {
        #[test]
        fn pieces_are_the_stream_again(stream in vec(any::<u8>(), 0..300), cuts in cuts()) {
            prop_assert!(pieces(&stream, &cuts).all(|piece| !piece.is_empty()));
            prop_assert_eq!(pieces(&stream, &cuts).collect::<Vec<_>>().concat(), stream);
        }

        #[test]
        fn even_nothing_can_be_spoilt(bytes in spoilt(std::vec![Vec::new(), b"x".to_vec()])) {
            prop_assert!(bytes.len() < 1000);
        }
    }
}
