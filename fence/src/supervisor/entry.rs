//! One container in the supervisor's table: its record, its first process, its ports, and who holds it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::pea::Pea;
use super::{Error, Result};
use crate::container::{ContainerInfo, Handle, ProcessId, ProcessInfo, ProcessState};
use crate::init::{Attachment, Link, Process};
use crate::inventory::{Inventory, Record};
use crate::logs::Log;
use crate::network::PortGuard;

/// The most events kept of one container; older ones go.
const MAX_EVENTS: usize = 64;

/// A container. `life` is held by whoever starts, stops or destroys it.
pub(super) struct Entry {
    pub(super) handle: Handle,
    pub(super) instance: String,
    pub(super) link: Link,
    /// Where its socket is.
    pub(super) directory: PathBuf,
    pub(super) life: tokio::sync::Mutex<()>,
    pub(super) destroying: AtomicBool,
    /// The engine was asked to make it and has not said whether it did.
    pub(super) unanswered: AtomicBool,
    pub(super) ports: Mutex<Vec<PortGuard>>,
    /// Attachments whose outputs a client may still come for, by stream id.
    pub(super) attachments: Mutex<HashMap<String, Arc<Attachment>>>,
    /// Processes with an image of their own.
    peas: Mutex<BTreeMap<ProcessId, Arc<Pea>>>,
    pub(super) idle: watch::Sender<Idle>,
    /// What its processes said, and whose output is being read for that: process and run.
    pub(super) log: Arc<Log>,
    pub(super) logging: Mutex<HashSet<(ProcessId, u64)>>,
    record: Mutex<Record>,
    /// One writer of the record at a time. Holds whether the record is gone for good.
    writing: tokio::sync::Mutex<bool>,
}

/// What the grace timer goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Idle {
    pub(super) holds: usize,
    /// Zero = never.
    pub(super) grace: Duration,
}

impl Entry {
    pub(super) fn new(record: Record, link: Link, directory: PathBuf, ports: Vec<PortGuard>, log: Log) -> Entry {
        let grace = Duration::from_nanos(record.grace_time_ns);
        Entry {
            handle: record.handle.clone(),
            instance: record.instance.clone(),
            link,
            directory,
            life: tokio::sync::Mutex::default(),
            destroying: AtomicBool::new(false),
            unanswered: AtomicBool::new(false),
            ports: Mutex::new(ports),
            attachments: Mutex::default(),
            peas: Mutex::default(),
            idle: watch::Sender::new(Idle { holds: 0, grace }),
            log: Arc::new(log),
            logging: Mutex::default(),
            record: Mutex::new(record),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// The record as it is now.
    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_being_destroyed(&self) -> bool {
        self.destroying.load(Ordering::Acquire)
    }

    /// Change the record: on disk first, then in memory. A failed write changes nothing.
    pub(super) async fn change(&self, inventory: &Inventory, change: impl FnOnce(&mut Record)) -> Result<()> {
        let gone = self.writing.lock().await;
        if *gone {
            return Err(Error::ContainerNotFound {
                handle: self.handle.to_string(),
            });
        }
        let mut record = self.record().clone();
        change(&mut record);
        record.version += 1;
        let excess = record.events.len().saturating_sub(MAX_EVENTS);
        record.events.drain(..excess);
        let written = inventory.put(&record).await;
        written.map_err(|source| Error::Inventory {
            what: self.handle.to_string(),
            source,
        })?;
        *self.record() = record;
        Ok(())
    }

    /// Take the record away for good: nothing that still holds this entry can bring it back.
    pub(super) async fn forget(&self, inventory: &Inventory) -> Result<()> {
        let mut gone = self.writing.lock().await;
        let removed = inventory.remove(&self.instance).await;
        removed.map_err(|source| Error::Inventory {
            what: self.handle.to_string(),
            source,
        })?;
        *gone = true;
        Ok(())
    }

    pub(super) fn attachments(&self) -> MutexGuard<'_, HashMap<String, Arc<Attachment>>> {
        self.attachments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn peas(&self) -> MutexGuard<'_, BTreeMap<ProcessId, Arc<Pea>>> {
        self.peas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tie to the init that has this process, if it is anywhere.
    pub(super) fn link_of(&self, process: &ProcessId) -> Link {
        let peas = self.peas();
        peas.get(process).map_or(&self.link, |pea| &pea.link).clone()
    }

    /// Whether there is a process of this name.
    pub(super) fn knows_process(&self, id: &ProcessId) -> bool {
        self.peas().contains_key(id) || self.link.knows(id)
    }

    /// All processes that run, or ended and were not collected.
    pub(super) fn processes(&self) -> Vec<Arc<Process>> {
        let mut all = self.link.list();
        all.extend(self.peas().values().flat_map(|pea| pea.link.list()));
        all
    }

    pub(super) fn ports(&self) -> MutexGuard<'_, Vec<PortGuard>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn describe(&self, node: &str) -> ContainerInfo {
        let processes: Vec<ProcessInfo> = self
            .processes()
            .iter()
            .map(|process| describe_process(process))
            .collect();
        let main = ProcessId::main();
        let started = processes
            .iter()
            .any(|process| process.id == main && process.state == ProcessState::Running);
        let record = self.record();
        ContainerInfo {
            handle: record.handle.clone(),
            instance: record.instance.clone(),
            engine_id: record.engine_id.clone(),
            image: record.image.name.clone(),
            image_id: record.image.id.clone(),
            node: node.to_owned(),
            state: record.state,
            paused: record.paused,
            created: record.created.clone(),
            started,
            ip: record.ip.clone(),
            host_ip: record.gateway.clone(),
            ports: record.ports.clone(),
            limits: record.limits.clone(),
            grace_time_s: Duration::from_nanos(record.grace_time_ns).as_secs_f64(),
            properties: record.properties.clone(),
            env: record.spec.env.clone(),
            mounts: record.spec.mounts.clone(),
            processes,
            events: record.events.clone(),
            main: record.main.clone(),
            privileged: record.spec.privileged,
        }
    }
}

fn describe_process(process: &Process) -> ProcessInfo {
    let exit = process.exit();
    ProcessInfo {
        id: process.id.clone(),
        pid: process.pid,
        tty: process.tty,
        state: if exit.is_some() {
            ProcessState::Exited
        } else {
            ProcessState::Running
        },
        exit_status: exit.map(crate::init::Exit::status),
    }
}

/// A client's interest in a container: while it lives, the container is not destroyed for want of clients.
pub struct Hold {
    entry: Arc<Entry>,
}

impl Hold {
    pub(super) fn new(entry: Arc<Entry>) -> Hold {
        entry.idle.send_modify(|idle| idle.holds += 1);
        Hold { entry }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.entry.idle.send_modify(|idle| idle.holds -= 1);
    }
}
