//! The rules of a container's life. This is the one place that decides what may happen to a container, and the one
//! owner of the table of containers; everything that changes one container is serialised by its entry.
//!
//! It knows no HTTP and no config store: faces call it, the node hands it its [`Policy`]. What it acknowledged is in
//! the inventory before the caller hears of it.

mod adopt;
mod comeback;
mod create;
mod destroy;
mod disks;
mod entry;
mod error;
mod events;
mod files;
mod grace;
mod life;
mod logging;
mod metrics;
mod pause;
mod pea;
mod policy;
mod ports;
mod process;
mod properties;
mod rebuild;
mod reconcile;
mod repair;
mod retire;
mod status;
mod sweep;
mod top;
mod watch;

#[cfg(test)]
mod pretend_init;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::Engine;

pub use crate::events::{Batch, Event};
pub use crate::logs::{Filter as LogFilter, Position as LogPosition};
pub use entry::Hold;
pub use error::{Error, Result};
pub use files::{FilesIn, FilesOut};
pub use logging::Logs;
pub use metrics::Metrics;
pub use policy::{ConfigState, Policy};
pub use process::{Attachment, Chunk, InputSource, OutputReader, ProcessControl, Stream, Written};
pub use repair::{Problem, RepairTimes};
pub use retire::Retiring;
pub use status::{Capacity, NodeStatus, NodeVersion};
pub use top::TopProcess;

use crate::container::{ContainerInfo, Handle, Properties, State};
use crate::events::Journal;
use crate::image::Keeper;
use crate::init::InitBinary;
use crate::inventory::{Inventory, Record};
use crate::network::{Firewall, PortPool};
use entry::Entry;
use repair::Repairs;
use retire::Clock;

/// What a container's engine labels are called.
pub const LABEL_INSTANCE: &str = "io.fence.instance";
/// The label with the id of the node a container belongs to.
pub const LABEL_NODE: &str = "io.fence.node";

/// What a supervisor works with.
pub struct Parts {
    pub engine: Arc<dyn Engine>,
    pub inventory: Inventory,
    /// What happened to containers is told here.
    pub events: Journal,
    /// Their output is kept here.
    pub logs: crate::logs::Store,
    pub images: Keeper,
    pub firewall: Arc<dyn Firewall>,
    pub ports: PortPool,
    /// The init that new containers get.
    pub init: InitBinary,
    /// Where each container's socket directory is made.
    pub run_dir: PathBuf,
    /// Where it is remembered that the node is being retired.
    pub retiring: PathBuf,
    pub policy: tokio::sync::watch::Receiver<Arc<Policy>>,
    pub node_name: String,
    pub node_id: String,
    pub repair_times: RepairTimes,
}

/// The node's containers. Clones are the same supervisor.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    table: Mutex<HashMap<Handle, Slot>>,
    /// Whether rules were ever written, so that a node without ports needs no packet filter.
    filtered: AtomicBool,
    /// Held by whoever writes rules.
    forwarding: tokio::sync::Mutex<()>,
    ready: AtomicBool,
    reservations: AtomicU64,
    /// Records that could not be taken over at the start; tried again with every comparison.
    unadopted: Mutex<Vec<Record>>,
    /// What is out of order and being put right.
    repairs: Mutex<Repairs>,
    /// What was counted of containers' files.
    counted: metrics::Counted,
    /// Where the engine keeps its data, once it said so.
    engine_disk: Mutex<Option<PathBuf>>,
    /// Since when the node is being retired, where it is.
    retiring: Mutex<Option<Clock>>,
    started_at: jiff::Timestamp,
}

/// A handle's place in the table.
enum Slot {
    /// Somebody is making a container of this name; the number tells one maker from the next.
    Reserved(u64),
    Taken(Arc<Entry>),
}

