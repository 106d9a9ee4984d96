//! Which node a word means, and what no node may be called so that it means no other. Plain functions on records.

use std::net::IpAddr;

use uuid::Uuid;

use super::{Error, Result};
use crate::config::{self, Name};
use crate::nodes::Record;

/// The fewest characters of an id that stand for it.
const SHORTEST_ID: usize = 4;

/// The one of these nodes that is meant.
pub fn find_among<'a>(nodes: &'a [Record], word: &str) -> Result<&'a Record> {
    meant(nodes, word, Record::is_called)
}

/// A name that could be taken for another node's id or address is none.
pub fn check_name(name: &Name) -> Result<()> {
    let is = match name.as_str() {
        text if text.parse::<IpAddr>().is_ok() => "an address",
        text if text.parse::<Uuid>().is_ok() => "an id",
        _ => return Ok(()),
    };
    let reason = format!("{name} cannot be the name of a node: it is {is}");
    Err(Error::Refused { reason })
}

/// The one that is meant by its name, exactly, or by the beginning of its id.
pub(super) fn meant<'a>(nodes: &'a [Record], word: &str, exactly: fn(&Record, &str) -> bool) -> Result<&'a Record> {
    // A name goes before all else: it is what people gave.
    if let Some(named) = nodes.iter().find(|node| node.name.as_str() == word) {
        return Ok(named);
    }
    let exact: Vec<&Record> = nodes.iter().filter(|node| exactly(node, word)).collect();
    let begins = word.to_ascii_lowercase();
    let short = |node: &&Record| begins.len() >= SHORTEST_ID && node.id.to_string().starts_with(&begins);
    let meant = match exact.is_empty() {
        true => nodes.iter().filter(short).collect(),
        false => exact,
    };
    match meant.as_slice() {
        [one] => Ok(one),
        [] => {
            let names = nodes.iter().map(|node| node.name.as_str());
            let near = config::near(word, names).and_then(|name| Name::new(name).ok());
            let word = word.to_owned();
            Err(Error::NoNode { word, near })
        }
        several => Err(Error::Ambiguous {
            word: word.to_owned(),
            nodes: several.iter().map(|node| node.name.clone()).collect(),
        }),
    }
}
