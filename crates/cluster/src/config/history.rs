//! What changed: who did what and when, written in the same transaction as the change itself.
//!
//! A record per change of a layer under `history/NUMBER`, numbered from 1 without gaps; a change of several layers at
//! once writes several records in one revision. Secret values are never in it. How many are kept is
//! `cluster history/keep`; each change takes a few of the oldest beyond that away. What follows from the records, such
//! as what the tree was, is in `past`.

use std::ops::ControlFlow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema::{REDACTED, Schema};
use super::target::{Part, Scope};
use super::tree::Change;
use super::{Error, Result};
use crate::store::{Entry, Page, Revision, Store};

/// Where the records are.
pub(super) const HISTORY: &str = "history/";
/// How many old records one change takes away at most, so that it stays within the limits of a transaction.
pub(super) const MAX_FORGOTTEN: usize = 16;
/// How many records are read at once: those whose keys share all but their last two digits.
const PAGE: u64 = 100;
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

/// One change of one layer of the tree.
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

/// Which changes are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Of which part of the tree; of others' records only these changes are given.
    pub part: Part,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Those of at most so many revisions, the newest.
    pub limit: usize,
}

/// The changes that were asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Newest first.
    pub records: Vec<Record>,
    /// There are more than were asked for.
    pub more: bool,
    /// How many changes, the oldest, are not remembered any more.
    pub forgotten: u64,
    /// Records among these that cannot be read, newest first. Whether they were asked for is not known.
    pub unreadable: Vec<Unreadable>,
}

/// A record that is there and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Counted from 1, as of any record.
    pub number: u64,
    /// The revision at which it was last written.
    pub revision: Revision,
    /// Why it cannot be read.
    pub reason: String,
}

impl Query {
    /// The newest changes of the whole tree.
    pub fn newest(limit: usize) -> Self {
        Query {
            limit,
            ..Query::default()
        }
    }
}

impl Record {
    /// A record of what is about to be done, with secret values taken out.
    pub(super) fn new(number: u64, author: &Author, scope: &Scope, changes: &[Change], schema: &Schema) -> Self {
        Record {
            number,
            revision: 0,
            at: Timestamp::now(),
            who: author.who.chars().take(MAX_TEXT).collect(),
            command: author.command.chars().take(MAX_TEXT).collect(),
            scope: scope.clone(),
            changes: changes.iter().map(|change| redacted(change, schema)).collect(),
        }
    }

    /// What the store holds of a record, with what is secret by today's schema taken out.
    pub(super) fn read(key: &str, value: &[u8], revision: Revision, schema: &Schema) -> Result<Self> {
        let record: Record = serde_json::from_slice(value).map_err(|source| Error::Corrupt {
            key: key.to_owned(),
            source,
        })?;
        Ok(Record {
            revision,
            changes: record.changes.iter().map(|change| redacted(change, schema)).collect(),
            ..record
        })
    }
}

/// A change as it may be shown and kept.
pub(super) fn redacted(change: &Change, schema: &Schema) -> Change {
    let is_secret = schema.is_secret(&change.path);
    let shown = |value: &Option<Value>| {
        value.as_ref().map(|value| {
            if is_secret {
                Value::from(REDACTED)
            } else {
                value.clone()
            }
        })
    };
    Change {
        path: change.path.clone(),
        old: shown(&change.old),
        new: shown(&change.new),
    }
}

/// The key of a record; keys sort as their numbers do.
pub(super) fn record_key(number: u64) -> String {
    format!("{HISTORY}{number:020}")
}

