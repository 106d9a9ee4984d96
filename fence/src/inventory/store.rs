//! The inventory's file.

use std::collections::BTreeSet;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::{Error, Record, Result};
use crate::fault;

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
        let rows = self.rows()?.into_iter();
        let readable = rows.filter_map(|(handle, record)| match record {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::error!(handle, %error, "a record of the inventory makes no sense; its container is left alone");
                None
            }
        });
        Ok(readable.collect())
    }

    pub(super) fn unreadable(&self) -> Result<Vec<String>> {
        let rows = self.rows()?.into_iter();
        Ok(rows
            .filter(|(_, record)| record.is_err())
            .map(|(handle, _)| handle)
            .collect())
    }

    /// All handles with their records, as far as these can be read.
    fn rows(&self) -> Result<Vec<(String, serde_json::Result<Record>)>> {
        let failed = |source| Error::Access {
            attempt: "read",
            source,
        };
        let mut statement = self
            .connection
            .prepare_cached("SELECT handle, record FROM containers")
            .map_err(failed)?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        let parsed = rows.map_err(failed)?.map(|row| {
            let (handle, json) = row.map_err(failed)?;
            Ok((handle, serde_json::from_str(&json)))
        });
        parsed.collect()
    }

    #[cfg(test)]
    pub(super) fn set_full(&self, full: bool) -> Result<()> {
        self.set("query_only", i64::from(full))
    }

    /// The most pages that the file may have.
    #[cfg(test)]
    pub(super) fn set_pages(&self, pages: i64) -> Result<()> {
        self.set("max_page_count", pages)
    }

    #[cfg(test)]
    fn set(&self, pragma: &str, value: i64) -> Result<()> {
        let set = self.connection.pragma_update_and_check(None, pragma, value, |_| Ok(()));
        match set {
            Ok(()) | Err(rusqlite::Error::QueryReturnedNoRows) => Ok(()),
            Err(source) => Err(Error::Access {
                attempt: "set up",
                source,
            }),
        }
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
        fault::point("inventory/writing");
        let handle = record.handle.as_str();
        let json = serde_json::to_string(record).map_err(|source| Error::Record {
            handle: handle.to_owned(),
            source,
        })?;
        self.put_json(&record.instance, handle, &json)?;
        fault::point("inventory/written");
        Ok(())
    }

    pub(super) fn put_json(&self, instance: &str, handle: &str, json: &str) -> Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO containers (instance, handle, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (instance) DO UPDATE SET record = excluded.record",
            )
            .and_then(|mut statement| statement.execute(params![instance, handle, json]))
            .map(drop)
            .map_err(|source| Error::Access {
                attempt: "write to",
                source,
            })
    }

    pub(super) fn remove(&self, instance: &str) -> Result<()> {
        fault::point("inventory/removing");
        self.connection
            .prepare_cached("DELETE FROM containers WHERE instance = ?1")
            .and_then(|mut statement| statement.execute(params![instance]))
            .map(drop)
            .map_err(|source| Error::Access {
                attempt: "remove from",
                source,
            })?;
        fault::point("inventory/removed");
        Ok(())
    }
}
