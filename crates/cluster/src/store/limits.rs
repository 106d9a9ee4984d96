//! What every home takes alike: etcd's limits, checked before a request goes to any home.
//!
//! Pure; each home calls these first, so that what one refuses all refuse in the same words.

use std::collections::HashSet;
use std::time::Duration;

use super::{Error, Operation, Result, Revision, Txn};

/// The most compares, and the most changes, of one transaction (etcd: `--max-txn-ops`).
pub const MAX_OPERATIONS: usize = 128;
/// The largest transaction in bytes (etcd: `--max-request-bytes`), counted with [`OPERATION_OVERHEAD`].
pub const MAX_REQUEST: usize = 1536 * 1024;
/// The longest key in bytes.
pub const MAX_KEY: usize = 1024;
/// The largest value in bytes.
pub const MAX_VALUE: usize = 1024 * 1024;
/// What each compare and each change counts beside its key and value: an upper bound of what encoding adds.
pub const OPERATION_OVERHEAD: usize = 64;
/// The shortest and the longest time of a lease.
pub const LEASE_TTL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
/// How many revisions can at least be watched from afterwards; older changes may be forgotten.
pub const KEPT_REVISIONS: Revision = 10_000;

/// Check a transaction.
pub fn check_txn(txn: &Txn) -> Result<()> {
    let refused = |reason: String| Err(Error::Refused { reason });
    for (count, what) in [(txn.compares.len(), "compares"), (txn.operations.len(), "changes")] {
        if count > MAX_OPERATIONS {
            return refused(format!(
                "{count} {what} at once, and at most {MAX_OPERATIONS} are possible"
            ));
        }
    }
    let mut size = 0;
    for compare in &txn.compares {
        check_key(&compare.key)?;
        size += compare.key.len() + OPERATION_OVERHEAD;
    }
    let mut changed = HashSet::new();
    for operation in &txn.operations {
        let key = operation.key();
        check_key(key)?;
        if !changed.insert(key) {
            return refused(format!("{key} is changed twice"));
        }
        size += key.len() + OPERATION_OVERHEAD;
        if let Operation::Put { value, .. } = operation {
            if value.len() > MAX_VALUE {
                return refused(format!(
                    "the value of {key} has {} bytes, and at most {MAX_VALUE} fit",
                    value.len()
                ));
            }
            size += value.len();
        }
    }
    if size > MAX_REQUEST {
        return refused(format!("{size} bytes at once, and at most {MAX_REQUEST} are possible"));
    }
    Ok(())
}

/// Check a key.
pub fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::Refused {
            reason: "a key is empty".to_owned(),
        });
    }
    check_prefix(key)
}

/// Check the beginning of keys; it may be empty.
pub fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.len() > MAX_KEY {
        let reason = format!("a key has {} bytes, and at most {MAX_KEY} fit", prefix.len());
        return Err(Error::Refused { reason });
    }
    if prefix.contains('\0') {
        return Err(Error::Refused {
            reason: "a key has a NUL byte in it".to_owned(),
        });
    }
    Ok(())
}

/// Check the time of a lease.
pub fn check_ttl(ttl: Duration) -> Result<()> {
    let (shortest, longest) = LEASE_TTL;
    if ttl < shortest || ttl > longest {
        let reason = format!(
            "a lease of {} s, and {} to {} s are possible",
            ttl.as_secs_f32(),
            shortest.as_secs(),
            longest.as_secs()
        );
        return Err(Error::Refused { reason });
    }
    Ok(())
}
