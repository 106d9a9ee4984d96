//! The one agent that acts for the whole cluster: who holds the key [`LEADER`], which lives with a lease.
//!
//! Everything that a leader writes rests on that key's last change ([`Lead::fenced`]), so that one that was cut off and does not
//! know it yet writes nothing any more. What a leader does is others' matter. The state is the store's.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use uuid::Uuid;

use crate::store::{Error, LeaseId, Outcome, Result, Revision, Store, Txn};

/// Where the leader is named.
pub const LEADER: &str = "leader";
/// How long a leader that says nothing more stays one.
pub const LEADS_FOR: Duration = Duration::from_secs(10);
/// How often it says that it is there.
const SAY: Duration = Duration::from_secs(3);

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The node whose agent it is.
    pub node: Uuid,
    /// Since when.
    pub since: Timestamp,
}

/// The lead, while it is held.
#[derive(Clone, Debug)]
pub struct Lead {
    lease: LeaseId,
    revision: Revision,
}

impl Lead {
    /// Take the lead for the agent of this node; `None` while another has it.
    pub async fn take(store: &dyn Store, node: Uuid) -> Result<Option<Lead>> {
        if store.get(LEADER).await?.is_some() {
            return Ok(None);
        }
        let since = Timestamp::now();
        let value = serde_json::to_vec(&Leader { node, since }).map_err(|source| Error::Failed {
            attempt: "take the lead",
            place: LEADER.to_owned(),
            source: Box::new(source),
        })?;
        let lease = store.grant(LEADS_FOR).await?;
        let txn = Txn::new().when(LEADER, 0).put_leased(LEADER, value, lease);
        match store.txn(txn).await? {
            Outcome::Done(revision) => Ok(Some(Lead { lease, revision })),
            Outcome::Stale => {
                store.revoke(lease).await?;
                Ok(None)
            }
        }
    }

    /// Keep it until it is lost; why it is.
    pub async fn keep(&self, store: &dyn Store) -> Error {
        loop {
            sleep(SAY).await;
            if let Err(error) = store.keep_alive(self.lease).await {
                return error;
            }
        }
    }

    /// The same transaction, which does nothing once the lead is another's.
    pub fn fenced(&self, txn: Txn) -> Txn {
        txn.when(LEADER, self.revision)
    }

    /// The error that it is another's.
    pub fn lost(&self) -> Error {
        Error::NoLease { lease: self.lease }
    }

    /// Leave it to another.
    pub async fn leave(self, store: &dyn Store) -> Result<()> {
        store.revoke(self.lease).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn one_leads_and_what_it_writes_afterwards_is_nothing() {
        let store = MemoryStore::new();
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let lead = Lead::take(&store, a).await.unwrap().unwrap();
        assert!(Lead::take(&store, b).await.unwrap().is_none());
        let write = |lead: &Lead, value: &str| lead.fenced(Txn::new().put("k", value));
        assert!(matches!(store.txn(write(&lead, "1")).await.unwrap(), Outcome::Done(_)));
        let old = lead.clone();
        lead.leave(&store).await.unwrap();
        let other = Lead::take(&store, b).await.unwrap().unwrap();
        assert_eq!(store.txn(write(&old, "2")).await.unwrap(), Outcome::Stale);
        assert!(matches!(store.txn(write(&other, "3")).await.unwrap(), Outcome::Done(_)));
        let named: Leader = serde_json::from_slice(&store.get(LEADER).await.unwrap().unwrap().value).unwrap();
        assert_eq!(named.node, b);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lead_that_is_lost_is_told() {
        let store = MemoryStore::new();
        let lead = Lead::take(&store, Uuid::nil()).await.unwrap().unwrap();
        store.revoke(lead.lease).await.unwrap();
        lead.keep(&store).await;
    }
}
