//! The inventory's file, the copies beside it, and a little room kept for the day when the disk is full. Blocking.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::copies::Copies;
use super::rebuild::{self, Rebuilt};
use super::reserve::Reserve;
use super::{Error, Record, Result};
use crate::container::State;
use crate::fault;

/// The format this build writes. Every older one is read.
const FORMAT: i64 = 1;

const CONTAINERS: &str = "
    CREATE TABLE IF NOT EXISTS containers (
        instance TEXT PRIMARY KEY,
        handle   TEXT NOT NULL UNIQUE,
        record   TEXT NOT NULL
    ) WITHOUT ROWID, STRICT;";
const NOTES: &str = "
    CREATE TABLE IF NOT EXISTS notes (
        name TEXT PRIMARY KEY,
        note TEXT NOT NULL
    ) WITHOUT ROWID, STRICT;";
/// The note that the inventory was made anew.
const REBUILT: &str = "rebuilt";

/// An open inventory.
pub(super) struct Store {
    path: PathBuf,
    connection: Connection,
    copies: Copies,
    reserve: Reserve,
}

impl Store {
    /// Open the inventory; one that is missing or damaged is made anew of the copies.
    pub(super) fn open(path: &Path) -> Result<Store> {
        let connection = match open_sound(path) {
            Err(error) if error.is_damage() => make_anew(path, &error)?,
            done => done?,
        };
        let store = Store {
            path: path.to_owned(),
            connection,
            copies: Copies::beside(path),
            reserve: Reserve::beside(path),
        };
        store.reserve.keep();
        store.compare_copies()?;
        Ok(store)
    }

    /// The file turned out to be damaged: put it aside and go on with a new one.
    pub(super) fn renew(&mut self, damage: &Error) -> Result<()> {
        let failed = |source| open_failed(&self.path, source);
        // Closing must neither write to what is damaged nor remove its log, nor, later, the new one's.
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(failed)?;
        self.connection = Connection::open_in_memory().map_err(failed)?;
        self.connection = make_anew(&self.path, damage)?;
        self.compare_copies()
    }

    /// What the copies know better than the database is taken from them, and the other way round.
    fn compare_copies(&self) -> Result<()> {
        let mut copies: BTreeMap<String, Record> = BTreeMap::new();
        for copy in self.copies.all() {
            copies.insert(copy.instance.clone(), copy);
        }
        let mut rebuilt = self.rebuilt()?;
        for (instance, handle, json) in self.rows()? {
            let copy = copies.remove(&instance);
            let row = serde_json::from_str::<Record>(&json).ok();
            match (row, copy) {
                // Version 0 is a fence's that makes no copies: its word is newer than any copy.
                (Some(row), copy)
                    if row.version == 0 || copy.as_ref().is_none_or(|copy| copy.version < row.version) =>
                {
                    self.copies.put(&row, &json);
                }
                (Some(row), Some(copy)) if copy.version == row.version => {}
                (_, Some(copy)) => {
                    tracing::error!(
                        handle,
                        "the inventory has lost what it knew of a container; taking the copy"
                    );
                    self.restore(&copy)?;
                }
                // Told with every comparison.
                (None | Some(_), None) => {}
            }
        }
        // What is left has no record. In a new inventory it gets one; else it is only needed where the engine has
        // such a container, which is looked at with the first comparison.
        if let Some(rebuilt) = rebuilt.as_mut().filter(|rebuilt| !rebuilt.complete) {
            for copy in copies.values() {
                if self.restore(copy)? {
                    rebuilt.restored.push(copy.handle.to_string());
                }
            }
            self.put_rebuilt(rebuilt)?;
        }
        Ok(())
    }

