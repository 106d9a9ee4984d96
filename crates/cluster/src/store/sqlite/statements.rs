//! What the store's calls are in SQL. Blocking, each one transaction, with the limits already checked.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::connection::sqlite_error;
use super::leases;
use crate::store::limits::KEPT_REVISIONS;
use crate::store::{Changes, Entry, Error, Event, LeaseId, Operation, Outcome, Page, Range, Result, Revision, Txn};

/// How many revisions a watch reads at once.
const REVISIONS_AT_ONCE: i64 = 16;
/// How often, in revisions, old changes are forgotten.
const FORGET_EVERY: Revision = 256;

/// One read of the log.
#[derive(Debug)]
pub struct LogPage {
    pub changes: Vec<Changes>,
    /// Everything up to here was read.
    pub through: Revision,
    /// There is more to read.
    pub more: bool,
}

/// Our word for SQLite's, with the file it speaks of.
pub(super) fn failed(connection: &Connection, attempt: &'static str) -> impl Fn(rusqlite::Error) -> Error + use<> {
    let path = connection.path().unwrap_or_default().to_owned();
    move |source| sqlite_error(attempt, Path::new(&path), source)
}

/// The keys that start with `prefix`.
pub fn range(connection: &mut Connection, prefix: &str, page: Page) -> Result<Range> {
    let failed = failed(connection, "read");
    let transaction = connection.transaction().map_err(&failed)?;
    let (revision, _) = revisions(&transaction).map_err(&failed)?;
    let order = if page.descending { "DESC" } else { "ASC" };
    let query = format!(
        "SELECT key, value, revision, lease FROM entries
         WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key {order} LIMIT ?3"
    );
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let read = || {
        let mut statement = transaction.prepare_cached(&query)?;
        let rows = statement.query_map(params![prefix.as_bytes(), end_of(prefix), limit], |row| {
            Ok(Entry {
                key: text(row, 0)?,
                value: row.get(1)?,
                revision: row.get(2)?,
                lease: row.get::<_, Option<i64>>(3)?.map(LeaseId),
            })
        })?;
        rows.collect::<rusqlite::Result<Vec<Entry>>>()
    };
    Ok(Range {
        revision,
        entries: read().map_err(&failed)?,
    })
}

/// Do a transaction, unless what it rests on has changed.
pub fn txn(connection: &mut Connection, txn: &Txn) -> Result<Outcome> {
    let failed = failed(connection, "change");
    let transaction = immediate(connection).map_err(&failed)?;
    for compare in &txn.compares {
        let found = transaction
            .prepare_cached("SELECT revision FROM entries WHERE key = ?1")
            .and_then(|mut query| {
                query
                    .query_row([compare.key.as_bytes()], |row| row.get::<_, Revision>(0))
                    .optional()
            });
        if found.map_err(&failed)?.unwrap_or(0) != compare.revision {
            return Ok(Outcome::Stale);
        }
    }
    for operation in &txn.operations {
        if let Operation::Put { lease: Some(lease), .. } = operation
            && !leases::exists(&transaction, *lease).map_err(&failed)?
        {
            return Err(Error::NoLease { lease: *lease });
        }
    }
    let revision = apply(&transaction, &txn.operations).map_err(&failed)?;
    transaction.commit().map_err(&failed)?;
    Ok(Outcome::Done(revision))
}

/// Make the changes in one new revision; without any the revision stays. Returns the revision there is then.
pub(super) fn apply(transaction: &Transaction<'_>, operations: &[Operation]) -> rusqlite::Result<Revision> {
    let (present, _) = revisions(transaction)?;
    let revision = present + 1;
    let mut changed = false;
    let mut put = transaction.prepare_cached(
        "INSERT INTO entries (key, value, revision, lease) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO UPDATE
         SET value = excluded.value, revision = excluded.revision, lease = excluded.lease",
    )?;
    let mut delete = transaction.prepare_cached("DELETE FROM entries WHERE key = ?1")?;
    let mut log = transaction.prepare_cached("INSERT INTO changes (revision, key, value) VALUES (?1, ?2, ?3)")?;
    for operation in operations {
        match operation {
            Operation::Put { key, value, lease } => {
                put.execute(params![key.as_bytes(), value, revision, lease.map(|lease| lease.0)])?;
                log.execute(params![revision, key.as_bytes(), value])?;
                changed = true;
            }
            Operation::Delete { key } => {
                if delete.execute([key.as_bytes()])? > 0 {
                    log.execute(params![revision, key.as_bytes(), None::<Vec<u8>>])?;
                    changed = true;
                }
            }
        }
    }
    if !changed {
        return Ok(present);
    }
    transaction.execute("UPDATE state SET revision = ?1", [revision])?;
    if revision.is_multiple_of(FORGET_EVERY) && revision > KEPT_REVISIONS {
        forget(transaction, revision - KEPT_REVISIONS)?;
    }
    Ok(revision)
}

