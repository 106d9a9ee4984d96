//! The administrators: who has a credential, known by the fingerprint of its key. Their users in the config store follow
//! these records, so that who is deleted here is cut off.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Error, Result};
use crate::config::Name;
use crate::identity::Fingerprint;
use crate::nodes::registry;
use crate::store::{Outcome, Page, Store, Txn};

/// Where they are.
pub const ADMIN: &str = "admin/";

/// An administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Administrator {
    /// The name.
    pub name: Name,
    /// Of the key in the credential.
    pub fingerprint: Fingerprint,
    /// When it was made.
    pub created: Timestamp,
    /// Until when the credential is good.
    pub expires: Timestamp,
    /// Who made it.
    pub by: String,
}

/// The administrators in a store.
#[derive(Clone)]
pub struct Administrators {
    store: Arc<dyn Store>,
}

impl Administrators {
    /// Those in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Administrators { store }
    }

    /// All of them, by name.
    pub async fn list(&self) -> Result<Vec<Administrator>> {
        let all = registry::read_all(self.store.as_ref(), ADMIN, "read the administrators").await;
        Ok(all?)
    }

    /// Add one.
    pub async fn add(&self, new: &Administrator) -> Result<()> {
        let key = key(&new.name);
        let txn = Txn::new().when(&key, 0).put(&key, registry::to_json(&key, new)?);
        let done = self.store.txn(txn).await;
        match done.map_err(registry::failed("add an administrator"))? {
            Outcome::Done(_) => Ok(()),
            Outcome::Stale => Err(Error::AdministratorTaken { name: new.name.clone() }),
        }
    }

    /// Delete one, who is not the last.
    pub async fn revoke(&self, name: &Name) -> Result<Administrator> {
        let range = self.store.range(ADMIN, Page::ALL).await;
        let range = range.map_err(registry::failed("read the administrators"))?;
        let found = range.entries.iter().find(|entry| entry.key == key(name));
        let Some(found) = found else {
            return Err(Error::NoAdministrator { name: name.clone() });
        };
        // Another who stays, so that two who are revoked at once are not both the last but one.
        let Some(stays) = range.entries.iter().find(|entry| entry.key != found.key) else {
            return Err(Error::LastAdministrator { name: name.clone() });
        };
        let txn = Txn::new()
            .when(&found.key, found.revision)
            .when(&stays.key, stays.revision)
            .delete(&found.key);
        let done = self.store.txn(txn).await;
        match done.map_err(registry::failed("revoke an administrator"))? {
            Outcome::Done(_) => Ok(registry::json(found)?),
            Outcome::Stale => Err(registry::Error::Contended {
                what: "the administrators".to_owned(),
                tries: 1,
            }
            .into()),
        }
    }
}

fn key(name: &Name) -> String {
    format!("{ADMIN}{name}")
}
