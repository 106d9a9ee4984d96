//! One entry of a log: what is in its line on the disk, and what a client is told of it.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fence_init::protocol::Stream;
use serde::{Deserialize, Serialize};

use crate::container::ProcessId;

/// Which output: of a process of this id, the one that was started as this run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub process: ProcessId,
    pub run: u64,
    pub stream: Stream,
}

/// A part of an output, or the mark of one that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// One more than that of the entry before.
    pub number: u64,
    /// RFC 3339.
    pub time: String,
    pub process: ProcessId,
    pub stream: Stream,
    /// A line without its end, or a part of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The same where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// More of this line follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// So many bytes are missing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// Why they are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// An entry as it is on the disk: with how far it reaches in the whole of its stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    #[serde(flatten)]
    pub(super) entry: Entry,
    pub(super) run: u64,
    pub(super) upto: u64,
}

/// What a file begins with: how far each output had come before it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Heading {
    pub(super) written: Vec<(Place, u64)>,
    /// The number of the last entry before it.
    pub(super) last: u64,
}

/// How far each output has come.
pub(super) type Written = HashMap<Place, u64>;

/// What is to become an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub what: What,
    /// How far it reaches.
    pub upto: u64,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Line(Vec<u8>),
    /// A part of a line, of which more follows.
    Part(Vec<u8>),
    Dropped(u64, &'static str),
}

impl Piece {
    /// How many bytes of it are to be written.
    pub fn size(&self) -> u64 {
        match self.what {
            What::Dropped(..) => 0,
            _ => self.length(),
        }
    }

    /// How many bytes of output it stands for.
    pub(super) fn length(&self) -> u64 {
        match &self.what {
            What::Line(bytes) => bytes.len() as u64 + 1,
            What::Part(bytes) => bytes.len() as u64,
            What::Dropped(bytes, _) => *bytes,
        }
    }
}

impl Entry {
    pub(super) fn of(number: u64, time: String, place: &Place, what: What) -> Entry {
        let mut entry = Entry {
            number,
            time,
            process: place.process.clone(),
            stream: place.stream,
            text: None,
            base64: None,
            partial: matches!(what, What::Part(_)),
            dropped: None,
            reason: String::new(),
        };
        match what {
            What::Line(bytes) | What::Part(bytes) => match String::from_utf8(bytes) {
                Ok(text) => entry.text = Some(text),
                Err(other) => entry.base64 = Some(STANDARD.encode(other.as_bytes())),
            },
            What::Dropped(bytes, reason) => {
                entry.dropped = Some(bytes);
                reason.clone_into(&mut entry.reason);
            }
        }
        entry
    }
}
