//! The records of all nodes in the store: found, added, changed and removed, each change whole or not at all.
//!
//! A node's name, its key, its realm (`config/member/NAME`, by which the configuration finds the realm's values) and its
//! record are written in one transaction. A change that touches a node's realm writes the realm's own key anew, so that a realm
//! is not deleted while a node comes into it. Who may do it is the store's matter.

mod error;
mod naming;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub use self::error::{Error, Result};
use self::naming::meant;
pub use self::naming::{check_name, find_among};
use super::record::{BY_ID, Record, by_id_key, by_key_key, by_name_key, default_realm};
use super::report::{state_prefix, stock_key};
use crate::config::{self, Name};
use crate::process::orders_prefix;
use crate::realms::{Realm, realm_key};
use crate::store::{Entry, Outcome, Page, Revision, Store, Txn};

/// How often a change is tried again when others come in between.
pub(crate) const TRIES: usize = 32;
/// How long to wait before the first of these tries; it grows with each.
const PAUSE: Duration = Duration::from_millis(2);
/// How many keys of a node's state are taken away at once, and how often: of more than a node writes there is no end.
const SWEEP: usize = 64;
const SWEEPS: usize = 256;

/// The nodes of a cluster.
#[derive(Clone)]
pub struct Nodes {
    store: Arc<dyn Store>,
}

