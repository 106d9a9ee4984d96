//! Realms: groups of nodes that share values of the configuration. Each node belongs to one.
//!
//! ```text
//! realm/NAME  the realm
//! ```
//!
//! Which node belongs to which is in the nodes' records ([`crate::nodes::registry`]). The realm `default` is that of nodes
//! that were given none; it is made with the first of them and never deleted.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{self, Name};
use crate::nodes::registry::{Error, Nodes, Result, TRIES, failed, json, pause, read_all, to_json};
use crate::nodes::{Record, default_realm};
use crate::store::{Outcome, Store, Txn};

/// Where realms are.
const REALM: &str = "realm/";

/// The key of a realm.
pub(crate) fn realm_key(name: &Name) -> String {
    format!("{REALM}{name}")
}

/// A realm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realm {
    /// Its id, never used again.
    pub id: Uuid,
    /// Its name.
    pub name: Name,
    /// Whose it is: an administrator's name.
    pub owner: String,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub by: String,
}

impl Realm {
    fn new(name: Name, owner: &str, by: &str) -> Self {
        Realm {
            id: Uuid::now_v7(),
            name,
            owner: owner.to_owned(),
            created: Timestamp::now(),
            by: by.to_owned(),
        }
    }

    /// The realm of nodes that were given none, made with the first of them.
    pub(crate) fn first(by: &str) -> Self {
        Realm::new(default_realm(), by, by)
    }
}

/// The realms of a cluster.
#[derive(Clone)]
pub struct Realms {
    store: Arc<dyn Store>,
}

impl Realms {
    /// The realms in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Realms { store }
    }

    /// All realms, by name. One that cannot be read is left out.
    pub async fn list(&self) -> Result<Vec<Realm>> {
        read_all(self.store.as_ref(), REALM, "read the realms").await
    }

    /// One realm and its nodes.
    pub async fn show(&self, name: &Name) -> Result<(Realm, Vec<Record>)> {
        let entry = self
            .store
            .get(&realm_key(name))
            .await
            .map_err(failed("read the realms"))?;
        let Some(entry) = entry else {
            return Err(self.no_realm(name).await);
        };
        Ok((json(&entry)?, self.nodes_of(name).await?))
    }

    /// Make a realm.
    pub async fn create(&self, name: &Name, owner: &str, by: &str) -> Result<Realm> {
        let (key, realm) = (realm_key(name), Realm::new(name.clone(), owner, by));
        let txn = Txn::new().when(&key, 0).put(&key, to_json(&key, &realm)?);
        match self.store.txn(txn).await.map_err(failed("make a realm"))? {
            Outcome::Done(_) => Ok(realm),
            Outcome::Stale => Err(Error::RealmTaken { name: name.clone() }),
        }
    }

    /// Delete a realm that has no nodes. The values that are set for it stay.
    pub async fn delete(&self, name: &Name) -> Result<()> {
        if *name == default_realm() {
            return Err(Error::RealmNeeded { name: name.clone() });
        }
        let key = realm_key(name);
        for tried in 0..TRIES {
            // Before the nodes: who comes into the realm meanwhile writes this key.
            let Some(entry) = self.store.get(&key).await.map_err(failed("read the realms"))? else {
                return Err(self.no_realm(name).await);
            };
            let nodes: Vec<Name> = self.nodes_of(name).await?.into_iter().map(|node| node.name).collect();
            if !nodes.is_empty() {
                let name = name.clone();
                return Err(Error::RealmInUse { name, nodes });
            }
            let txn = Txn::new().when(&key, entry.revision).delete(&key);
            if let Outcome::Done(_) = self.store.txn(txn).await.map_err(failed("delete a realm"))? {
                return Ok(());
            }
            pause(tried).await;
        }
        let (what, tries) = (format!("the realm {name}"), TRIES);
        Err(Error::Contended { what, tries })
    }

    async fn nodes_of(&self, name: &Name) -> Result<Vec<Record>> {
        let mut nodes = Nodes::new(Arc::clone(&self.store)).list().await?;
        nodes.retain(|node| node.realm == *name);
        Ok(nodes)
    }

    /// The error that says that there is no such realm, with the nearest that there is.
    async fn no_realm(&self, name: &Name) -> Error {
        let all = self.list().await.unwrap_or_default();
        let near = config::near(name.as_str(), all.iter().map(|realm| realm.name.as_str()));
        Error::NoRealm {
            name: name.clone(),
            near: near.and_then(|near| Name::new(near).ok()),
        }
    }
}
