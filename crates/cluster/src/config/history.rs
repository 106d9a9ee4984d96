//! What changed: who did what and when, written in the same transaction as the change itself.
//!
//! A record per change under `history/NUMBER`, numbered from 1 without gaps. Secret values are never in it. How many
//! are kept is `cluster history/keep`; each change takes a few of the oldest beyond that away.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema::{REDACTED, Schema};
use super::target::Scope;
use super::tree::Change;
use super::{Error, Result};
use crate::store::{Entry, Page, Revision, Store};

/// Where the records are.
const HISTORY: &str = "history/";
/// How many old records one change takes away at most, so that it stays within the limits of a transaction.
pub(super) const MAX_FORGOTTEN: usize = 16;
/// The longest description of who and which command is kept, in characters.
const MAX_TEXT: usize = 512;

/// Who changes the tree, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The user, e.g. `root` or `alice (root)`.
    pub who: String,
    /// The command without the value, which is recorded by itself and can be secret.
    pub command: String,
}

/// One change of the tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Counted from 1.
    pub number: u64,
    /// The store's revision of the change; told by the store, so not part of what is written.
    #[serde(skip_deserializing)]
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// The user.
    pub who: String,
    /// The command.
    pub command: String,
    /// Whose values.
    pub scope: Scope,
    /// Each leaf with its old and its new value.
    pub changes: Vec<Change>,
}

impl Record {
    /// A record of what is about to be done, with secret values taken out.
    pub(super) fn new(number: u64, author: &Author, scope: &Scope, changes: &[Change], schema: &Schema) -> Self {
        let shown = |change: &Change, value: &Option<Value>| {
            let redacted = schema.is_secret(&change.path);
            value
                .as_ref()
                .map(|value| if redacted { Value::from(REDACTED) } else { value.clone() })
        };
        let changes = changes.iter().map(|change| Change {
            path: change.path.clone(),
            old: shown(change, &change.old),
            new: shown(change, &change.new),
        });
        Record {
            number,
            revision: 0,
            at: Timestamp::now(),
            who: author.who.chars().take(MAX_TEXT).collect(),
            command: author.command.chars().take(MAX_TEXT).collect(),
            scope: scope.clone(),
            changes: changes.collect(),
        }
    }
}

/// The key of a record; keys sort as their numbers do.
pub(super) fn record_key(number: u64) -> String {
    format!("{HISTORY}{number:020}")
}

/// The newest records, newest first.
pub(super) async fn list(store: &dyn Store, limit: usize) -> Result<Vec<Record>> {
    let newest = store
        .range(
            HISTORY,
            Page {
                limit,
                descending: true,
            },
        )
        .await;
    let newest = newest.map_err(|source| Error::Store {
        attempt: "read the history of",
        source,
    })?;
    newest.entries.into_iter().map(read).collect()
}

/// The keys of the oldest records that are too many once `number` is written, as many as one change takes away.
pub(super) async fn too_many(store: &dyn Store, number: u64, keep: u64) -> Result<Vec<String>> {
    let oldest = store
        .range(
            HISTORY,
            Page {
                limit: MAX_FORGOTTEN,
                descending: false,
            },
        )
        .await;
    let oldest = oldest.map_err(|source| Error::Store {
        attempt: "read the history of",
        source,
    })?;
    let first_kept = record_key((number + 1).saturating_sub(keep));
    Ok(oldest
        .entries
        .into_iter()
        .map(|entry| entry.key)
        .filter(|key| *key < first_kept)
        .collect())
}

fn read(entry: Entry) -> Result<Record> {
    let record: Record =
        serde_json::from_slice(&entry.value).map_err(|source| Error::Corrupt { key: entry.key, source })?;
    Ok(Record {
        revision: entry.revision,
        ..record
    })
}