impl Nodes {
    /// The nodes whose records are in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Nodes { store }
    }

    /// All nodes, by name. A record that cannot be read is left out, so that it does not hide the others.
    pub async fn list(&self) -> Result<Vec<Record>> {
        let mut all: Vec<Record> = read_all(self.store.as_ref(), BY_ID, "read the nodes").await?;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// One node.
    pub async fn get(&self, id: Uuid) -> Result<Option<Record>> {
        Ok(self.entry(id).await?.map(|(record, _)| record))
    }

    /// The node whose key has this fingerprint.
    pub async fn with_fingerprint(&self, fingerprint: &str) -> Result<Option<Record>> {
        Ok(self.key_holder(fingerprint).await?.and_then(|(holder, _)| holder))
    }

    /// The node that is meant by its name, its id, the beginning of its id, or an address.
    pub async fn find(&self, word: &str) -> Result<Record> {
        find_among(&self.list().await?, word).cloned()
    }

    /// As [`Nodes::find`], but not by an address, which is the node's own word: for what cannot be taken back.
    pub async fn find_surely(&self, word: &str) -> Result<Record> {
        meant(&self.list().await?, word, Record::is_named).cloned()
    }

    /// Let a node in.
    pub async fn add(&self, record: &Record) -> Result<()> {
        self.add_with(record, &Txn::new()).await
    }

    /// Let a node in and make these changes too, all of it or nothing.
    pub async fn add_with(&self, record: &Record, also: &Txn) -> Result<()> {
        check_name(&record.name)?;
        for tried in 0..TRIES {
            // First, since a node that is there has its name as well, and is not in its own way.
            if self.get(record.id).await?.is_some() {
                return Err(Error::IdTaken { id: record.id });
            }
            if let Some(taken) = self.holder(&record.name).await? {
                let name = record.name.clone();
                return Err(Error::NameTaken { name, id: taken });
            }
            let txn = put_record(Txn::new().when(by_name_key(&record.name), 0), record, 0)?;
            let txn = self.with_key(txn, record).await?;
            let mut txn = self.with_realm(txn, record).await?;
            txn.compares.extend(also.compares.iter().cloned());
            txn.operations.extend(also.operations.iter().cloned());
            if self.done(txn, "add a node").await? {
                return Ok(());
            }
            pause(tried).await;
        }
        Err(contended(record.id))
    }

    /// Change a node's record; what it is afterwards. `change` may be called several times; its error ends it.
    pub async fn change(&self, id: Uuid, change: impl Fn(&mut Record) -> Result<()>) -> Result<Record> {
        for tried in 0..TRIES {
            let Some((before, revision)) = self.entry(id).await? else {
                return Err(no_node(&id.to_string()));
            };
            let mut after = before.clone();
            change(&mut after)?;
            if after == before {
                return Ok(after);
            }
            let mut txn = put_record(Txn::new(), &after, revision)?;
            if after.name != before.name {
                check_name(&after.name)?;
                if let Some(taken) = self.holder(&after.name).await? {
                    return Err(Error::NameTaken {
                        name: after.name,
                        id: taken,
                    });
                }
                txn = txn
                    .when(by_name_key(&after.name), 0)
                    .delete(by_name_key(&before.name))
                    .delete(config::member_key(&before.name));
            }
            if after.fingerprint != before.fingerprint {
                if !before.fingerprint.is_empty() {
                    txn = txn.delete(by_key_key(&before.fingerprint));
                }
                txn = self.with_key(txn, &after).await?;
            }
            if after.name != before.name || after.realm != before.realm {
                txn = self.with_realm(txn, &after).await?;
            }
            if self.done(txn, "change a node").await? {
                return Ok(after);
            }
            pause(tried).await;
        }
        Err(contended(id))
    }

    /// Remove a node with its state and its orders. The values that are set for it alone stay.
    pub async fn remove(&self, id: Uuid) -> Result<Record> {
        if self.get(id).await?.is_some() {
            self.sweep(id).await?;
        }
        for tried in 0..TRIES {
            let Some((record, revision)) = self.entry(id).await? else {
                return Err(no_node(&id.to_string()));
            };
            let mut txn = Txn::new()
                .when(by_id_key(id), revision)
                .delete(by_id_key(id))
                .delete(by_name_key(&record.name))
                .delete(stock_key(id))
                .delete(config::member_key(&record.name));
            if !record.fingerprint.is_empty() {
                txn = txn.delete(by_key_key(&record.fingerprint));
            }
            let orders = self.store.range(&orders_prefix(id), Page::ALL).await;
            let orders = orders.map_err(failed("remove a node"))?.entries;
            for entry in self.state(id).await?.into_iter().chain(orders) {
                txn = txn.delete(entry.key);
            }
            if self.done(txn, "remove a node").await? {
                return Ok(record);
            }
            pause(tried).await;
        }
        Err(contended(id))
    }

    /// Take away a node's state but for what fits into the transaction that removes it.
    async fn sweep(&self, id: Uuid) -> Result<()> {
        for _ in 0..SWEEPS {
            let some = self.state(id).await?;
            if some.len() < SWEEP {
                break;
            }
            let txn = some.into_iter().fold(Txn::new(), |txn, entry| txn.delete(entry.key));
            self.done(txn, "remove a node's state").await?;
        }
        Ok(())
    }

    /// The beginning of a node's state.
    async fn state(&self, id: Uuid) -> Result<Vec<Entry>> {
        let page = Page {
            limit: SWEEP,
            descending: false,
        };
        let range = self.store.range(&state_prefix(id), page).await;
        Ok(range.map_err(failed("read a node's state"))?.entries)
    }

    /// The node that has this name.
    async fn holder(&self, name: &Name) -> Result<Option<Uuid>> {
        let entry = self
            .store
            .get(&by_name_key(name))
            .await
            .map_err(failed("read the nodes"))?;
        entry.map(|entry| json(&entry)).transpose()
    }

    /// Where a key leads, and since when; it may lead to nobody.
    async fn key_holder(&self, fingerprint: &str) -> Result<Option<(Option<Record>, Revision)>> {
        let found = self.store.get(&by_key_key(fingerprint)).await;
        let Some(entry) = found.map_err(failed("read the nodes"))? else {
            return Ok(None);
        };
        let holder = self.get(json(&entry)?).await?;
        Ok(Some((
            holder.filter(|holder| holder.fingerprint == fingerprint),
            entry.revision,
        )))
    }

    async fn entry(&self, id: Uuid) -> Result<Option<(Record, Revision)>> {
        let entry = self.store.get(&by_id_key(id)).await.map_err(failed("read the nodes"))?;
        entry.map(|entry| Ok((json(&entry)?, entry.revision))).transpose()
    }

    /// The same transaction, which also takes the key for this node, if no other has it then.
    async fn with_key(&self, txn: Txn, record: &Record) -> Result<Txn> {
        if record.fingerprint.is_empty() {
            return Ok(txn);
        }
        let key = by_key_key(&record.fingerprint);
        let (holder, revision) = self.key_holder(&record.fingerprint).await?.unwrap_or_default();
        if let Some(holder) = holder.filter(|holder| holder.id != record.id) {
            let reason = format!("the key of {} is the one of node {} already", record.name, holder.name);
            return Err(Error::Refused { reason });
        }
        let value = to_json(&key, &record.id)?;
        Ok(txn.when(&key, revision).put(key, value))
    }

    /// The same transaction, which also makes the node a member of its realm, if that is there then.
    async fn with_realm(&self, txn: Txn, record: &Record) -> Result<Txn> {
        let key = realm_key(&record.realm);
        let found = self.store.get(&key).await.map_err(failed("read the realms"))?;
        let (realm, revision) = match found {
            Some(entry) => (entry.value, entry.revision),
            None if record.realm == default_realm() => (to_json(&key, &Realm::first(&record.paired.by))?, 0),
            None => {
                let (name, near) = (record.realm.clone(), None);
                return Err(Error::NoRealm { name, near });
            }
        };
        let member = config::member_key(&record.name);
        let value = to_json(&member, &record.realm)?;
        Ok(txn.when(&key, revision).put(key, realm).put(member, value))
    }

    async fn done(&self, txn: Txn, attempt: &'static str) -> Result<bool> {
        let outcome = self.store.txn(txn).await.map_err(failed(attempt))?;
        Ok(matches!(outcome, Outcome::Done(_)))
    }
}

