//! A node's part: it has its Docker pull what is wished, tries containers, keeps house, and says how its images are.
//!
//! What it does can be done again: an agent that dies is followed by one that finds the wishes where they were. The state here is
//! how far things are; on disk is only which images it has had to do with ([`house`]).

mod clean;
mod house;
mod look;
mod pulls;
#[cfg(test)]
mod tests;
mod trials;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use engine::Engine;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::told::{self, InUse, Stock, Told};
use super::wish::{Trial, Wishes};

/// What the node's fence does for it.
#[async_trait]
pub trait Fence: Send + Sync + 'static {
    /// What it makes containers of; `None` while it does not say so. Bounded in time.
    async fn in_use(&self) -> Option<InUse>;
    /// Make a container of an image, start its command and see whether it passes; it is gone afterwards. May be dropped at any
    /// moment, and is then cleared away.
    async fn try_out(&self, trial: &Trial) -> Result<(), NotPassed>;
    /// Have no container of a trial; whether there is none.
    async fn clear(&self) -> bool;
}

/// Why a container did not pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotPassed {
    pub problem: String,
    /// What its command said last.
    pub log: Vec<String>,
}

/// Which images are kept although nobody uses them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The names that fence is to make containers of.
    pub configured: Vec<String>,
    /// How many of each name's repository.
    pub keep: usize,
    /// How long they have to be unused before they are removed.
    pub min_age: Duration,
    /// How full the disk may be, in percent, before all that nobody uses goes.
    pub disk_percent: u64,
}

/// What it works with.
pub struct Parts {
    pub engine: Arc<dyn Engine>,
    pub fence: Arc<dyn Fence>,
    /// Where root's Docker has its accounts at registries.
    pub accounts: PathBuf,
    /// Where it is remembered which images were had to do with.
    pub memory: PathBuf,
}

/// The node's part.
pub struct Node {
    parts: Parts,
    wishes: watch::Receiver<Wishes>,
    policy: watch::Receiver<Option<Policy>>,
    state: Mutex<State>,
    /// Raised when there is something to say.
    stirred: Notify,
    /// Raised when there are other images than before.
    restocked: Notify,
}

#[derive(Default)]
struct State {
    pulls: BTreeMap<Uuid, told::Pull>,
    trial: Option<told::Trial>,
    /// Images that came by a job or that fence uses; how many seconds nobody has used them.
    known: BTreeMap<String, u64>,
}

impl Node {
    /// With nothing done yet. While there is no policy, no image is removed: what is configured or wished is not known.
    pub fn new(parts: Parts, wishes: watch::Receiver<Wishes>, policy: watch::Receiver<Option<Policy>>) -> Self {
        let state = State {
            known: house::read(&parts.memory),
            ..State::default()
        };
        Node {
            parts,
            wishes,
            policy,
            state: Mutex::new(state),
            stirred: Notify::new(),
            restocked: Notify::new(),
        }
    }

    /// Do it for ever, and tell.
    pub async fn run(&self, told: &watch::Sender<Told>, stock: &watch::Sender<Stock>) {
        tokio::join!(
            self.have_pulled(),
            self.have_tried(),
            self.keep_telling(told),
            self.keep_counting(stock),
            self.keep_house()
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to say.
    fn stir(&self) {
        self.stirred.notify_one();
    }
}
