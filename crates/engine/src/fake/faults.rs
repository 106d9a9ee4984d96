//! What goes wrong in the fake when a test says so. Knows steps and counts, nothing of containers.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::{Error, Result};

/// Where the fake says it is.
pub(super) const ENDPOINT: &str = "fake";

/// A call of the engine that can be made to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Version,
    Host,
    Create,
    Start,
    Kill,
    Pause,
    Resume,
    Remove,
    Inspect,
    List,
    Update,
    Stats,
    Image,
    Images,
    Pull,
    Import,
    Build,
    Push,
    Tag,
    RemoveImage,
    Events,
}

pub(super) struct Faults {
    plan: Mutex<Plan>,
    released: Notify,
    call: Duration,
}

#[derive(Default)]
struct Plan {
    down: bool,
    calls: HashMap<Step, usize>,
    fail: HashMap<Step, usize>,
    lose_answer: HashMap<Step, usize>,
    hang: HashSet<Step>,
}

impl Faults {
    pub(super) fn new(call: Duration) -> Faults {
        Faults {
            plan: Mutex::default(),
            released: Notify::new(),
            call,
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, step: Step, times: usize) {
        self.plan().fail.insert(step, times);
    }

    pub(super) fn lose_answer(&self, step: Step, times: usize) {
        self.plan().lose_answer.insert(step, times);
    }

    pub(super) fn hang(&self, step: Step) {
        self.plan().hang.insert(step);
    }

    pub(super) fn release(&self) {
        self.plan().hang.clear();
        self.released.notify_waiters();
    }

    pub(super) fn set_down(&self, down: bool) {
        self.plan().down = down;
    }

    pub(super) fn calls(&self, step: Step) -> usize {
        self.plan().calls.get(&step).copied().unwrap_or(0)
    }

    /// Passed before a call has its effect.
    pub(super) async fn enter(&self, step: Step, attempt: &str) -> Result<()> {
        *self.plan().calls.entry(step).or_default() += 1;
        let hanging = async {
            loop {
                let released = self.released.notified();
                tokio::pin!(released);
                // Listen before looking, so that a release in between is not missed.
                released.as_mut().enable();
                if !self.plan().hang.contains(&step) {
                    return;
                }
                released.await;
            }
        };
        if tokio::time::timeout(self.call, hanging).await.is_err() {
            return Err(self.timed_out(attempt));
        }
        let mut plan = self.plan();
        if plan.down {
            let reason = "connection refused".to_owned();
            return Err(Error::Unavailable {
                attempt: attempt.to_owned(),
                endpoint: ENDPOINT.to_owned(),
                reason,
            });
        }
        match take(&mut plan.fail, step) {
            true => Err(Error::Failed {
                attempt: attempt.to_owned(),
                reason: "it was told to fail".to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// Passed after a call had its effect.
    pub(super) fn leave(&self, step: Step, attempt: &str) -> Result<()> {
        match take(&mut self.plan().lose_answer, step) {
            true => Err(self.timed_out(attempt)),
            false => Ok(()),
        }
    }

    fn timed_out(&self, attempt: &str) -> Error {
        Error::TimedOut {
            attempt: attempt.to_owned(),
            endpoint: ENDPOINT.to_owned(),
            after: self.call,
        }
    }
}

fn take(left: &mut HashMap<Step, usize>, step: Step) -> bool {
    match left.get_mut(&step) {
        Some(times) if *times > 0 => {
            *times -= 1;
            true
        }
        _ => false,
    }
}
