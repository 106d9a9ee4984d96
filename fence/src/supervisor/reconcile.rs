//! Comparing what is recorded with what there is, and acting on the difference: at the start, whenever the engine
//! comes back, and now and then.
//!
//! | recorded | found | done |
//! | --- | --- | --- |
//! | creating, destroying, nobody at work | anything | taken apart |
//! | active, stopped | the recorded first process | adopted; whether main runs is taken from init |
//! | active, stopped | a first process that is not recorded | adopted, with no process of the earlier one |
//! | active, stopped | no first process, or no container | recorded, and the processes with it |
//! | active when the machine ended | no first process | started again, and main |
//! | lost | a container | stopped |
//!
//! What is in the engine or on the disk without a record is [`super::sweep`]'s business. What fails is tried again with
//! pauses that grow, and told in the status.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::{Container, ContainerId, ContainerState};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::entry::Entry;
use super::pea::LABEL_PEA;
use super::repair::Subject;
use super::{Error, LABEL_INSTANCE, Result, Supervisor};
use crate::container::{ProcessId, State};
use crate::fault;

/// How many containers are looked at at a time: an engine that hangs with one must not hold up all others.
const AT_A_TIME: usize = 8;

impl Supervisor {
    /// Compare what is recorded with what the engine has, and act on the difference. Safe to repeat at any time.
    pub async fn reconcile(&self) -> Result<()> {
        self.see_to_disks().await;
        // The records first: what appears in the engine only later is newer than this look.
        let entries = self.entries();
        let found = self.parts().engine.list(&self.labels()).await;
        let found = found.map_err(|source| Error::Engine {
            attempt: "list",
            what: "the containers".into(),
            source,
        })?;
        fault::point("compare/engine-listed");
        let mut by_instance: HashMap<&str, Vec<Container>> = HashMap::new();
        let mut peas: HashMap<String, Container> = HashMap::new();
        for container in &found {
            if let Some(pea) = container.labels.get(LABEL_PEA) {
                peas.insert(pea.clone(), container.clone());
            } else if let Some(instance) = container.labels.get(LABEL_INSTANCE) {
                by_instance.entry(instance).or_default().push(container.clone());
            }
        }
        self.find_engine_disk().await;
        self.adopt_again();
        let peas = Arc::new(peas);
        let compared = entries.into_iter().map(|entry| {
            let seen = by_instance.remove(entry.instance.as_str()).unwrap_or_default();
            let (supervisor, peas) = (self.clone(), peas.clone());
            async move { supervisor.reconcile_entry(&entry, &seen, &peas).await }
        });
        let compared: Vec<_> = compared.collect();
        stream::iter(compared).buffer_unordered(AT_A_TIME).collect::<()>().await;
        self.sweep(&found).await;
        let rules = self.repair_rules().await;
        fault::point("compare/done");
        rules
    }

    /// Whether something waits to be put right now: [`Supervisor::reconcile`] sees to it.
    pub fn is_repair_due(&self) -> bool {
        let now = Instant::now();
        let cut_off = self.entries().iter().any(|entry| {
            let cut_off = matches!(entry.record().state, State::Creating | State::Destroying);
            let known = self.repairs().knows(&Subject::CutOff(entry.instance.clone()));
            cut_off && !known && entry.life.try_lock().is_ok()
        });
        cut_off || self.repairs().any_due(now)
    }

    async fn reconcile_entry(&self, entry: &Arc<Entry>, seen: &[Container], peas: &HashMap<String, Container>) {
        // Whoever holds its life is at work on it, and will leave it right.
        let Ok(life) = entry.life.try_lock() else { return };
        let (state, engine_id) = {
            let record = entry.record();
            (record.state, record.engine_id.clone())
        };
        let seen = seen.iter().find(|seen| seen.id.0 == engine_id).or(seen.first());
        match (state, seen) {
            (State::Creating | State::Destroying, _) => {
                drop(life);
                self.finish(entry).await;
            }
            (State::Lost, None) => {}
            (State::Active | State::Stopped | State::Lost, seen) => {
                if entry.is_being_destroyed() {
                    return;
                }
                if let Err(error) = self.compare_live(entry, seen).await {
                    tracing::warn!(handle = %entry.handle, error = error.chain(), "could not put a container right; will try again");
                }
                self.settle_peas(entry, peas).await;
                self.hold_ports(entry);
            }
        }
    }

    /// A container that is to be there; the caller holds its life.
    async fn compare_live(&self, entry: &Arc<Entry>, seen: Option<&Container>) -> Result<()> {
        if let Some(seen) = seen {
            self.find_again(entry, seen).await?;
        }
        if entry.record().comes_back && !self.bring_back(entry, seen).await? {
            return Ok(());
        }
        let runs = seen.is_some_and(runs);
        if let Some(seen) = seen {
            self.settle_pause(entry, seen).await?;
        }
        let recorded = entry.record().pid != 0;
        if runs && !recorded {
            // A start that was cut off, or somebody else's.
            self.adopt_first_process(entry).await?;
        } else {
            let is_idle = seen.is_some() && !recorded;
            // Running without its init connected may mean that somebody else has started it anew.
            let is_known = runs && entry.link.is_connected();
            if !(is_idle || is_known) {
                self.may_have_died(entry).await;
            }
        }
        self.settle_main(entry).await
    }

