//! Revisioned keys: what the tree and everything else that nodes share is kept in.
//!
//! [`Store`] is the trait, in the words of its narrowest home (etcd v3), whose limits are everyone's ([`limits`]).
//! [`sqlite`] is the home on a micro cloud, [`etcd`] that of a cluster, [`memory`] one for tests; `conformance` is the
//! one suite that all pass. Nothing here knows what the keys mean.
//!
//! Every change has a *revision*, a number that only grows; all changes of one transaction share one. A store begins
//! at revision 0 or more, whatever its home likes.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[cfg(test)]
pub mod conformance;
mod error;
pub mod etcd;
pub mod limits;
pub mod memory;
pub mod sqlite;

pub use error::{Error, Result};

/// The number of a change; 0 is before all changes.
pub type Revision = u64;

/// A home of revisioned keys. Every call is bounded in time; errors say whether trying again can help.
///
/// Keys are text, ordered by their bytes. The limits of [`limits`] hold for every home alike.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// All keys that start with `prefix` (all keys at all if it is empty), in the order asked for, as of one revision.
    async fn range(&self, prefix: &str, page: Page) -> Result<Range>;

    /// Do all of it or nothing. A retryable error leaves open whether it was done.
    async fn txn(&self, txn: Txn) -> Result<Outcome>;

    /// Every change after revision `after` of keys that start with `prefix`, in order, none left out, none twice.
    ///
    /// The watch ends with the first error. After a retryable one it can be opened again from the last revision seen;
    /// after [`Error::Compacted`] and [`Error::Ahead`] the caller must read the range anew.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch>;

    /// Forget the changes up to and including `through`; the keys' present values stay.
    async fn compact(&self, through: Revision) -> Result<()>;

    /// A new lease: keys put with it go away unless it is kept alive within `ttl`.
    async fn grant(&self, ttl: Duration) -> Result<LeaseId>;

    /// Give the lease its whole time again.
    async fn keep_alive(&self, lease: LeaseId) -> Result<()>;

    /// End the lease and take its keys away. One that is gone is done already.
    async fn revoke(&self, lease: LeaseId) -> Result<()>;

    /// One key.
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        // The key itself is the first of those that start with it.
        let first = self
            .range(
                key,
                Page {
                    limit: 1,
                    descending: false,
                },
            )
            .await?;
        Ok(first.entries.into_iter().find(|entry| entry.key == key))
    }
}

/// A key as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    /// Of its last change.
    pub revision: Revision,
    /// The lease it lives with.
    pub lease: Option<LeaseId>,
}

/// How much of a range is wanted, and from which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many entries.
    pub limit: usize,
    /// From the last key on.
    pub descending: bool,
}

impl Page {
    /// Everything, in order.
    pub const ALL: Page = Page {
        limit: usize::MAX,
        descending: false,
    };
}

/// What a range holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The store's revision when it was read; watch after this one to miss nothing.
    pub revision: Revision,
    pub entries: Vec<Entry>,
}

/// Changes to be made together, if what they rest on still holds. No key may be changed twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub operations: Vec<Operation>,
}

/// The key's last change must have been this one; 0: there must be no such key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub key: String,
    pub revision: Revision,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Set a key, and let it live with a lease or without one.
    Put {
        key: String,
        value: Vec<u8>,
        lease: Option<LeaseId>,
    },
    /// Take a key away. One that is not there is no change.
    Delete { key: String },
}

impl Txn {
    /// A transaction that does nothing yet.
    pub fn new() -> Self {
        Txn::default()
    }

    /// Only if the key's last change was `revision`; 0: only if there is no such key.
    pub fn when(mut self, key: impl Into<String>, revision: Revision) -> Self {
        self.compares.push(Compare {
            key: key.into(),
            revision,
        });
        self
    }

    /// Set a key.
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.operations.push(Operation::Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        });
        self
    }

    /// Set a key that lives with a lease.
    pub fn put_leased(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>, lease: LeaseId) -> Self {
        self.operations.push(Operation::Put {
            key: key.into(),
            value: value.into(),
            lease: Some(lease),
        });
        self
    }

    /// Take a key away.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.operations.push(Operation::Delete { key: key.into() });
        self
    }
}

impl Operation {
    /// The key that is changed.
    pub fn key(&self) -> &str {
        match self {
            Operation::Put { key, .. } | Operation::Delete { key } => key,
        }
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the store is at this revision now.
    Done(Revision),
    /// Nothing was done: something it rests on has changed.
    Stale,
}

/// A lease's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub i64);

/// All changes of one revision that a watch asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    pub revision: Revision,
    /// In the order in which they were made.
    pub events: Vec<Event>,
}

/// What happened to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Put { key: String, value: Vec<u8> },
    Delete { key: String },
}

/// An open watch; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<Result<Changes>>,
}

impl Watch {
    /// A watch and the end that feeds it. A slow reader makes the feeding end wait.
    pub(crate) fn channel() -> (mpsc::Sender<Result<Changes>>, Watch) {
        const AHEAD: usize = 16;
        let (sender, changes) = mpsc::channel(AHEAD);
        (sender, Watch { changes })
    }

    /// Wait for the next changes. After an error there are none: it keeps saying that it is closed.
    pub async fn next(&mut self) -> Result<Changes> {
        self.changes.recv().await.unwrap_or(Err(Error::Closed))
    }
}
