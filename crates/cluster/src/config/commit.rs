//! Changes of the tree written: all leaves, the head and the records in one transaction.
//!
//! Every change writes the same key (`config/head`) and rests on what was read of it, so that two changes never
//! overlap, whoever makes them. What is written was checked before; who comes too late tries again. What is too much for one
//! transaction is refused, or cut into parts where it was asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::edit::{self, Edit};
use super::history::{self, Author, Record};
use super::key::KeyPath;
use super::layers::{self, HEAD, Head, Layers};
use super::target::{Scope, Target};
use super::tree::Change;
use super::{Config, Error, Result, Schema};
use crate::store::limits::MAX_OPERATIONS;
use crate::store::{Outcome, Revision, Txn};

/// The most keys one command can change: what is left of a transaction beside head, record and forgotten records.
pub const MAX_CHANGES: usize = MAX_OPERATIONS - 2 - history::MAX_FORGOTTEN;
/// How large the values may be that one part of several changes: what is written of them, as leaves and in the record,
/// fits a transaction beside the keys, and the record fits a value.
const MAX_PART: usize = 512 * 1024;
/// A value of a layer's own, and what is to be in its place; `None` is nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Swap {
    /// A whole leaf.
    pub target: Target,
    /// What has to be there.
    pub from: Option<Value>,
    /// What is there afterwards.
    pub to: Option<Value>,
}

/// What came of [`Config::swap`].
#[derive(Clone, Debug, PartialEq)]
pub enum Swapped {
    /// All of it was done.
    Done(Revision),
    /// Nothing was done: there is something else at this target.
    Other(Target, Option<Value>),
    /// Nothing was done: something else changed meanwhile, or what was to be changed with it rests on something that has
    /// changed.
    Stale,
}

/// The changes of one layer.
pub(super) type OfLayer = (Scope, Vec<Change>);

/// How often a change is tried again when others come in between.
pub(super) const TRIES: usize = 32;
/// How long to wait before the first of these tries; it grows with each.
const PAUSE: Duration = Duration::from_millis(2);

/// Wait a little before the next try.
pub(super) async fn pause(tried: usize) {
    tokio::time::sleep(PAUSE * u32::try_from(tried).unwrap_or(u32::MAX)).await;
}

impl Config {
    /// Write the changes of one layer or more, if nothing else changed meanwhile.
    pub(super) async fn commit(&self, layers: &Layers, changes: &[OfLayer], author: &Author) -> Result<Outcome> {
        let txn = self.transaction(layers, changes, author).await?;
        self.store.txn(txn).await.map_err(|source| Error::Store {
            attempt: "change",
            source,
        })
    }

    /// Put these values, of any layers, in place of those that are there, and make the changes of `also` with them: all of it
    /// or nothing. It is tried once.
    pub async fn swap(&self, swaps: &[Swap], also: &Txn, author: &Author) -> Result<Swapped> {
        let layers = self.layers().await?;
        let mut changes: BTreeMap<Scope, Vec<Change>> = BTreeMap::new();
        for swap in swaps {
            let target = swap.target.at(&self.schema.canonical(&swap.target.address));
            let present = layers.own(&target.scope).leaf(&target.address).cloned();
            if present != swap.from {
                return Ok(Swapped::Other(target, present));
            }
            if let Some(value) = &swap.to {
                edit::apply(&layers, self.schema, &target, Edit::Set(value.clone()), false)?;
            }
            if swap.from != swap.to {
                let change = Change {
                    path: target.address,
                    old: present,
                    new: swap.to.clone(),
                };
                changes.entry(target.scope).or_default().push(change);
            }
        }
        let changes: Vec<OfLayer> = changes.into_iter().collect();
        let mut txn = match changes.is_empty() {
            true => Txn::new().when(HEAD, layers.revision),
            false => self.transaction(&layers, &changes, author).await?,
        };
        txn.compares.extend(also.compares.iter().cloned());
        txn.operations.extend(also.operations.iter().cloned());
        let done = self.store.txn(txn).await.map_err(|source| Error::Store {
            attempt: "change",
            source,
        })?;
        Ok(match done {
            Outcome::Done(revision) => Swapped::Done(revision),
            Outcome::Stale => Swapped::Stale,
        })
    }

