//! A store in memory, for tests: the same promises as the real homes, without their durability.
//!
//! Clones share one state, as clients of one server do. It passes the same suite as the real homes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::limits::{self, KEPT_REVISIONS};
use super::{
    Changes, Entry, Error, Event, LeaseId, Operation, Outcome, Page, Range, Result, Revision, Store, Txn, Watch,
};

/// How often a watch looks for leases that have expired.
const LEASE_TICK: Duration = Duration::from_millis(100);

/// A store in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The revision, for those who wait for the next one.
    revision: watch::Sender<Revision>,
}

#[derive(Debug, Default)]
struct State {
    revision: Revision,
    compacted: Revision,
    entries: BTreeMap<String, Entry>,
    log: VecDeque<Changes>,
    leases: HashMap<LeaseId, Lease>,
    last_lease: i64,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    until: Instant,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        MemoryStore::default()
    }

    /// Work on the state as it is now, then tell those who wait.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // A panic elsewhere cannot leave the state half changed: changes are made after all checks.
        let mut state: MutexGuard<'_, State> = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.expire();
        let done = work(&mut state);
        let revision = state.revision;
        drop(state);
        self.shared
            .revision
            .send_if_modified(|known| std::mem::replace(known, revision) != revision);
        done
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn range(&self, prefix: &str, page: Page) -> Result<Range> {
        limits::check_prefix(prefix)?;
        Ok(self.with(|state| state.range(prefix, page)))
    }

    async fn txn(&self, txn: Txn) -> Result<Outcome> {
        limits::check_txn(&txn)?;
        self.with(|state| state.txn(txn))
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        limits::check_prefix(prefix)?;
        self.with(|state| state.after(prefix, after).map(|_| ()))?;
        let (sender, watch) = Watch::channel();
        tokio::spawn(feed(self.clone(), prefix.to_owned(), after, sender));
        Ok(watch)
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        self.with(|state| {
            if through > state.revision {
                return Err(Error::Ahead {
                    after: through,
                    present: state.revision,
                });
            }
            state.forget(through);
            Ok(())
        })
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        limits::check_ttl(ttl)?;
        Ok(self.with(|state| {
            state.last_lease += 1;
            let lease = LeaseId(state.last_lease);
            state.leases.insert(
                lease,
                Lease {
                    ttl,
                    until: Instant::now() + ttl,
                },
            );
            lease
        }))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.with(|state| {
            let known = state.leases.get_mut(&lease).ok_or(Error::NoLease { lease })?;
            known.until = Instant::now() + known.ttl;
            Ok(())
        })
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.with(|state| state.end(lease));
        Ok(())
    }
}

/// Feed a watch until its reader is gone or it cannot go on.
async fn feed(store: MemoryStore, prefix: String, mut after: Revision, sender: mpsc::Sender<Result<Changes>>) {
    let mut revision = store.shared.revision.subscribe();
    loop {
        revision.borrow_and_update();
        let (present, found) = store.with(|state| (state.revision, state.after(&prefix, after)));
        let changes = match found {
            Ok(changes) => changes.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        for change in changes {
            let ended = change.is_err();
            if sender.send(change).await.is_err() || ended {
                return;
            }
        }
        after = present;
        tokio::select! {
            _ = revision.changed() => {}
            () = tokio::time::sleep(LEASE_TICK) => {}
            () = sender.closed() => return,
        }
    }
}

impl State {
    fn range(&self, prefix: &str, page: Page) -> Range {
        let found = self.entries.range(prefix.to_owned()..).map(|(_, entry)| entry);
        let found = found.take_while(|entry| entry.key.starts_with(prefix)).cloned();
        let entries = if page.descending {
            let all: Vec<Entry> = found.collect();
            all.into_iter().rev().take(page.limit).collect()
        } else {
            found.take(page.limit).collect()
        };
        Range {
            revision: self.revision,
            entries,
        }
    }

    fn txn(&mut self, txn: Txn) -> Result<Outcome> {
        let holds = |key: &str, revision| self.entries.get(key).map_or(0, |entry| entry.revision) == revision;
        if !txn.compares.iter().all(|compare| holds(&compare.key, compare.revision)) {
            return Ok(Outcome::Stale);
        }
        for operation in &txn.operations {
            if let Operation::Put { lease: Some(lease), .. } = operation
                && !self.leases.contains_key(lease)
            {
                return Err(Error::NoLease { lease: *lease });
            }
        }
        self.apply(txn.operations);
        Ok(Outcome::Done(self.revision))
    }

    /// Make the changes in one new revision; without any the revision stays.
    fn apply(&mut self, operations: Vec<Operation>) {
        let revision = self.revision + 1;
        let mut events = Vec::new();
        for operation in operations {
            match operation {
                Operation::Put { key, value, lease } => {
                    let entry = Entry {
                        key: key.clone(),
                        value: value.clone(),
                        revision,
                        lease,
                    };
                    self.entries.insert(key.clone(), entry);
                    events.push(Event::Put { key, value });
                }
                Operation::Delete { key } => {
                    if self.entries.remove(&key).is_some() {
                        events.push(Event::Delete { key });
                    }
                }
            }
        }
        if !events.is_empty() {
            self.revision = revision;
            self.log.push_back(Changes { revision, events });
            self.forget(revision.saturating_sub(KEPT_REVISIONS));
        }
    }

    fn after(&self, prefix: &str, after: Revision) -> Result<Vec<Changes>> {
        if after < self.compacted {
            return Err(Error::Compacted {
                after,
                through: self.compacted,
            });
        }
        if after > self.revision {
            return Err(Error::Ahead {
                after,
                present: self.revision,
            });
        }
        let wanted = |event: &Event| match event {
            Event::Put { key, .. } | Event::Delete { key } => key.starts_with(prefix),
        };
        let newer = self.log.iter().filter(|changes| changes.revision > after);
        let seen = newer.map(|changes| Changes {
            revision: changes.revision,
            events: changes.events.iter().filter(|event| wanted(event)).cloned().collect(),
        });
        Ok(seen.filter(|changes| !changes.events.is_empty()).collect())
    }

    fn forget(&mut self, through: Revision) {
        self.compacted = self.compacted.max(through);
        while self
            .log
            .front()
            .is_some_and(|changes| changes.revision <= self.compacted)
        {
            self.log.pop_front();
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        let expired = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.until <= now)
            .map(|(id, _)| *id);
        for lease in expired.collect::<Vec<_>>() {
            self.end(lease);
        }
    }

    fn end(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let held = self.entries.values().filter(|entry| entry.lease == Some(lease));
        let operations = held.map(|entry| Operation::Delete { key: entry.key.clone() }).collect();
        self.apply(operations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{self, Home};

    impl Home for MemoryStore {
        async fn client(&self) -> Arc<dyn Store> {
            Arc::new(self.clone())
        }
    }

    conformance::suite!(MemoryStore::new());
}