/// The changes that are asked for, newest first.
pub(super) async fn find(store: &dyn Store, query: &Query, schema: &Schema) -> Result<History> {
    let mut found = History::default();
    let mut revisions = 0;
    walk(store, None, schema, |record| {
        let mut record = match record {
            Ok(record) => record,
            Err((unreadable, _)) => {
                found.unreadable.push(unreadable);
                return ControlFlow::Continue(());
            }
        };
        record
            .changes
            .retain(|change| query.part.holds(&record.scope, &change.path));
        // All are looked at: where the clock was set back, an older record can have a later time.
        if record.changes.is_empty() || query.since.is_some_and(|since| record.at < since) {
            return ControlFlow::Continue(());
        }
        if found.records.last().map(|last| last.revision) != Some(record.revision) {
            if revisions == query.limit {
                found.more = true;
                return ControlFlow::Break(());
            }
            revisions += 1;
        }
        found.records.push(record);
        ControlFlow::Continue(())
    })
    .await?;
    let oldest = edge(store, false).await?;
    found.forgotten = oldest.map_or(0, |oldest| oldest.saturating_sub(1));
    Ok(found)
}

/// Give the records to `take`, newest first and none left out, from this number or from the newest on, until it has
/// enough or older ones are forgotten. One that cannot be read is given as what is known of it.
pub(super) async fn walk(
    store: &dyn Store,
    from: Option<u64>,
    schema: &Schema,
    mut take: impl FnMut(std::result::Result<Record, (Unreadable, Error)>) -> ControlFlow<()> + Send,
) -> Result<()> {
    walk_entries(store, from, |number, entry| {
        let record = Record::read(&entry.key, &entry.value, entry.revision, schema);
        take(record.map_err(|error| {
            let reason = match &error {
                Error::Corrupt { source, .. } => source.to_string(),
                other => other.to_string(),
            };
            let revision = entry.revision;
            let unreadable = Unreadable {
                number,
                revision,
                reason,
            };
            (unreadable, error)
        }))
    })
    .await
}

/// The same with what the store holds of each record, and its number.
pub(super) async fn walk_entries(
    store: &dyn Store,
    from: Option<u64>,
    mut take: impl FnMut(u64, Entry) -> ControlFlow<()> + Send,
) -> Result<()> {
    let newest = match from {
        Some(number) => Some(number),
        None => edge(store, true).await?,
    };
    let Some(mut next) = newest else { return Ok(()) };
    while next > 0 {
        // All records whose numbers differ in the last two digits alone.
        let mut page = record_key(next);
        page.truncate(page.len() - 2);
        let mut is_whole = false;
        for entry in read_range(store, &page, usize::MAX, true).await? {
            let number = number(&entry.key)?;
            if number > next {
                continue;
            }
            if number != next {
                return Ok(());
            }
            is_whole = number.is_multiple_of(PAGE);
            next -= 1;
            if take(number, entry).is_break() {
                return Ok(());
            }
        }
        if !is_whole {
            return Ok(());
        }
    }
    Ok(())
}

/// The number of the newest record, or of the oldest.
async fn edge(store: &dyn Store, newest: bool) -> Result<Option<u64>> {
    let found = read_range(store, HISTORY, 1, newest).await?.into_iter().next();
    found.map(|entry| number(&entry.key)).transpose()
}

/// The number of the record under this key.
pub(super) fn number(key: &str) -> Result<u64> {
    let number = key.strip_prefix(HISTORY).unwrap_or_default().parse();
    number.map_err(|error| Error::Corrupt {
        key: key.to_owned(),
        source: serde::de::Error::custom(error),
    })
}

/// The keys of the oldest records that are too many once `number` is written, as many as one change takes away.
pub(super) async fn too_many(store: &dyn Store, number: u64, keep: u64) -> Result<Vec<String>> {
    let oldest = read_range(store, HISTORY, MAX_FORGOTTEN, false).await?;
    let first_kept = record_key((number + 1).saturating_sub(keep));
    let keys = oldest.into_iter().map(|entry| entry.key);
    Ok(keys.filter(|key| *key < first_kept).collect())
}

async fn read_range(store: &dyn Store, prefix: &str, limit: usize, descending: bool) -> Result<Vec<Entry>> {
    let range = store.range(prefix, Page { limit, descending }).await;
    let range = range.map_err(|source| Error::Store {
        attempt: "read the history of",
        source,
    })?;
    Ok(range.entries)
}