    /// Whether it is frozen is the engine's word: a pause may have been cut off, or somebody else's.
    async fn settle_pause(&self, entry: &Arc<Entry>, seen: &Container) -> Result<()> {
        if entry.record().paused == (seen.state == ContainerState::Paused) {
            return Ok(());
        }
        // What was seen may be older than what a client has done since.
        let id = ContainerId(entry.record().engine_id.clone());
        let now = self.parts().engine.inspect(&id).await;
        let now = now.map_err(|source| self.engine_failed("look at the container", entry, source))?;
        let paused = now.state == ContainerState::Paused;
        if entry.record().paused != paused {
            self.note_paused(entry, paused).await?;
        }
        Ok(())
    }

    /// The record's id is the engine's, whatever the record said; a container that was lost is not.
    async fn find_again(&self, entry: &Arc<Entry>, seen: &Container) -> Result<()> {
        let (lost, same) = {
            let record = entry.record();
            (record.state == State::Lost, record.engine_id == seen.id.0)
        };
        if same && !lost {
            return Ok(());
        }
        tracing::warn!(handle = %entry.handle, engine_id = seen.id.0, "found a container again");
        let found = |record: &mut crate::inventory::Record| {
            record.engine_id.clone_from(&seen.id.0);
            if lost {
                (record.state, record.pid) = (State::Stopped, 0);
                record.events.push("found again in the engine".into());
            }
        };
        entry.change(&self.parts().inventory, found).await
    }

    /// The first process that the engine says runs is the recorded one.
    pub(super) async fn adopt_first_process(&self, entry: &Arc<Entry>) -> Result<()> {
        let id = ContainerId(entry.record().engine_id.clone());
        let seen = self.parts().engine.inspect(&id).await;
        let seen = seen.map_err(|source| self.engine_failed("look at the container", entry, source))?;
        if !runs(&seen) || seen.pid == 0 || seen.pid == entry.record().pid {
            return Ok(());
        }
        tracing::info!(handle = %entry.handle, pid = seen.pid, "taking over a first process that is not recorded");
        self.note_first_process(entry, seen).await
    }

    /// What init says of main decides where the record was left behind by a cut-off start or stop. The caller holds
    /// the entry's life.
    pub(super) async fn settle_main(&self, entry: &Arc<Entry>) -> Result<()> {
        let (state, started, pid, comes_back) = {
            let record = entry.record();
            (record.state, record.started, record.pid, record.comes_back)
        };
        // Its main process is yet to be started again.
        if comes_back {
            return Ok(());
        }
        let settled = matches!(state, State::Active | State::Stopped) && entry.link.is_connected() && pid != 0;
        if entry.is_being_destroyed() || !started || !settled {
            return Ok(());
        }
        let inventory = &self.parts().inventory;
        match entry.link.process(&ProcessId::main()).map(|main| main.exit()) {
            Some(None) if state == State::Stopped => {
                entry.change(inventory, |record| record.state = State::Active).await
            }
            Some(None) => Ok(()),
            Some(Some(_)) => {
                self.stop_after_main(entry).await;
                Ok(())
            }
            // Noted, and never run: nobody was told that it would. Where no command is noted, it was a guess.
            None => {
                entry
                    .change(inventory, |record| {
                        record.started = false;
                        if !record.main.command.is_empty() {
                            record.events.push("a start was cut off before its command ran".into());
                        }
                    })
                    .await
            }
        }
    }

    /// Bind again what of its recorded ports is not.
    fn hold_ports(&self, entry: &Arc<Entry>) {
        let subject = Subject::Ports(entry.instance.clone());
        let recorded = entry.record().ports.clone();
        let mut ports = entry.ports();
        for port in recorded {
            if ports.iter().any(|guard| guard.port() == port.host_port) {
                continue;
            }
            match self.parts().ports.again(port.host_port) {
                Some(guard) => ports.push(guard),
                None => {
                    let what = format!("port {} does not lead to {} alone", port.host_port, entry.handle);
                    let why = "another container has it too".to_owned();
                    return self.repairs().failed(&subject, Instant::now(), what, why);
                }
            }
        }
        self.repairs().done(&subject);
    }

    /// Undo a create or end a destroy that was cut off.
    async fn finish(&self, entry: &Arc<Entry>) {
        let subject = Subject::CutOff(entry.instance.clone());
        if !self.repairs().is_due(&subject, Instant::now()) || entry.destroying.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::info!(handle = %entry.handle, "cleaning up a container that was cut off while being made or destroyed");
        let _life = entry.life.lock().await;
        if let Err(error) = self.take_apart(entry).await {
            entry.destroying.store(false, Ordering::Release);
            let why = error.chain();
            tracing::warn!(handle = %entry.handle, error = why, "could not clean up; will try again");
            let what = format!("what is left of container {} could not be cleaned up", entry.handle);
            self.repairs().failed(&subject, Instant::now(), what, why);
        }
    }

    /// Make the kernel's rules what they should be, and tell where they are not.
    pub(super) async fn repair_rules(&self) -> Result<()> {
        let applied = self.apply_forwards().await;
        let mut repairs = self.repairs();
        match &applied {
            Ok(()) => repairs.done(&Subject::Rules),
            Err(error) => {
                let what = "ports may lead to the wrong place or nowhere".to_owned();
                repairs.failed(&Subject::Rules, Instant::now(), what, error.chain());
            }
        }
        applied
    }
}

/// Frozen or not.
fn runs(seen: &Container) -> bool {
    matches!(seen.state, ContainerState::Running | ContainerState::Paused)
}
