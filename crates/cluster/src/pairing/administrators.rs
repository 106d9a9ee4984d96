//! The administrators: who has a credential, known by the fingerprint of its key. The gateways of the config store
//! go by these records, so that who is deleted here is cut off.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::records::{APPROVED, TOKEN, approved_key, token_key};
use super::{Approved, Error, Result, Token};
use crate::config::Name;
use crate::identity::Fingerprint;
use crate::nodes::registry;
use crate::store::limits::MAX_OPERATIONS;
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

    /// Delete one, who is not the last, with the tokens and approvals that were made with the credential.
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
        // Before, so that none is left when this fails in between; and after, for what is made meanwhile.
        self.forget_made_by(name).await?;
        let txn = Txn::new()
            .when(&found.key, found.revision)
            .when(&stays.key, stays.revision)
            .delete(&found.key);
        let done = self.store.txn(txn).await;
        match done.map_err(registry::failed("revoke an administrator"))? {
            Outcome::Done(_) => {}
            Outcome::Stale => {
                let (what, tries) = ("the administrators".to_owned(), 1);
                return Err(registry::Error::Contended { what, tries }.into());
            }
        }
        self.forget_made_by(name).await?;
        Ok(registry::json(found)?)
    }

    /// Nobody comes in any more by what this administrator has said before.
    async fn forget_made_by(&self, name: &Name) -> Result<()> {
        let attempt = "take back what lets nodes in";
        let store = self.store.as_ref();
        let tokens = registry::read_all::<Token>(store, TOKEN, attempt).await?;
        let approved = registry::read_all::<Approved>(store, APPROVED, attempt).await?;
        let tokens = tokens
            .iter()
            .filter(|token| token.administrator.as_ref() == Some(name))
            .map(|token| token_key(&token.id));
        let approved = approved
            .iter()
            .filter(|approved| approved.administrator.as_ref() == Some(name))
            .map(|approved| approved_key(&approved.fingerprint));
        let keys: Vec<String> = tokens.chain(approved).collect();
        for some in keys.chunks(MAX_OPERATIONS) {
            let txn = some.iter().fold(Txn::new(), Txn::delete);
            store.txn(txn).await.map_err(registry::failed(attempt))?;
        }
        Ok(())
    }
}

fn key(name: &Name) -> String {
    format!("{ADMIN}{name}")
}
