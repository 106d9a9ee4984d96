//! Leases in SQL: granted, kept alive, revoked, expired. Blocking, each one transaction.
//!
//! No process is in charge: whoever writes or looks first takes the keys of an expired lease away.

use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use rusqlite::{Connection, Transaction, params};

use super::connection::io_error;
use super::statements::{apply, failed, immediate, text};
use crate::store::{Error, LeaseId, Operation, Result};

/// A new lease.
pub fn grant(connection: &mut Connection, ttl: Duration) -> Result<LeaseId> {
    let failed = failed(connection, "grant a lease");
    let (now, boot) = clock(connection)?;
    let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 2);
    let transaction = immediate(connection).map_err(&failed)?;
    let number = "UPDATE state SET last_lease = last_lease + 1 RETURNING last_lease";
    let number: i64 = transaction.query_row(number, [], |row| row.get(0)).map_err(&failed)?;
    let insert = "INSERT INTO leases (id, ttl_ms, until_ms, boot) VALUES (?1, ?2, ?3, ?4)";
    transaction
        .execute(insert, params![number, ttl, now + ttl, boot])
        .map_err(&failed)?;
    transaction.commit().map_err(&failed)?;
    Ok(LeaseId(number))
}

/// Give a lease its whole time again.
pub fn keep_alive(connection: &mut Connection, lease: LeaseId) -> Result<()> {
    let (now, boot) = clock(connection)?;
    let update = "UPDATE leases SET until_ms = ttl_ms + ?1, boot = ?2 WHERE id = ?3";
    let found = connection
        .execute(update, params![now, boot, lease.0])
        .map_err(failed(connection, "keep a lease alive"))?;
    if found == 0 {
        Err(Error::NoLease { lease })
    } else {
        Ok(())
    }
}

/// End a lease and take its keys away.
pub fn revoke(connection: &mut Connection, lease: LeaseId) -> Result<()> {
    let failed = failed(connection, "revoke a lease");
    let transaction = immediate(connection).map_err(&failed)?;
    end(&transaction, lease).map_err(&failed)?;
    transaction.commit().map_err(&failed)
}

/// Whether a lease has expired whose keys are still there.
pub fn any_expired(connection: &mut Connection) -> Result<bool> {
    let (now, boot) = clock(connection)?;
    let query = "SELECT EXISTS (SELECT 1 FROM leases WHERE until_ms <= ?1 OR boot <> ?2)";
    let read = connection
        .prepare_cached(query)
        .and_then(|mut query| query.query_row(params![now, boot], |row| row.get(0)));
    read.map_err(failed(connection, "look for expired leases"))
}

/// Take the keys of expired leases away.
pub fn expire(connection: &mut Connection) -> Result<()> {
    if !any_expired(connection)? {
        return Ok(());
    }
    let failed = failed(connection, "expire leases");
    let (now, boot) = clock(connection)?;
    let transaction = immediate(connection).map_err(&failed)?;
    let expired = || {
        let mut query = transaction.prepare("SELECT id FROM leases WHERE until_ms <= ?1 OR boot <> ?2")?;
        let rows = query.query_map(params![now, boot], |row| row.get(0).map(LeaseId))?;
        rows.collect::<rusqlite::Result<Vec<LeaseId>>>()
    };
    for lease in expired().map_err(&failed)? {
        end(&transaction, lease).map_err(&failed)?;
    }
    transaction.commit().map_err(&failed)
}

fn end(transaction: &Transaction<'_>, lease: LeaseId) -> rusqlite::Result<()> {
    let mut query = transaction.prepare("SELECT key FROM entries WHERE lease = ?1")?;
    let keys = query
        .query_map([lease.0], |row| text(row, 0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    let deletes: Vec<Operation> = keys.into_iter().map(|key| Operation::Delete { key }).collect();
    apply(transaction, &deletes)?;
    transaction
        .execute("DELETE FROM leases WHERE id = ?1", [lease.0])
        .map(|_| ())
}

pub(super) fn exists(transaction: &Transaction<'_>, lease: LeaseId) -> rusqlite::Result<bool> {
    transaction.query_row("SELECT EXISTS (SELECT 1 FROM leases WHERE id = ?1)", [lease.0], |row| {
        row.get(0)
    })
}

/// Milliseconds on a clock that all processes share, that no one sets, and that runs while the machine sleeps; and
/// which start of the machine they count from. A lease of an earlier one has expired.
fn clock(connection: &Connection) -> Result<(i64, String)> {
    const BOOT: &str = "/proc/sys/kernel/random/boot_id";
    let path = connection.path().unwrap_or_default();
    let unreadable = |source| io_error(Path::new(path), source);
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(|errno| unreadable(errno.into()))?;
    let boot = std::fs::read_to_string(BOOT).map_err(unreadable)?;
    Ok((now.tv_sec() * 1000 + now.tv_nsec() / 1_000_000, boot.trim().to_owned()))
}
