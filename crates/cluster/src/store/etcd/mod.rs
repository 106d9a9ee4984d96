//! The store of a cluster: etcd v3, asked over one connection that heals.
//!
//! Construction never fails and never waits: endpoints and credentials are read, and a member is connected to, when
//! something is asked; again whenever the connection fails or, after a refusal, when the certificate was renewed. Every
//! call ends within [`call::PATIENCE`]. Where no member can be reached a call fails at once; what passes by itself (an
//! election, a lost member, too much load) is waited out.
//!
//! # A change whose outcome is not known
//!
//! A connection can break, or time run out, between a change and its answer. Nobody can tell from that whether the
//! change was made, or will be yet: a proposal may still be on its way to the leader. So:
//!
//! * What etcd says it did not do (no leader, not sent, too busy, certificate just renewed) is tried again.
//! * A transaction is repeated after an unknown outcome only if it compares a key that it changes with a revision other
//!   than 0. Revisions only grow, so once it was done that compare never holds again: of all its copies at most one is
//!   done. A compare with 0 ("no such key") is no such guard, for others may take the key away in between.
//! * If such a repetition is stale, either the first copy was done or someone else was faster. The two look alike, even
//!   where the values are the same: the call fails with a retryable error, as the trait says, and tells that it is open.
//! * Any other transaction whose outcome is unknown fails with that error at once; its caller reads and decides.
//! * Reading, keeping alive, revoking and compacting twice is doing it once. A lease granted twice is one that expires
//!   unused.
//!
//! Who may do what is the matter of the [`gateway`] before each member; [`admin`] is what the core does to etcd itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Client, Compare, CompareOp, PutOptions, ResponseHeader, TxnOp};

use super::limits;
use super::{Entry, Error, LeaseId, Operation, Outcome, Page, Range, Result, Revision, Store, Txn, Watch};

pub mod admin;
mod call;
mod connection;
mod credentials;
mod failure;
pub mod gateway;
mod range;
#[cfg(test)]
mod tests;
mod watch;

pub use credentials::{Credentials, Endpoints, EndpointsFile, MAX_ENDPOINTS, Pem};

use call::{Failed, Repeat, call};
use connection::Connector;
use failure::Refusal;

/// How often a lease is tried to be granted whose number is taken.
const GRANTS: usize = 8;

/// A store in etcd. Clones share its connection.
#[derive(Clone, Debug)]
pub struct EtcdStore {
    connector: Arc<Connector>,
}

impl EtcdStore {
    /// The store that answers at `endpoints`, asked as whom `credentials` say. Without them a member is asked at its
    /// socket (`unix://`), or by plain `http://`, which tests have.
    pub fn new(endpoints: Endpoints, credentials: Option<Credentials>) -> Self {
        EtcdStore {
            connector: Arc::new(Connector::new(endpoints, credentials)),
        }
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn range(&self, prefix: &str, page: Page) -> Result<Range> {
        limits::check_prefix(prefix)?;
        range::range(&self.connector, prefix, page).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        limits::check_key(key)?;
        range::get(&self.connector, key).await
    }

    async fn txn(&self, txn: Txn) -> Result<Outcome> {
        limits::check_txn(&txn)?;
        let lease = txn.operations.iter().find_map(|operation| match operation {
            Operation::Put { lease, .. } => *lease,
            Operation::Delete { .. } => None,
        });
        let repeat = if is_done_at_most_once(&txn) {
            Repeat::Always
        } else {
            Repeat::WhenNotDone
        };
        let request = request(txn);
        let asked = call(&self.connector, "change", repeat, |mut client: Client| {
            let request = request.clone();
            async move { client.txn(request).await }
        });
        let answer = asked.await.map_err(|failed| match (failed.refusal, lease) {
            (Some(Refusal::NoLease), Some(lease)) => Error::NoLease { lease },
            _ => failed.error,
        })?;
        if answer.value.succeeded() {
            return Ok(Outcome::Done(revision(answer.value.header())));
        }
        if answer.is_repeated {
            return Err(Error::Unavailable {
                place: self.connector.place(),
                source: "the answer to a change was lost, and whether it was made cannot be told".into(),
            });
        }
        Ok(Outcome::Stale)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        limits::check_prefix(prefix)?;
        watch::watch(&self.connector, prefix, after).await
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        let asked = call(
            &self.connector,
            "compact",
            Repeat::Always,
            |mut client: Client| async move { client.compact(range::number(through), None).await },
        );
        match asked.await {
            Err(Failed {
                refusal: Some(Refusal::Compacted),
                ..
            }) => Ok(()),
            Err(Failed {
                refusal: Some(Refusal::Ahead),
                ..
            }) => Err(Error::Ahead {
                after: through,
                present: range::revision(&self.connector, "", 0).await?,
            }),
            done => done.map(|_| ()).map_err(Error::from),
        }
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        limits::check_ttl(ttl)?;
        // etcd counts whole seconds; a lease is never shorter than asked for.
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let mut tried = 0;
        loop {
            tried += 1;
            let asked = call(
                &self.connector,
                "grant a lease",
                Repeat::Always,
                |mut client: Client| async move { client.lease_grant(range::number(seconds), None).await },
            );
            match asked.await {
                // The gateway chose the number of another lease of ours; the next one will be free.
                Err(failed) if failed.refusal == Some(Refusal::Already) && tried < GRANTS => {}
                granted => return Ok(LeaseId(granted?.value.id())),
            }
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        let kept = call(
            &self.connector,
            "keep a lease alive",
            Repeat::Always,
            |mut client: Client| async move { client.lease_keep_alive(lease.0).await.map(|_| ()) },
        );
        kept.await.map(|_| ()).map_err(|failed| match failed.refusal {
            Some(Refusal::NoLease) => Error::NoLease { lease },
            _ => failed.error,
        })
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        let revoked = call(
            &self.connector,
            "revoke a lease",
            Repeat::Always,
            |mut client: Client| async move { client.lease_revoke(lease.0).await },
        );
        match revoked.await {
            Err(failed) if failed.refusal != Some(Refusal::NoLease) => Err(failed.error),
            _ => Ok(()),
        }
    }
}

/// Whether a transaction can be sent again without being done again: see the module's text.
fn is_done_at_most_once(txn: &Txn) -> bool {
    let compared: HashMap<&str, Revision> = txn
        .compares
        .iter()
        .map(|compare| (compare.key.as_str(), compare.revision))
        .collect();
    txn.operations
        .iter()
        .any(|operation| compared.get(operation.key()).is_some_and(|revision| *revision > 0))
}

/// A transaction in etcd's words. A key that is not there has revision 0 with etcd as well.
fn request(txn: Txn) -> etcd_client::Txn {
    let compare =
        |compare: super::Compare| Compare::mod_revision(compare.key, CompareOp::Equal, range::number(compare.revision));
    let operation = |operation: Operation| match operation {
        Operation::Put { key, value, lease } => {
            let lease = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(key, value, lease)
        }
        Operation::Delete { key } => TxnOp::delete(key, None),
    };
    etcd_client::Txn::new()
        .when(txn.compares.into_iter().map(compare).collect::<Vec<_>>())
        .and_then(txn.operations.into_iter().map(operation).collect::<Vec<_>>())
}

fn revision(header: Option<&ResponseHeader>) -> Revision {
    header.map_or(0, |header| header.revision().unsigned_abs())
}

/// A key that we could have written.
fn text(key: Vec<u8>, place: &str) -> Result<String> {
    String::from_utf8(key).map_err(|_| Error::Corrupt {
        place: place.to_owned(),
        reason: "it has a key that is not text".to_owned(),
    })
}