impl Supervisor {
    /// A supervisor that knows of no containers yet; see [`Supervisor::adopt`].
    pub fn new(parts: Parts) -> Supervisor {
        let repairs = Mutex::new(Repairs::new(parts.repair_times));
        let retiring = Mutex::new(Clock::load(&parts.retiring));
        let inner = Inner {
            parts,
            table: Mutex::default(),
            filtered: AtomicBool::new(false),
            forwarding: tokio::sync::Mutex::default(),
            ready: AtomicBool::new(false),
            reservations: AtomicU64::new(0),
            unadopted: Mutex::default(),
            repairs,
            counted: metrics::Counted::default(),
            engine_disk: Mutex::default(),
            retiring,
            started_at: jiff::Timestamp::now(),
        };
        Supervisor { inner: Arc::new(inner) }
    }

    /// The handles of the containers that have all these properties, sorted. Those being made are not among them.
    pub fn list(&self, filter: &Properties) -> Vec<Handle> {
        let has = |record: &Record| {
            record.state != State::Creating
                && filter
                    .iter()
                    .all(|(key, value)| record.properties.get(key) == Some(value))
        };
        let mut handles: Vec<Handle> = self
            .entries()
            .into_iter()
            .filter(|entry| has(&entry.record()))
            .map(|entry| entry.handle.clone())
            .collect();
        handles.sort();
        handles
    }

    /// One container as it is now.
    pub async fn info(&self, handle: &Handle) -> Result<ContainerInfo> {
        Ok(self.describe(&*self.entry(handle)?))
    }

    /// All containers as they are now, sorted by handle.
    pub async fn infos(&self) -> Vec<ContainerInfo> {
        let mut entries = self.entries();
        entries.retain(|entry| entry.record().state != State::Creating);
        entries.sort_by(|a, b| a.handle.cmp(&b.handle));
        entries.iter().map(|entry| self.describe(entry)).collect()
    }

    /// Keep the container from being destroyed for want of clients while the hold lives.
    pub fn hold(&self, handle: &Handle) -> Result<Hold> {
        Ok(Hold::new(self.entry(handle)?))
    }

    /// The labels that every container of this node carries.
    pub fn labels(&self) -> engine::Labels {
        [(LABEL_NODE.to_owned(), self.inner.parts.node_id.clone())].into()
    }

    fn describe(&self, entry: &Entry) -> ContainerInfo {
        entry.describe(&self.inner.parts.node_name)
    }

    /// Do this to its end in a task of its own: a client that goes away must not leave anything half done.
    async fn to_the_end<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        tokio::spawn(work).await.unwrap_or(Err(Error::NotReady("stopping")))
    }

    fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    fn policy(&self) -> Arc<Policy> {
        self.inner.parts.policy.borrow().clone()
    }

    /// The entry of a container that clients may know of.
    fn entry(&self, handle: &Handle) -> Result<Arc<Entry>> {
        match self.table().get(handle) {
            Some(Slot::Taken(entry)) if entry.record().state != State::Creating => Ok(entry.clone()),
            _ => Err(Error::ContainerNotFound {
                handle: handle.to_string(),
            }),
        }
    }

    fn entries(&self) -> Vec<Arc<Entry>> {
        let table = self.table();
        let taken = table.values().filter_map(|slot| match slot {
            Slot::Taken(entry) => Some(entry.clone()),
            Slot::Reserved(_) => None,
        });
        taken.collect()
    }

    /// Free a handle, if what has it is what the caller thinks.
    fn free_slot(&self, handle: &Handle, is_ours: impl FnOnce(&Slot) -> bool) {
        let mut table = self.table();
        if table.get(handle).is_some_and(is_ours) {
            table.remove(handle);
        }
    }

    fn unadopted(&self) -> MutexGuard<'_, Vec<Record>> {
        self.inner.unadopted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn repairs(&self) -> MutexGuard<'_, Repairs> {
        self.inner.repairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn engine_disk(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.inner.engine_disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retiring(&self) -> MutexGuard<'_, Option<Clock>> {
        self.inner.retiring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Handle, Slot>> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
