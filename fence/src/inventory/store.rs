//! The inventory's file.

use std::collections::BTreeSet;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::{Error, Record, Result};

/// The format this build writes. Every older one is read.
const FORMAT: i64 = 1;

/// An open file.
pub(super) struct Store {
    connection: Connection,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Store> {
        let failed = |source| Error::Open {
            path: path.display().to_string(),
            source,
        };
        // Made by hand first, so that it is never readable to others, not even for a moment.
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        if let Err(error) = made
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(failed(rusqlite::Error::ToSqlConversionFailure(Box::new(error))));
        }
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
        let found: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        if found > FORMAT {
            return Err(Error::Format {
                path: path.display().to_string(),
                found,
                known: FORMAT,
            });
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        connection
            .execute_batch(
                "CREATE TABLE IF NOT EXISTS containers (
                    instance TEXT PRIMARY KEY,
                    handle   TEXT NOT NULL UNIQUE,
                    record   TEXT NOT NULL
                 ) WITHOUT ROWID, STRICT;",
            )
            .map_err(failed)?;
        connection.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
        Ok(Store { connection })
    }

    pub(super) fn all(&self) -> Result<Vec<Record>> {
        let failed = |source| Error::Access {
            attempt: "read",
            source,
        };
        let mut statement = self
            .connection
            .prepare_cached("SELECT handle, record FROM containers")
            .map_err(failed)?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        let mut records = Vec::new();
        for row in rows.map_err(failed)? {
            let (handle, json) = row.map_err(failed)?;
            match serde_json::from_str(&json) {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::error!(handle, %error, "a record of the inventory makes no sense; its container is left alone")
                }
            }
        }
        Ok(records)
    }

    pub(super) fn instances(&self) -> Result<BTreeSet<String>> {
        let failed = |source| Error::Access {
            attempt: "read",
            source,
        };
        let mut statement = self
            .connection
            .prepare_cached("SELECT instance FROM containers")
            .map_err(failed)?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    pub(super) fn put(&self, record: &Record) -> Result<()> {
        let handle = record.handle.as_str();
        let json = serde_json::to_string(record).map_err(|source| Error::Record {
            handle: handle.to_owned(),
            source,
        })?;
        self.connection
            .prepare_cached(
                "INSERT INTO containers (instance, handle, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (instance) DO UPDATE SET record = excluded.record",
            )
            .and_then(|mut statement| statement.execute(params![record.instance, handle, json]))
            .map(drop)
            .map_err(|source| Error::Access {
                attempt: "write to",
                source,
            })
    }

    pub(super) fn remove(&self, instance: &str) -> Result<()> {
        self.connection
            .prepare_cached("DELETE FROM containers WHERE instance = ?1")
            .and_then(|mut statement| statement.execute(params![instance]))
            .map(drop)
            .map_err(|source| Error::Access {
                attempt: "remove from",
                source,
            })
    }
}
