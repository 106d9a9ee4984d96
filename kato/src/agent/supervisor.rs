//! All processes of a node together: orders come in, wait for their effect within a bound, and are answered.
//!
//! Each process has its worker; this knows their order and what may be done with which. An order is remembered on
//! disk before anything is done about it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::process::{Observed, Process, State, Wanted, in_start_order, in_stop_order};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::backoff::Timing;
use super::error::{Error, Result};
use super::logs;
use super::memory::{Memory, Wish};
use super::probe::Answer;
use super::process_control::ProcessControl;
use super::processes::{Desk, Processes, Shared};
use super::rogues::Rogues;
use super::table::Entry;
use super::worker::ask_after;

/// How many lines of a failing process's log are shown.
const LOG_LINES: usize = 20;

/// The node's processes.
pub struct Supervisor {
    processes: Processes,
    rogues: Rogues,
    /// Held while a wish is changed, so that what is remembered and what is told to workers is the same.
    one_order: Mutex<()>,
}

impl Supervisor {
    /// Begin to look after these processes as it was last wanted of them.
    pub fn start_up(table: Vec<Entry>, control: Arc<dyn ProcessControl>, memory: Memory, timing: Timing) -> Self {
        let memory = Arc::new(memory);
        let known: Vec<Process> = table.iter().map(|entry| entry.process).collect();
        let is_known = |process: Process| known.contains(&process);
        let rogues = Rogues::beside(is_known, Arc::clone(&memory), Arc::clone(&control), timing);
        let processes = Processes::new(Shared {
            memory,
            control,
            timing,
            stirred: watch::Sender::new(()),
        });
        // In the order of starting, so that those that are needed are there to be waited for.
        for entry in table {
            processes.take_on(entry);
        }
        Supervisor {
            processes,
            rogues,
            one_order: Mutex::new(()),
        }
    }

    /// Look after exactly these from now on: others are stopped and forgotten, new ones shall run. After an error it can be
    /// tried again; what could not be stopped is looked after until then.
    pub async fn look_after(&self, table: Vec<Entry>, within: Duration) -> Result<()> {
        let known = self.processes.all();
        let is_wanted = |process: &Process| table.iter().any(|entry| entry.process == *process);
        let gone: Vec<Process> = known.keys().copied().filter(|process| !is_wanted(process)).collect();
        for process in in_stop_order(&gone) {
            if self.desk(process)?.wish.is_some() {
                self.stop(&[process], within).await?;
                self.remember(process, Wish::default())?;
            }
            self.processes.let_go(process);
        }
        for entry in table.into_iter().filter(|entry| !known.contains_key(&entry.process)) {
            let wish = self.memory().wish(entry.process);
            if entry.launch.is_some() && !wish.run {
                self.remember(entry.process, Wish { run: true, ..wish })?;
            }
            self.rogues.no_more(entry.process);
            self.processes.take_on(entry);
        }
        Ok(())
    }

    /// Told whenever something is seen anew of a process.
    pub fn stirred(&self) -> watch::Sender<()> {
        self.processes.shared.stirred.clone()
    }

    /// What outlives the agent.
    pub fn memory(&self) -> &Memory {
        &self.processes.shared.memory
    }

    /// What is seen of all processes.
    pub async fn list(&self) -> Vec<Observed> {
        let desks = self.processes.all();
        let mut all: Vec<Observed> = desks.values().map(|desk| desk.seen.borrow().clone()).collect();
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
        let all: Vec<Process> = self.processes.all().into_keys().collect();
        let asked = if processes.is_empty() { &all } else { processes };
        for process in in_start_order(asked) {
            self.until_ready(process, deadline).await?;
            // What was seen may be some seconds old.
            let desk = self.desk(process)?;
            let Answer { problem, .. } =
                ask_after(Duration::ZERO, &*desk.probe, self.processes.shared.timing.answer_within).await;
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
                let desk = self.processes.get(seen.process);
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
        self.remember(process, wish)?;
        sender.send_if_modified(|present| std::mem::replace(present, wish) != wish);
        Ok(())
    }

    /// The processes meant, all of which the agent must be able to start and stop.
    fn managed(&self, processes: &[Process]) -> Result<Vec<Process>> {
        if processes.is_empty() {
            return Ok(self
                .processes
                .all()
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

    fn remember(&self, process: Process, wish: Wish) -> Result<()> {
        let remembered = self.memory().set_wish(process, wish);
        remembered.map_err(|source| Error::Memory { process, source })
    }

    fn desk(&self, process: Process) -> Result<Arc<Desk>> {
        self.processes.get(process).ok_or(Error::NotHere { process })
    }
}
