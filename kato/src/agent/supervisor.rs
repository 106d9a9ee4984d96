//! All processes of a node together: orders come in, wait for their effect within a bound, and are answered.
//!
//! Each process has its worker; this knows their order and what may be done with which. An order is remembered on
//! disk before anything is done about it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::process::{Observed, Process, State, Wanted, in_start_order, in_stop_order};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::backoff::Timing;
use super::error::{Error, Result};
use super::external;
use super::logs;
use super::memory::{Memory, Wish};
use super::probe::{Answer, Probe};
use super::process_control::ProcessControl;
use super::rogues::Rogues;
use super::table::Entry;
use super::worker::{Worker, ask_after};

/// How many lines of a failing process's log are shown.
const LOG_LINES: usize = 20;

/// The node's processes.
pub struct Supervisor {
    desks: BTreeMap<Process, Desk>,
    rogues: Rogues,
    shared: Shared,
    /// Held while a wish is changed, so that what is remembered and what is told to workers is the same.
    one_order: Mutex<()>,
    /// Dropped with the supervisor; the processes stay.
    _workers: JoinSet<()>,
}

/// What all workers share.
struct Shared {
    memory: Arc<Memory>,
    control: Arc<dyn ProcessControl>,
    timing: Timing,
}

/// What is needed to deal with one process.
struct Desk {
    /// `None` where somebody else starts and stops it.
    wish: Option<watch::Sender<Wish>>,
    seen: watch::Receiver<Observed>,
    probe: Arc<dyn Probe>,
    log: PathBuf,
}

impl Desk {
    /// Begin to look after one process; `needed` are those before it in the order of starting.
    fn open(entry: Entry, needed: &BTreeMap<Process, Desk>, shared: &Shared, workers: &mut JoinSet<()>) -> Self {
        let process = entry.process;
        let (probe, log) = (entry.probe, entry.log);
        let Some(launch) = entry.launch else {
            let (show, seen) = watch::channel(Observed::stopped(process, Wanted::External));
            workers.spawn(external::watch_over(Arc::clone(&probe), show, shared.timing));
            return Desk {
                wish: None,
                seen,
                probe,
                log,
            };
        };
        let (show, seen) = watch::channel(Observed::stopped(process, Wanted::Running));
        let (wish, wishes) = watch::channel(shared.memory.wish(process));
        let needs = process
            .needs()
            .iter()
            .filter_map(|need| Some(needed.get(need)?.seen.clone()))
            .collect();
        let worker = Worker {
            launch,
            probe: Arc::clone(&probe),
            control: Arc::clone(&shared.control),
            memory: Arc::clone(&shared.memory),
            timing: shared.timing,
            needs,
            wish: wishes,
            seen: show,
        };
        workers.spawn(worker.run());
        Desk {
            wish: Some(wish),
            seen,
            probe,
            log,
        }
    }
}

impl Supervisor {
    /// Begin to look after these processes as it was last wanted of them.
    pub fn start_up(table: Vec<Entry>, control: Arc<dyn ProcessControl>, memory: Memory, timing: Timing) -> Self {
        let shared = Shared {
            memory: Arc::new(memory),
            control,
            timing,
        };
        let mut desks = BTreeMap::new();
        let mut workers = JoinSet::new();
        // In the order of starting, so that those that are needed are there to be waited for.
        for entry in table {
            let process = entry.process;
            let desk = Desk::open(entry, &desks, &shared, &mut workers);
            desks.insert(process, desk);
        }
        let Shared {
            memory,
            control,
            timing,
        } = &shared;
        let known = |process: Process| desks.contains_key(&process);
        let rogues = Rogues::beside(known, Arc::clone(memory), Arc::clone(control), *timing);
        Supervisor {
            desks,
            rogues,
            shared,
            one_order: Mutex::new(()),
            _workers: workers,
        }
    }

    /// The logs of all processes.
    pub fn logs(&self) -> Vec<PathBuf> {
        self.desks.values().map(|desk| desk.log.clone()).collect()
    }

    /// What is seen of all processes.
    pub async fn list(&self) -> Vec<Observed> {
        let mut all: Vec<Observed> = self.desks.values().map(|desk| desk.seen.borrow().clone()).collect();
        all.extend(self.rogues.list().await);
        all
    }

    /// Start these, or all; answered when they are ready.
    pub async fn start(&self, processes: &[Process], within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        let ordered = in_start_order(&self.managed(processes)?);
        for process in &ordered {
            self.wish(*process, |wish, seen| {
                // One that died is not left to its back-off.
                let again = matches!(seen.state, State::Backoff | State::Fatal);
                Wish {
                    run: true,
                    generation: wish.generation + u64::from(again),
                }
            })?;
        }
        for process in ordered {
            self.until_ready(process, Some(deadline))
                .await
                .map_err(|error| self.with_log(error))?;
        }
        Ok(())
    }

