//! Letting nodes in and out: who asks, who may come, what a token is good for.
//!
//! ```text
//!  asks ──▶ pending ──pair──▶ a node's record ──unpair──▶ asks again ──▶ pending
//!    │                          ▲          └──remove──▶ removed: refused until it is paired again
//!    ├──with a token────────────┤
//!    └──approved before it asked┘
//!
//! pairing/pending/FINGERPRINT   Pending    written by the core
//! pairing/approved/FINGERPRINT  Approved   paired before it asked
//! pairing/removed/FINGERPRINT   Removed
//! pairing/token/SHA256          Token      by the hash of the secret, which is nowhere
//! admin/NAME                    Administrator
//! ```
//!
//! Each step is one transaction with the node's record ([`crate::nodes::registry`]), so that a token lets in one node
//! however many use it at once. Who asks has proven to have its key ([`crate::identity::Request`]); nothing else of what it
//! says is believed until an administrator does. Certificates are the core's matter.

mod administrators;
mod asking;
mod error;
mod records;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;

pub use administrators::{ADMIN, Administrator, Administrators};
pub use asking::{Answer, Asks, MAX_ADDRESSES, MAX_VERSION};
pub use error::{Error, Result};
pub use records::{APPROVED_FOR, Approved, MAX_PENDING, PENDING_FOR, Pending, Removed, Token};
pub use tokens::{MAX_TOKENS, NewToken};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use self::records::{approved_key, pending_key, removed_key};
use crate::config::Name;
use crate::identity::Fingerprint;
use crate::nodes::registry::{self, Nodes};
use crate::nodes::{Paired, Record, Role, default_realm};
use crate::store::{Store, Txn};

/// Where everything of this module is, administrators apart.
pub const PAIRING: &str = "pairing/";

/// Pairing in a store.
#[derive(Clone)]
pub struct Pairing {
    store: Arc<dyn Store>,
    nodes: Nodes,
}

/// As what a node is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Into which realm; the default one if there is none.
    pub realm: Option<Name>,
    /// By which name; its own if there is none.
    pub name: Option<Name>,
    /// What the node does; what it asks for, `core` and `config` left out, if there are none.
    pub roles: Vec<Role>,
    /// With whose credential it is said, if it is known.
    pub administrator: Option<Name>,
}

/// What became of an order to pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The node is in.
    Paired(Box<Record>),
    /// The node has not asked yet; it is let in when it does.
    Approved(Approved),
}

impl Pairing {
    /// Pairing in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let nodes = Nodes::new(Arc::clone(&store));
        Pairing { store, nodes }
    }

    /// Let the node with this key in, on these terms.
    pub async fn pair(&self, fingerprint: &Fingerprint, terms: Terms, by: &str) -> Result<Outcome> {
        if let Some(record) = self.paired(fingerprint).await? {
            return Err(Error::PairedAlready { name: record.name });
        }
        let realm = terms.realm.unwrap_or_else(default_realm);
        match self.read::<Pending>(&pending_key(fingerprint)).await? {
            Some((pending, _)) => {
                let record = pending.record(realm, terms.name, given(&pending.roles, terms.roles), by);
                let also = Txn::new()
                    .delete(pending_key(fingerprint))
                    .delete(removed_key(fingerprint))
                    .delete(approved_key(fingerprint));
                self.nodes.add_with(&record, &also).await?;
                Ok(Outcome::Paired(Box::new(record)))
            }
            None => {
                if let Some(name) = &terms.name {
                    registry::check_name(name)?;
                }
                let approved = Approved {
                    fingerprint: fingerprint.clone(),
                    realm,
                    name: terms.name,
                    roles: terms.roles,
                    by: by.to_owned(),
                    administrator: terms.administrator,
                    at: Timestamp::now(),
                };
                let txn = self.put(Txn::new(), &approved_key(fingerprint), &approved)?;
                self.write(txn.delete(removed_key(fingerprint)), "approve a node")
                    .await?;
                Ok(Outcome::Approved(approved))
            }
        }
    }

    /// Put a node out; it may ask again. Its record, state and orders go.
    pub async fn unpair(&self, id: Uuid) -> Result<Record> {
        Ok(self.nodes.remove(id).await?)
    }

    /// Put a node out for good: its key is refused until it is paired by its fingerprint.
    pub async fn remove(&self, id: Uuid, by: &str) -> Result<Record> {
        let found = self.nodes.get(id).await?;
        if let Some(record) = &found
            && let Ok(fingerprint) = record.fingerprint.parse::<Fingerprint>()
        {
            let removed = Removed {
                name: record.name.clone(),
                by: by.to_owned(),
                at: Timestamp::now(),
            };
            // First, so that a node that asks just now is not let in by an approval in between.
            let txn = self.put(Txn::new(), &removed_key(&fingerprint), &removed)?;
            let txn = txn.delete(approved_key(&fingerprint)).delete(pending_key(&fingerprint));
            self.write(txn, "remove a node").await?;
        }
        Ok(self.nodes.remove(id).await?)
    }

    /// The node that is paired with this key.
    pub async fn paired(&self, fingerprint: &Fingerprint) -> Result<Option<Record>> {
        let all = self.nodes.list().await?;
        Ok(all
            .into_iter()
            .find(|record| record.fingerprint == fingerprint.as_str()))
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<(T, crate::store::Revision)>> {
        let found = self.store.get(key).await;
        match found.map_err(registry::failed("read who asks to join"))? {
            Some(entry) => Ok(Some((registry::json(&entry)?, entry.revision))),
            None => Ok(None),
        }
    }

    fn put(&self, txn: Txn, key: &str, value: &impl Serialize) -> Result<Txn> {
        Ok(txn.put(key, registry::to_json(key, value)?))
    }

    async fn write(&self, txn: Txn, attempt: &'static str) -> Result<bool> {
        let done = self.store.txn(txn).await.map_err(registry::failed(attempt))?;
        Ok(matches!(done, crate::store::Outcome::Done(_)))
    }
}

/// The roles of a node that asks for some: those that an administrator named, or else what it asks for but for those that
/// hold the whole tree, secrets included, which it has not by its own word.
fn given(asked: &[Role], named: Vec<Role>) -> Vec<Role> {
    let mut roles = named;
    if roles.is_empty() {
        let harmless = |role: &&Role| !matches!(role, Role::Core | Role::Config);
        roles.extend(asked.iter().filter(harmless));
    }
    roles.push(Role::Base);
    roles.sort_unstable();
    roles.dedup();
    roles
}

impl Pending {
    /// The record of this node when it is let in.
    fn record(&self, realm: Name, name: Option<Name>, roles: Vec<Role>, by: &str) -> Record {
        Record {
            id: self.id,
            name: name.unwrap_or_else(|| self.name.clone()),
            realm,
            roles,
            zone: default_realm(),
            fingerprint: self.fingerprint.to_string(),
            addresses: self.addresses.clone(),
            paired: Paired {
                at: Timestamp::now(),
                by: by.to_owned(),
            },
        }
    }
}