fn put_record(txn: Txn, record: &Record, revision: Revision) -> Result<Txn> {
    let (by_id, by_name) = (by_id_key(record.id), by_name_key(&record.name));
    let (value, id) = (to_json(&by_id, record)?, to_json(&by_name, &record.id)?);
    Ok(txn.when(&by_id, revision).put(by_id, value).put(by_name, id))
}

fn no_node(word: &str) -> Error {
    let (word, near) = (word.to_owned(), None);
    Error::NoNode { word, near }
}

fn contended(id: Uuid) -> Error {
    let (what, tries) = (format!("the node {id}"), TRIES);
    Error::Contended { what, tries }
}

/// All values whose keys start with `prefix`; what cannot be read is told and left out.
pub(crate) async fn read_all<T: DeserializeOwned>(
    store: &dyn Store,
    prefix: &str,
    attempt: &'static str,
) -> Result<Vec<T>> {
    let range = store.range(prefix, Page::ALL).await.map_err(failed(attempt))?;
    let read = |entry: &Entry| {
        json(entry)
            .inspect_err(|error| tracing::warn!(%error, "a record is left out"))
            .ok()
    };
    Ok(range.entries.iter().filter_map(read).collect())
}

pub(crate) fn json<T: DeserializeOwned>(entry: &Entry) -> Result<T> {
    serde_json::from_slice(&entry.value).map_err(|source| Error::Corrupt {
        key: entry.key.clone(),
        source,
    })
}

pub(crate) fn to_json(key: &str, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|source| Error::Corrupt {
        key: key.to_owned(),
        source,
    })
}

pub(crate) fn failed(attempt: &'static str) -> impl Fn(crate::store::Error) -> Error {
    move |source| Error::Store { attempt, source }
}

/// Wait a little before the next try.
pub(crate) async fn pause(tried: usize) {
    tokio::time::sleep(PAUSE * u32::try_from(tried).unwrap_or(u32::MAX)).await;
}
