//! Processes that an agent started before the node's roles changed: they still run, and no role has them any more.
//!
//! They are shown and can be stopped; nothing else is done with them.

use std::sync::{Arc, Mutex, PoisonError};

use cluster::process::{Observed, Process, State, Wanted};

use super::backoff::Timing;
use super::memory::{Memory, Running};
use super::process_control::ProcessControl;
use super::worker::end_process;
use crate::error::chain;

/// All such processes.
pub struct Rogues {
    all: Mutex<Vec<(Process, Running)>>,
    memory: Arc<Memory>,
    control: Arc<dyn ProcessControl>,
    timing: Timing,
}

impl Rogues {
    /// What is remembered and not among `known`.
    pub fn beside(
        known: impl Fn(Process) -> bool,
        memory: Arc<Memory>,
        control: Arc<dyn ProcessControl>,
        timing: Timing,
    ) -> Self {
        let mut all = memory.all_running();
        all.retain(|(process, _)| !known(*process));
        let all = Mutex::new(all);
        Rogues {
            all,
            memory,
            control,
            timing,
        }
    }

    /// This is none any more: a role of the node has it again.
    pub fn no_more(&self, process: Process) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(rogue, _)| *rogue != process);
    }

    fn all(&self) -> Vec<(Process, Running)> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those that still run.
    pub async fn list(&self) -> Vec<Observed> {
        let mut alive = Vec::new();
        for (process, running) in &self.all() {
            // What cannot be looked at is rather shown than hidden.
            if self.control.is_alive(&running.identity).await.unwrap_or(true) {
                alive.push(Observed {
                    pid: Some(running.identity.pid),
                    ..seen(*process, running, "it runs, and no role of this node has it".to_owned())
                });
            }
        }
        alive
    }

    /// Whether this is one.
    pub fn has(&self, process: Process) -> bool {
        self.all().iter().any(|(rogue, _)| *rogue == process)
    }

    /// Stop these, or all; the one that could not be stopped and why.
    pub async fn stop(&self, processes: &[Process]) -> Result<(), Observed> {
        let meant = |process: &Process| processes.is_empty() || processes.contains(process);
        for (process, running) in self.all().iter().filter(|(process, _)| meant(process)) {
            let failed = |problem: String| seen(*process, running, problem);
            end_process(&*self.control, &running.identity, &self.timing)
                .await
                .map_err(failed)?;
            self.memory
                .set_running(*process, None)
                .map_err(|error| failed(chain(&error)))?;
        }
        Ok(())
    }
}

fn seen(process: Process, running: &Running, problem: String) -> Observed {
    let since = Some(running.since);
    Observed {
        state: State::Rogue,
        since,
        problem,
        ..Observed::stopped(process, Wanted::Stopped)
    }
}