    async fn transaction(&self, layers: &Layers, changes: &[OfLayer], author: &Author) -> Result<Txn> {
        let records = changes.len();
        check_count(changes)?;
        let last = layers.last_change + records as u64;
        let head = Head {
            format: layers::FORMAT,
            last,
        };
        let mut txn = Txn::new().when(HEAD, layers.revision).put(HEAD, json(HEAD, &head)?);
        for (number, (scope, changes)) in (layers.last_change + 1..).zip(changes) {
            let record = Record::new(number, author, scope, changes, self.schema);
            let key = history::record_key(number);
            txn = txn.put(key.clone(), json(&key, &record)?);
            for change in changes {
                txn = self.leaf(txn, scope, change)?;
            }
        }
        for old in history::too_many(self.store.as_ref(), last, self.kept(layers)).await? {
            txn = txn.delete(old);
        }
        Ok(txn)
    }

    fn leaf(&self, txn: Txn, scope: &Scope, change: &Change) -> Result<Txn> {
        let key = layers::leaf_key(scope, &change.path, self.schema.is_secret(&change.path));
        Ok(match &change.new {
            Some(value) => txn.put(key.clone(), json(&key, value)?),
            None => txn.delete(key),
        })
    }

    /// How many records of changes are kept.
    pub(super) fn kept(&self, layers: &Layers) -> u64 {
        let key = KeyPath::parse("cluster/history/keep").unwrap_or_default();
        let effective = layers.effective(self.schema, &Scope::Cluster);
        let default = || self.schema.defaults().leaf(&key).and_then(Value::as_u64);
        effective
            .leaf(&key)
            .and_then(Value::as_u64)
            .or_else(default)
            .unwrap_or(u64::MAX)
    }
}

/// Refuse more changes than one transaction holds beside their records.
pub(super) fn check_count(changes: &[OfLayer]) -> Result<()> {
    let count: usize = changes.iter().map(|(_, changes)| changes.len()).sum();
    // Room for one record is kept already.
    if count + changes.len().saturating_sub(1) > MAX_CHANGES {
        return Err(Error::TooMuch {
            limit: MAX_CHANGES,
            what: "changed keys in one command",
        });
    }
    Ok(())
}

/// The first of these changes, as many as fit one transaction. What programs of this release read comes before the rest,
/// and what is taken away before what is set, which may be in its place.
pub(super) fn first_part(changes: Vec<OfLayer>, schema: &Schema) -> Vec<OfLayer> {
    let is_known = |path: &KeyPath| {
        let component = path.split_first().map(|(component, _)| component);
        component.is_some_and(|component| schema.component(component).is_some())
    };
    let with_scope = |(scope, changes): OfLayer| changes.into_iter().map(move |change| (scope.clone(), change));
    let mut all: Vec<(Scope, Change)> = changes.into_iter().flat_map(with_scope).collect();
    all.sort_by_key(|(_, change)| (!is_known(&change.path), change.new.is_some()));
    let mut part: BTreeMap<Scope, Vec<Change>> = BTreeMap::new();
    let (mut count, mut bytes) = (0, 0);
    for (scope, change) in all {
        let size = |value: &Option<Value>| value.as_ref().map_or(0, |value| value.to_string().len());
        count += 1;
        bytes += size(&change.old) + size(&change.new);
        let records = part.len() + usize::from(!part.contains_key(&scope));
        if count > 1 && (count + records - 1 > MAX_CHANGES || bytes > MAX_PART) {
            break;
        }
        part.entry(scope).or_default().push(change);
    }
    part.into_iter().collect()
}

/// What is written to the store under `key`.
fn json(key: &str, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|source| Error::Corrupt {
        key: key.to_owned(),
        source,
    })
}