    /// Make a record of a copy. One whose handle is another's by now stays a copy.
    fn restore(&self, copy: &Record) -> Result<bool> {
        let handle = &copy.handle;
        match self.put_row(copy) {
            Err(Error::Access { source, .. }) if source.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                tracing::error!(%handle, %source, "a container's record could not be restored from its copy");
                Ok(false)
            }
            done => {
                done?;
                tracing::warn!(%handle, "a container's record was restored from its copy");
                Ok(true)
            }
        }
    }

    pub(super) fn all(&self) -> Result<Vec<Record>> {
        let rows = self.rows()?.into_iter();
        let readable = rows.filter_map(|(_, handle, json)| match serde_json::from_str(&json) {
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
            .filter(|(_, _, json)| serde_json::from_str::<Record>(json).is_err())
            .map(|(_, handle, _)| handle)
            .collect())
    }

    /// All instances with their handles and records.
    fn rows(&self) -> Result<Vec<(String, String, String)>> {
        let rows = self
            .connection
            .prepare_cached("SELECT instance, handle, record FROM containers")
            .and_then(|mut statement| {
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                rows.collect()
            });
        rows.map_err(self.failed("read"))
    }

    pub(super) fn instances(&self) -> Result<BTreeSet<String>> {
        let instances = self
            .connection
            .prepare_cached("SELECT instance FROM containers")
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect());
        instances.map_err(self.failed("read"))
    }

    pub(super) fn put(&self, record: &Record) -> Result<()> {
        fault::point("inventory/writing");
        let json = self.put_row(record)?;
        self.copies.put(record, &json);
        fault::point("inventory/written");
        Ok(())
    }

    /// Write the record alone; the answer is what was written.
    fn put_row(&self, record: &Record) -> Result<String> {
        let handle = record.handle.as_str();
        let json = serde_json::to_string(record).map_err(|source| Error::Record {
            handle: handle.to_owned(),
            source,
        })?;
        let put = || self.put_json(&record.instance, handle, &json);
        match record.state {
            // An end is written also where there is no room for a beginning.
            State::Stopped | State::Lost | State::Destroying => self.with_reserve(put)?,
            State::Creating | State::Active => put()?,
        }
        Ok(json)
    }

    pub(super) fn put_json(&self, instance: &str, handle: &str, json: &str) -> Result<()> {
        let put = self
            .connection
            .prepare_cached(
                "INSERT INTO containers (instance, handle, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (instance) DO UPDATE SET record = excluded.record",
            )
            .and_then(|mut statement| statement.execute(params![instance, handle, json]));
        put.map(drop).map_err(self.failed("write to"))
    }

    pub(super) fn remove(&self, instance: &str) -> Result<()> {
        fault::point("inventory/removing");
        if let Err(error) = self.copies.remove(instance) {
            tracing::warn!(instance, %error, "could not remove the copy of a record");
        }
        self.with_reserve(|| {
            let removed = self
                .connection
                .prepare_cached("DELETE FROM containers WHERE instance = ?1")
                .and_then(|mut statement| statement.execute(params![instance]));
            removed.map(drop).map_err(self.failed("remove from"))
        })?;
        fault::point("inventory/removed");
        Ok(())
    }

    /// The copy of a record.
    pub(super) fn copy(&self, instance: &str) -> Option<Record> {
        self.copies.get(instance)
    }

    /// Take away the copies that have neither a record nor, by these instances, a container.
    pub(super) fn prune_copies(&self, found: &BTreeSet<String>) -> Result<()> {
        let recorded = self.instances()?;
        for instance in self.copies.instances() {
            if !(recorded.contains(&instance) || found.contains(&instance)) {
                // The next time, then.
                let _ = self.copies.remove(&instance);
            }
        }
        Ok(())
    }

    /// Whether the inventory was made anew, while that has to be told.
    pub(super) fn rebuilt(&self) -> Result<Option<Rebuilt>> {
        let note: Option<String> = self
            .connection
            .query_row("SELECT note FROM notes WHERE name = ?1", [REBUILT], |row| row.get(0))
            .optional()
            .map_err(self.failed("read"))?;
        // A note that makes no sense is as careful as can be: nothing without a record is a stray.
        Ok(note.map(|note| serde_json::from_str(&note).unwrap_or_default()))
    }

    pub(super) fn put_rebuilt(&self, rebuilt: &Rebuilt) -> Result<()> {
        let mut rebuilt = rebuilt.clone();
        if rebuilt.kept.is_empty() && rebuilt.is_of_interest() {
            // Told without it too, but not to be acknowledged.
            rebuilt.kept = rebuild::note_missing(&self.path).map_or(String::new(), |path| path.display().to_string());
        }
        put_note(&self.connection, &rebuilt).map_err(self.failed("write to"))
    }

    pub(super) fn forget_rebuilt(&self) -> Result<()> {
        let forgotten = self.connection.execute("DELETE FROM notes WHERE name = ?1", [REBUILT]);
        forgotten.map(drop).map_err(self.failed("write to"))
    }

    /// See to it that there is room for ends, if the disk has it.
    pub(super) fn keep_reserve(&self) {
        self.reserve.keep();
    }

    /// Do this, and where the disk is full do it again with the room that was kept for it.
    fn with_reserve(&self, work: impl Fn() -> Result<()>) -> Result<()> {
        match work() {
            Err(error) if error.is_full() => {
                if self.reserve.give() {
                    tracing::warn!("the inventory's disk is full; using the room that was kept for ends");
                }
                // What the log holds may fit the database, and then the log begins anew.
                let _ = self
                    .connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
                work()
            }
            done => done,
        }
    }

    fn failed(&self, attempt: &'static str) -> impl Fn(rusqlite::Error) -> Error {
        let path = self.path.display().to_string();
        move |source| Error::Access {
            attempt,
            path: path.clone(),
            source: source.into(),
        }
    }

    #[cfg(test)]
    pub(super) fn execute(&self, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(self.failed("set up"))
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
            Err(error) if !matches!(error, rusqlite::Error::QueryReturnedNoRows) => Err(self.failed("set up")(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn open_failed(path: &Path, source: rusqlite::Error) -> Error {
    Error::Open {
        path: path.display().to_string(),
        source: source.into(),
    }
}

fn make_anew(path: &Path, damage: &Error) -> Result<Connection> {
    let reason = crate::chain::chain(damage);
    let aside = rebuild::put_aside(path).map_err(|source| Error::Aside {
        path: path.display().to_string(),
        source,
    })?;
    let kept = aside.display().to_string();
    tracing::error!(reason, kept, "the inventory is damaged and is made anew");
    let connection = open_sound(path)?;
    put_note(&connection, &Rebuilt::now(reason, kept)).map_err(|source| open_failed(path, source))?;
    Ok(connection)
}

/// Open the database, or make it, and make sure that all of it can be read.
fn open_sound(path: &Path) -> Result<Connection> {
    let failed = |source| open_failed(path, source);
    // Made by hand first, so that it is never readable to others, not even for a moment.
    let mut options = std::fs::OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(path);
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
    check(path, &connection)?;
    if found > FORMAT {
        return Err(Error::Format {
            path: path.display().to_string(),
            found,
            known: FORMAT,
        });
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    set_up(&connection).map_err(failed)?;
    Ok(connection)
}

/// Every page, every index and every row.
fn check(path: &Path, connection: &Connection) -> Result<()> {
    let said: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|source| open_failed(path, source))?;
    let path = path.display().to_string();
    if said != "ok" {
        return Err(Error::Damaged { path, reason: said });
    }
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| {
            row.get(0)
        })
        .map_err(|source| open_failed(Path::new(&path), source))?;
    let readable = connection
        .prepare("SELECT instance, handle, record FROM containers")
        .is_ok();
    if tables > 0 && !readable {
        let reason = "it is a SQLite file of something else".to_owned();
        return Err(Error::Damaged { path, reason });
    }
    Ok(())
}

/// The tables. Where there are none this inventory is new, and knows that it may not be the first.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    let is_new = connection.prepare("SELECT instance FROM containers").is_err();
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(CONTAINERS)?;
    transaction.execute_batch(NOTES)?;
    if is_new {
        put_note(&transaction, &Rebuilt::now(String::new(), String::new()))?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

fn put_note(connection: &Connection, rebuilt: &Rebuilt) -> rusqlite::Result<()> {
    let json = serde_json::to_string(rebuilt).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .execute(
            "INSERT OR REPLACE INTO notes (name, note) VALUES (?1, ?2)",
            params![REBUILT, json],
        )
        .map(drop)
}

/// Whether SQLite says that the file is not what it should be.
pub(super) fn is_damage(source: &rusqlite::Error) -> bool {
    matches!(
        source.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Whether there was no room. A disk that fails has no better word in SQLite; its message says which it is.
pub(super) fn is_full(source: &rusqlite::Error) -> bool {
    matches!(
        source.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure)
    )
}
