//! A node's settings as they are now: read, followed, and kept on disk for the time when the store is gone.
//!
//! ```text
//!            range, then watch                 error
//!   start ───────────────────▶ following ─────────────▶ stale: the last settings, flagged
//!     │ store gone, cache there                            │      ▲
//!     └────────────────────────────────────────────────────┤      │ error, wait a little longer
//!                              following ◀─ range, watch ──┴──────┘
//! ```
//!
//! The follower is the only one who writes the snapshot and the file; readers get clones of an `Arc`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cache::Cached;
use super::key::Name;
use super::layers::{CONFIG, Layers};
use super::schema::Schema;
use super::snapshot::Snapshot;
use super::target::Scope;
use super::tree::Tree;
use super::{Error, Result};
use crate::store::{Changes, Event, Page, Revision, Store};

/// How long to wait before a store that is gone is tried again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A node's settings as they are now. Clones are cheap; each sees every change.
#[derive(Clone, Debug)]
pub struct Live {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    _follower: Arc<Follower>,
}

/// Ends with the last [`Live`].
#[derive(Debug)]
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Live {
    /// Read the settings, from `cache` if the store is gone, and follow them.
    pub(super) async fn start(
        store: Arc<dyn Store>,
        node: Name,
        schema: &'static Schema,
        cache: PathBuf,
    ) -> Result<Self> {
        let mut view = View {
            store,
            node,
            schema,
            cache,
            entries: BTreeMap::new(),
            seen: 0,
        };
        let first = match view.read(None).await {
            Ok(snapshot) => snapshot,
            Err(error) => view.remembered(error).await?,
        };
        let is_stale = first.stale.is_some();
        let (sender, snapshots) = watch::channel(Arc::new(first));
        let follower = tokio::spawn(view.follow(sender, is_stale));
        Ok(Live {
            snapshots,
            _follower: Arc::new(Follower(follower)),
        })
    }

    /// The settings as they are now.
    pub fn current(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// Wait for settings that this handle has not given out as changed before. `None` once nothing follows them any
    /// more, which is only when the runtime ends.
    pub async fn changed(&mut self) -> Option<Arc<Snapshot>> {
        self.snapshots.changed().await.ok()?;
        Some(self.snapshots.borrow_and_update().clone())
    }
}

/// What the follower works with.
struct View {
    store: Arc<dyn Store>,
    node: Name,
    schema: &'static Schema,
    cache: PathBuf,
    /// All that is below `config/`.
    entries: BTreeMap<String, (Vec<u8>, Revision)>,
    /// The store's revision of `entries`.
    seen: Revision,
}

impl View {
    /// Follow the store for ever; while it is gone, say so.
    async fn follow(mut self, snapshots: watch::Sender<Arc<Snapshot>>, mut must_read: bool) {
        let mut pause = PAUSE.0;
        loop {
            let ended = match self.follow_once(&snapshots, must_read, &mut pause).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            must_read = true;
            if ended.needs_new_range() {
                continue;
            }
            let reason = chain(&ended);
            tracing::warn!(
                reason,
                "the configuration cannot be followed, the last one stays in use"
            );
            snapshots.send_if_modified(|snapshot| {
                let is_news = snapshot.stale.as_ref() != Some(&reason);
                if is_news {
                    Arc::make_mut(snapshot).stale = Some(reason);
                }
                is_news
            });
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn follow_once(
        &mut self,
        snapshots: &watch::Sender<Arc<Snapshot>>,
        must_read: bool,
        pause: &mut Duration,
    ) -> Result<std::convert::Infallible> {
        if must_read {
            let last = snapshots.borrow().clone();
            let snapshot = self.read(Some(&last)).await?;
            self.publish(snapshots, snapshot).await;
        } else {
            self.remember().await;
        }
        let failed = |source| Error::Store {
            attempt: "follow",
            source,
        };
        let mut watch = self.store.watch(CONFIG, self.seen).await.map_err(failed)?;
        *pause = PAUSE.0;
        loop {
            let changes = watch.next().await.map_err(failed)?;
            self.apply(changes);
            let last = snapshots.borrow().clone();
            let snapshot = self.snapshot(Some(&last))?;
            self.publish(snapshots, snapshot).await;
        }
    }

    /// Read everything anew.
    async fn read(&mut self, last: Option<&Snapshot>) -> Result<Snapshot> {
        let range = self.store.range(CONFIG, Page::ALL).await;
        let range = range.map_err(|source| Error::Store {
            attempt: "read",
            source,
        })?;
        let entries = range
            .entries
            .into_iter()
            .map(|entry| (entry.key, (entry.value, entry.revision)));
        (self.entries, self.seen) = (entries.collect(), range.revision);
        self.snapshot(last)
    }

    fn apply(&mut self, changes: Changes) {
        self.seen = changes.revision;
        for event in changes.events {
            match event {
                Event::Put { key, value } => {
                    self.entries.insert(key, (value, changes.revision));
                }
                Event::Delete { key } => {
                    self.entries.remove(&key);
                }
            }
        }
    }

    fn merged(&self) -> Result<(Tree, Revision)> {
        let entries = self
            .entries
            .iter()
            .map(|(key, (value, revision))| (key.as_str(), value.as_slice(), *revision));
        let layers = Layers::read(entries)?;
        for (key, reason) in &layers.unreadable {
            tracing::warn!(key, reason, "a value in the store cannot be read and is left out");
        }
        Ok((layers.merged(&Scope::Node(self.node.clone())), layers.revision))
    }

    fn snapshot(&self, last: Option<&Snapshot>) -> Result<Snapshot> {
        let (merged, revision) = self.merged()?;
        let snapshot = Snapshot::build(self.schema, &merged, revision, last)?;
        for problem in &snapshot.problems {
            tracing::warn!(key = %problem.address, reason = problem.reason, "a value in the configuration cannot be used");
        }
        Ok(snapshot)
    }

    /// First tell everyone, then the disk.
    async fn publish(&self, snapshots: &watch::Sender<Arc<Snapshot>>, snapshot: Snapshot) {
        snapshots.send_replace(Arc::new(snapshot));
        self.remember().await;
    }

    /// Keep what is set for this node on disk.
    async fn remember(&self) {
        let Ok((merged, revision)) = self.merged() else { return };
        let (cached, path) = (Cached::new(self.node.clone(), revision, merged), self.cache.clone());
        let saved = tokio::task::spawn_blocking(move || cached.save(&path)).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, path = %self.cache.display(), "the configuration could not be kept on disk");
        }
    }

    /// What was kept on disk, since the store is gone.
    async fn remembered(&self, gone: Error) -> Result<Snapshot> {
        let (path, node) = (self.cache.clone(), self.node.clone());
        let loaded = tokio::task::spawn_blocking(move || Cached::load(&path, &node)).await;
        let Ok(Ok(cached)) = loaded else {
            return Err(match gone {
                Error::Store { source, .. } => Error::Nothing { source },
                other => other,
            });
        };
        let mut snapshot = Snapshot::build(self.schema, &cached.merged, cached.revision, None)?;
        snapshot.stale = Some(chain(&gone));
        Ok(snapshot)
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