    /// Stop these, or all, one after the other; answered when they have ended. They stay stopped.
    pub async fn stop(&self, processes: &[Process], within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        let failed = |seen| Error::NotAsWanted {
            seen: Box::new(seen),
            running: false,
            log: Vec::new(),
        };
        self.rogues.stop(processes).await.map_err(failed)?;
        let here: Vec<Process> = processes
            .iter()
            .copied()
            .filter(|process| !self.rogues.has(*process))
            .collect();
        if here.is_empty() && !processes.is_empty() {
            return Ok(());
        }
        for process in in_stop_order(&self.managed(&here)?) {
            self.wish(process, |wish, _| Wish { run: false, ..wish })?;
            let stopped = |seen: &Observed| seen.state == State::Stopped && seen.wanted == Wanted::Stopped;
            self.until(process, false, Some(deadline), stopped).await?;
        }
        Ok(())
    }

    /// Restart these, or all, one after the other; answered when the new ones are ready.
    pub async fn restart(&self, processes: &[Process], within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        for process in in_start_order(&self.managed(processes)?) {
            self.wish(process, |wish, _| Wish {
                run: true,
                generation: wish.generation + 1,
            })?;
            self.until_ready(process, Some(deadline))
                .await
                .map_err(|error| self.with_log(error))?;
        }
        Ok(())
    }

    /// Wait until these, or all, are ready; for ever where there is no bound.
    pub async fn ready(&self, processes: &[Process], within: Option<Duration>) -> Result<()> {
        let deadline = within.map(|within| Instant::now() + within);
        let all: Vec<Process> = self.desks.keys().copied().collect();
        let asked = if processes.is_empty() { &all } else { processes };
        for process in in_start_order(asked) {
            self.until_ready(process, deadline).await?;
            // What was seen may be some seconds old.
            let desk = self.desk(process)?;
            let Answer { problem, .. } =
                ask_after(Duration::ZERO, &*desk.probe, self.shared.timing.answer_within).await;
            if !problem.is_empty() {
                let seen = Box::new(Observed {
                    problem,
                    ..desk.seen.borrow().clone()
                });
                return Err(Error::NotAsWanted {
                    seen,
                    running: true,
                    log: Vec::new(),
                });
            }
        }
        Ok(())
    }

    async fn until_ready(&self, process: Process, deadline: Option<Instant>) -> Result<()> {
        self.until(process, true, deadline, |seen| seen.is_ready()).await
    }

    /// Wait until the process answers the present wish and is as it shall be.
    async fn until(
        &self,
        process: Process,
        running: bool,
        deadline: Option<Instant>,
        is_so: impl Fn(&Observed) -> bool,
    ) -> Result<()> {
        let desk = self.desk(process)?;
        let generation = desk.wish.as_ref().map_or(0, |wish| wish.borrow().generation);
        let mut seen = desk.seen.clone();
        let over = |seen: &Observed| {
            seen.generation >= generation
                && (is_so(seen) || (running && deadline.is_some() && seen.state == State::Fatal))
        };
        let waited = match deadline {
            Some(deadline) => timeout_at(deadline, seen.wait_for(over)).await.is_ok(),
            None => seen.wait_for(over).await.is_ok(),
        };
        let last = desk.seen.borrow().clone();
        if waited && is_so(&last) {
            return Ok(());
        }
        Err(Error::NotAsWanted {
            seen: Box::new(last),
            running,
            log: Vec::new(),
        })
    }

    /// The error, with what the process itself said last.
    fn with_log(&self, error: Error) -> Error {
        match error {
            Error::NotAsWanted { seen, running, .. } => {
                let desk = self.desks.get(&seen.process);
                let log = desk
                    .map(|desk| logs::last_lines(&desk.log, LOG_LINES))
                    .unwrap_or_default();
                Error::NotAsWanted { seen, running, log }
            }
            other => other,
        }
    }

    fn wish(&self, process: Process, change: impl FnOnce(Wish, &Observed) -> Wish) -> Result<()> {
        let desk = self.desk(process)?;
        let Some(sender) = &desk.wish else {
            return Err(Error::External { process });
        };
        let _one = self.one_order.lock().unwrap_or_else(PoisonError::into_inner);
        let wish = change(*sender.borrow(), &desk.seen.borrow());
        self.shared
            .memory
            .set_wish(process, wish)
            .map_err(|source| Error::Memory { process, source })?;
        sender.send_if_modified(|present| std::mem::replace(present, wish) != wish);
        Ok(())
    }

    /// The processes meant, all of which the agent must be able to start and stop.
    fn managed(&self, processes: &[Process]) -> Result<Vec<Process>> {
        if processes.is_empty() {
            return Ok(self
                .desks
                .iter()
                .filter(|(_, desk)| desk.wish.is_some())
                .map(|(process, _)| *process)
                .collect());
        }
        for process in processes {
            if self.desk(*process)?.wish.is_none() {
                return Err(Error::External { process: *process });
            }
        }
        Ok(processes.to_vec())
    }

    fn desk(&self, process: Process) -> Result<&Desk> {
        self.desks.get(&process).ok_or(Error::NotHere { process })
    }
}
