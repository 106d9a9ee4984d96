//! What can go wrong with a store, in words that fit every home, and whether trying again can help.

use super::{LeaseId, Revision};

/// The result of a call to a store.
pub type Result<T> = std::result::Result<T, Error>;

/// The cause below an error, of a type that only the home knows.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to a store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no store at that place.
    #[error("there is no store at {place}")]
    Missing { place: String },
    /// The store cannot be reached, opened or used just now.
    #[error("the store at {place} cannot be used just now")]
    Unavailable { place: String, source: Cause },
    /// Others held the store for too long.
    #[error("the store at {place} was busy for {seconds} s")]
    Busy { place: String, seconds: u64 },
    /// This user of the machine may not use the store's files.
    #[error("not allowed to use the store at {place}")]
    Denied { place: String, source: Cause },
    /// The store knows who asks, and that this is not for them.
    #[error("the store at {place} does not grant this")]
    NotGranted { place: String, source: Cause },
    /// The store was written by a newer release.
    #[error("the store at {place} has format {found}, and this program knows formats up to {known}")]
    NewerFormat { place: String, found: i64, known: i64 },
    /// What is there is not a store, or a damaged one.
    #[error("what is at {place} is not a usable store: {reason}")]
    Corrupt { place: String, reason: String },
    /// The store has no room left for this; nothing was done. Whoever looks after the store makes room.
    #[error("the store at {place} is full")]
    Full { place: String },
    /// The home failed in a way that trying again does not mend.
    #[error("could not {attempt} in the store at {place}")]
    Failed {
        attempt: &'static str,
        place: String,
        source: Cause,
    },
    /// The request breaks the trait's rules or limits.
    #[error("the store does not take this request: {reason}")]
    Refused { reason: String },
    /// The changes asked for were forgotten: read the range anew.
    #[error("changes after revision {after} were asked for, and those up to {through} are forgotten")]
    Compacted { after: Revision, through: Revision },
    /// The store is behind what the caller has seen, so it is another one: read the range anew.
    #[error("changes after revision {after} were asked for, and the store is only at {present}")]
    Ahead { after: Revision, present: Revision },
    /// There is no such lease, or it has expired.
    #[error("lease {} is not there", lease.0)]
    NoLease { lease: LeaseId },
    /// The watch has ended.
    #[error("the watch has ended")]
    Closed,
}

impl Error {
    /// Whether the same call may succeed later without anyone doing anything here.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Missing { .. }
            | Error::Unavailable { .. }
            | Error::Busy { .. }
            | Error::Full { .. }
            | Error::Closed => true,
            Error::Denied { .. }
            | Error::NotGranted { .. }
            | Error::NewerFormat { .. }
            | Error::Corrupt { .. }
            | Error::Failed { .. }
            | Error::Refused { .. }
            | Error::Compacted { .. }
            | Error::Ahead { .. }
            | Error::NoLease { .. } => false,
        }
    }

    /// Whether there simply is no store.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Missing { .. })
    }

    /// Whether a watch cannot go on and its range must be read anew.
    pub fn needs_new_range(&self) -> bool {
        matches!(self, Error::Compacted { .. } | Error::Ahead { .. })
    }
}
