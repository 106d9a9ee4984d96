//! The processes below one init, as far as it told of them: which there are, how they ended, and how long an ended one is
//! kept for whoever still comes for its output.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use fence_init::protocol::{Exit, ProcessEntry, ToInit};

use super::{Link, LinkEvent};
use crate::container::ProcessId;
use crate::init::process::Process;
use crate::init::session::{MAX_STRANGERS, Notice, Session};

/// How long an ended process whose end was told is kept for whoever still comes for its output.
const KEEP_ENDED: Duration = Duration::from_secs(60);
/// The most ended processes kept without anyone having come for them; init keeps no more either.
const MAX_ENDED: usize = 1024;

/// The processes below one init.
#[derive(Default)]
pub(in crate::init) struct Table {
    pub(in crate::init) processes: HashMap<ProcessId, Arc<Process>>,
    /// Those whose start was asked for. One may end before the task that asked hears that it started.
    pub(super) starting: HashMap<ProcessId, Option<Exit>>,
}

impl Link {
    /// The processes that run, or ended and were not collected. Fence's own are not among them.
    pub fn list(&self) -> Vec<Arc<Process>> {
        let mut list: Vec<_> = self.table().processes.values().cloned().collect();
        list.retain(|process| !process.id.is_internal());
        list.sort_by_key(|process| process.number);
        list
    }

    /// One process.
    pub fn process(&self, id: &ProcessId) -> Option<Arc<Process>> {
        self.table().processes.get(id).cloned()
    }

    /// Whether there is a process of this name, or one is being started.
    pub fn knows(&self, id: &ProcessId) -> bool {
        let table = self.table();
        table.processes.contains_key(id) || table.starting.contains_key(id)
    }

    /// The table is what init says it is.
    pub(super) fn take_over(&self, listed: &[ProcessEntry]) {
        let mut fresh = HashMap::new();
        for entry in listed {
            let Ok(id) = entry.id.parse::<ProcessId>() else {
                continue;
            };
            // Fence's own do not outlast the connection they were asked for on: see `end_internal`.
            if id.is_internal() {
                continue;
            }
            let process = Process::new(entry.clone(), id.clone());
            fresh.insert(id, Arc::new(process));
        }
        let old = std::mem::replace(&mut self.table().processes, fresh);
        for (id, process) in old {
            match self.process(&id).map(|known| known.exit()) {
                // Waiters hold the old entry: pass on to them what comes.
                Some(Some(exit)) => self.process_ended(&process, exit),
                Some(None) => self.follow(process, &id),
                None => self.process_ended(&process, Exit::Signal(nix::libc::SIGKILL)),
            }
        }
    }

    /// End fence's own processes, and forget those that have ended. What they were for was lost with the connection.
    pub(super) fn end_internal(&self, session: &Session, listed: &[ProcessEntry]) {
        for entry in listed {
            if entry.id.parse::<ProcessId>().is_ok_and(|id| id.is_internal()) {
                end(session, &entry.id, entry.exit.is_some());
            }
        }
    }

    /// End one of fence's own processes and forget it. Its output is lost.
    pub fn discard(&self, process: &Process) {
        // First: if its end comes now, at least one of both sides sees the other.
        process.abandoned.store(true, Ordering::SeqCst);
        let has_ended = process.exit().is_some();
        if has_ended {
            self.table().processes.remove(&process.id);
        }
        if let Some(session) = self.inner.session.borrow().as_ref() {
            end(session, process.id.as_str(), has_ended);
        }
    }

    fn follow(&self, old: Arc<Process>, id: &ProcessId) {
        if let Some(new) = self.process(id) {
            tokio::spawn(async move { old.ended(new.wait().await) });
        }
    }

    pub(super) fn notice(&self, notice: Notice, strangers: &mut u32) -> bool {
        match notice {
            Notice::Exited { id, exit } => {
                let Ok(id) = id.parse::<ProcessId>() else { return false };
                let process = {
                    let mut table = self.table();
                    let known = table
                        .processes
                        .get(&id)
                        .filter(|process| process.exit().is_none())
                        .cloned();
                    // A second process of that name may have been asked for, which init refuses.
                    if let (None, Some(starting)) = (&known, table.starting.get_mut(&id)) {
                        *starting = Some(exit);
                        return true;
                    }
                    known
                };
                match process {
                    Some(process) => {
                        self.process_ended(&process, exit);
                        if process.abandoned.load(Ordering::SeqCst) {
                            self.table().processes.remove(&id);
                            self.forget(&id);
                        } else if process.is_attached() {
                            self.collect_later(process);
                        }
                        self.bound_ended();
                    }
                    // Its start was given up; nobody will ever come for it.
                    None => {
                        *strangers += 1;
                        self.forget(&id);
                    }
                }
                *strangers <= MAX_STRANGERS
            }
            Notice::InputAck { process, upto } => {
                let found = self
                    .table()
                    .processes
                    .values()
                    .find(|known| known.number == process)
                    .cloned();
                found.is_none_or(|process| process.input_acked(upto))
            }
        }
    }

    /// All processes ended with the first one.
    pub(super) fn all_ended(&self) {
        let ended: Vec<Arc<Process>> = self.table().processes.drain().map(|(_, process)| process).collect();
        for process in ended {
            self.process_ended(&process, Exit::Signal(nix::libc::SIGKILL));
        }
    }

    pub(super) fn process_ended(&self, process: &Process, exit: Exit) {
        if process.ended(exit) && !process.id.is_internal() {
            let _ = self.inner.events.send(LinkEvent::Ended {
                id: process.id.clone(),
                exit,
            });
        }
    }

    fn forget(&self, id: &ProcessId) {
        if let Some(session) = self.inner.session.borrow().as_ref() {
            session.tell(&ToInit::Collect { id: id.to_string() });
        }
    }

    /// Forget the process a while after its end was told, once nobody reads its output any more.
    pub(super) fn collect_later(&self, process: Arc<Process>) {
        // How main ended is for the supervisor, who may not be able to write it down for a while.
        // Fence's own are discarded by whoever asked for them.
        if process.id == ProcessId::main() || process.id.is_internal() {
            return;
        }
        let link = self.clone();
        let stop = self.inner.stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(KEEP_ENDED) => {}
                }
                if !process.is_attached() {
                    break;
                }
            }
            let ours = link
                .process(&process.id)
                .is_some_and(|known| Arc::ptr_eq(&known, &process));
            if ours {
                let _ = link.collect(&process.id).await;
            }
        });
    }

    fn bound_ended(&self) {
        let processes = &mut self.table().processes;
        let mut ended: Vec<_> = processes
            .values()
            .filter(|p| p.exit().is_some() && !p.is_attached())
            .cloned()
            .collect();
        if ended.len() > MAX_ENDED {
            ended.sort_by_key(|process| process.number);
            for process in &ended[..ended.len() - MAX_ENDED] {
                processes.remove(&process.id);
            }
        }
    }

    pub(in crate::init) fn table(&self) -> MutexGuard<'_, Table> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forget a process, or end it, by which it is forgotten later.
fn end(session: &Session, id: &str, has_ended: bool) {
    let id = id.to_owned();
    session.tell(&match has_ended {
        true => ToInit::Collect { id },
        false => {
            let signal = nix::libc::SIGKILL;
            ToInit::Signal { seq: 0, id, signal }
        }
    });
}