/// Whether changes after `after` can be had.
pub fn check_after(connection: &Connection, after: Revision) -> Result<()> {
    let (present, compacted) = revisions(connection).map_err(failed(connection, "watch"))?;
    match after {
        _ if after < compacted => Err(Error::Compacted {
            after,
            through: compacted,
        }),
        _ if after > present => Err(Error::Ahead { after, present }),
        _ => Ok(()),
    }
}

/// The next changes after `after` of keys that start with `prefix`.
pub fn changes(connection: &mut Connection, prefix: &str, after: Revision) -> Result<LogPage> {
    let failed = failed(connection, "watch");
    let transaction = connection.transaction().map_err(&failed)?;
    check_after(&transaction, after)?;
    let read = || {
        let (present, _) = revisions(&transaction)?;
        let mut bounds = transaction
            .prepare_cached("SELECT DISTINCT revision FROM changes WHERE revision > ?1 ORDER BY revision LIMIT ?2")?;
        let bounds = bounds.query_map(params![after, REVISIONS_AT_ONCE], |row| row.get::<_, Revision>(0))?;
        let through = bounds.last().transpose()?.unwrap_or(present);
        let mut log = transaction.prepare_cached(
            "SELECT revision, key, value FROM changes WHERE revision > ?1 AND revision <= ?2
             AND key >= ?3 AND (?4 IS NULL OR key < ?4) ORDER BY revision, id",
        )?;
        let rows = log.query_map(params![after, through, prefix.as_bytes(), end_of(prefix)], |row| {
            let (key, value) = (text(row, 1)?, row.get::<_, Option<Vec<u8>>>(2)?);
            let event = match value {
                Some(value) => Event::Put { key, value },
                None => Event::Delete { key },
            };
            Ok((row.get::<_, Revision>(0)?, event))
        })?;
        let mut changes: Vec<Changes> = Vec::new();
        for row in rows {
            let (revision, event) = row?;
            match changes.last_mut() {
                Some(last) if last.revision == revision => last.events.push(event),
                _ => changes.push(Changes {
                    revision,
                    events: vec![event],
                }),
            }
        }
        Ok(LogPage {
            changes,
            through,
            more: through < present,
        })
    };
    read().map_err(&failed)
}

/// Forget the changes up to and including `through`.
pub fn compact(connection: &mut Connection, through: Revision) -> Result<()> {
    let failed = failed(connection, "compact");
    let transaction = immediate(connection).map_err(&failed)?;
    let (present, _) = revisions(&transaction).map_err(&failed)?;
    if through > present {
        return Err(Error::Ahead {
            after: through,
            present,
        });
    }
    forget(&transaction, through).map_err(&failed)?;
    transaction.commit().map_err(&failed)
}

fn forget(transaction: &Transaction<'_>, through: Revision) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM changes WHERE revision <= ?1", [through])?;
    transaction
        .execute("UPDATE state SET compacted = max(compacted, ?1)", [through])
        .map(|_| ())
}

/// The store's revision.
pub fn revision(connection: &mut Connection) -> Result<Revision> {
    revisions(connection)
        .map(|(revision, _)| revision)
        .map_err(failed(connection, "read"))
}

/// A number that is another one once another connection has committed.
pub fn data_version(connection: &mut Connection) -> Result<i64> {
    let version = connection.pragma_query_value(None, "data_version", |row| row.get(0));
    version.map_err(failed(connection, "look for changes"))
}

/// The present revision, and the last one whose changes are forgotten.
fn revisions(connection: &Connection) -> rusqlite::Result<(Revision, Revision)> {
    let mut query = connection.prepare_cached("SELECT revision, compacted FROM state")?;
    query.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// A transaction that writes: it waits for others at its beginning, and never has to give up half-way.
pub(super) fn immediate(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// The first key after all that start with `prefix`; `None` if every key may.
fn end_of(prefix: &str) -> Option<Vec<u8>> {
    let mut end = prefix.as_bytes().to_vec();
    // No byte of UTF-8 text is 0xff, so adding one never overflows.
    *end.last_mut()? += 1;
    Some(end)
}

pub(super) fn text(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<String> {
    let bytes: Vec<u8> = row.get(column)?;
    String::from_utf8(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(error))
    })
}
