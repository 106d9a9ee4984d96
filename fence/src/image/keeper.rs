//! The configured image: which names are wanted, which image is in use, and what is in the way of the wanted one.
//!
//! The keeper owns this state alone. Names are resolved anew at every start; all that is kept on disk is which image was
//! in use, so that a restart while the wanted one is missing does not leave the node without any.

mod memory;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use engine::{Engine, Image, Progress, RegistryAuth};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::chain::chain;
use crate::fault;

use super::{Error, Result, find, find_or_pull};
use memory::{Memory, Remembered};

/// How long to wait before a missing image is looked for again: from the first to the longest pause.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Says which images are wanted, in order of preference.
#[async_trait]
pub trait Wanted: Send + Sync + 'static {
    /// The names configured at this moment, asked for at its source. Bounded in time.
    async fn now(&self) -> Vec<String>;
    /// Wait until they may have changed since the last wait.
    async fn changed(&self);
}

/// The image that new containers get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// The configured name it was found by.
    pub name: String,
    pub image: Image,
}

/// Whether the wanted image is the one in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeeperState {
    #[default]
    Looking,
    Ok,
    Pulling,
    Missing,
}

/// What the keeper shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KeeperStatus {
    pub configured: Vec<String>,
    /// Empty = none ever was here.
    pub in_use: String,
    pub id: String,
    pub state: KeeperState,
    /// Why the first configured image is not in use.
    pub problem: String,
    /// What a running pull last said.
    pub progress: String,
}

/// Keeps the configured image. Clones are the same keeper.
#[derive(Clone)]
pub struct Keeper {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<dyn Engine>,
    wanted: Arc<dyn Wanted>,
    memory: Memory,
    accounts: PathBuf,
    state: Mutex<State>,
    /// Raised when something in the engine changed that may concern the image.
    nudge: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    in_use: Option<InUse>,
    /// The names `in_use` was last resolved for.
    resolved: Vec<String>,
    /// The engine did not say whether the last one looked for is here.
    unanswered: bool,
    status: KeeperStatus,
}

impl Keeper {
    /// A keeper that has looked for nothing yet.
    ///
    /// `memory` is the file that says which image was in use when an earlier fence ended, `accounts` the one in which root's
    /// Docker has its accounts at registries.
    pub fn new(engine: Arc<dyn Engine>, wanted: Arc<dyn Wanted>, memory: PathBuf, accounts: PathBuf) -> Keeper {
        Keeper {
            inner: Arc::new(Inner {
                engine,
                wanted,
                memory: Memory::new(memory),
                accounts,
                state: Mutex::default(),
                nudge: watch::Sender::new(()),
            }),
        }
    }

    /// Follow what is wanted. Runs for ever; stop it by dropping it.
    pub async fn run(&self) {
        let mut nudged = self.inner.nudge.subscribe();
        let mut pause = RETRY.0;
        loop {
            let wanted = self.inner.wanted.now().await;
            let fine = tokio::select! {
                fine = self.resolve(&wanted) => fine,
                // A pull of what is no longer wanted is given up.
                () = self.until_not(&wanted) => { pause = RETRY.0; continue }
            };
            tokio::select! {
                () = self.until_not(&wanted) => pause = RETRY.0,
                // Never an error: the sender lives in self.
                _ = nudged.changed() => {}
                () = tokio::time::sleep(pause), if !fine => pause = (pause * 2).min(RETRY.1),
            }
        }
    }

    /// Wait until something else is wanted than this.
    async fn until_not(&self, wanted: &[String]) {
        loop {
            self.inner.wanted.changed().await;
            if self.inner.wanted.now().await != wanted {
                return;
            }
        }
    }

    /// Something in the engine changed: look again for what is missing.
    pub fn nudge(&self) {
        self.inner.nudge.send_replace(());
    }

    /// The image a container made now gets: the newest configured one that is here.
    pub async fn current(&self) -> Result<InUse> {
        let wanted = self.inner.wanted.now().await;
        if let Some(in_use) = self.resolved_for(&wanted) {
            return Ok(in_use);
        }
        // The config has changed a moment ago and the keeper's own task is not there yet, or the image is missing.
        if self.use_what_is_here(&wanted).await.is_none() {
            self.use_remembered().await;
            self.nudge();
        }
        let state = self.state();
        state.in_use.clone().ok_or_else(|| Error::NoneInUse {
            problem: state.status.problem.clone(),
            temporary: state.unanswered || matches!(state.status.state, KeeperState::Pulling | KeeperState::Looking),
        })
    }

    /// The image in use turned out to be gone from the engine.
    pub fn lost(&self, image: &InUse) {
        let mut state = self.state();
        if state.in_use.as_ref() == Some(image) {
            state.resolved.clear();
            state.in_use = None;
            state.status.in_use.clear();
            state.status.id.clear();
            state.status.state = KeeperState::Looking;
            state.status.problem = format!("the image {} was removed from this node", image.name);
        }
        drop(state);
        self.nudge();
    }

    /// What is wanted, in use and in the way.
    pub fn status(&self) -> KeeperStatus {
        self.state().status.clone()
    }

    fn resolved_for(&self, wanted: &[String]) -> Option<InUse> {
        let state = self.state();
        if state.resolved == wanted {
            state.in_use.clone()
        } else {
            None
        }
    }

    /// Use the first name that can be had, and what is here in the meantime. True when the first one is in use.
    async fn resolve(&self, wanted: &[String]) -> bool {
        if let Some(in_use) = self.resolved_for(wanted)
            && wanted.first() == Some(&in_use.name)
        {
            match find(&*self.inner.engine, &in_use.image.id.0).await {
                Ok(None) => self.lost(&in_use),
                Ok(Some(_)) | Err(_) => return true,
            }
        }
        fault::point("image/looking");
        let here = self.use_what_is_here(wanted).await;
        if here == Some(0) {
            return true;
        }
        if here.is_none() {
            self.use_remembered().await;
        }
        let mut problems = Vec::new();
        for (at, name) in wanted[..here.unwrap_or(wanted.len())].iter().enumerate() {
            match self.pull(name).await {
                Ok(image) => {
                    self.use_image(wanted, name, image);
                    return at == 0;
                }
                Err(error) => problems.push(chain(&error)),
            }
        }
        self.note_missing(here.is_some(), problems.join("; "));
        false
    }

    /// The first image cannot be had; a fallback may be in use all the same.
    fn note_missing(&self, has_fallback: bool, problem: String) {
        let mut state = self.state();
        if state.status.problem != problem {
            tracing::warn!(problem, in_use = state.status.in_use, "the configured image is missing");
        }
        state.status.state = if has_fallback {
            KeeperState::Ok
        } else {
            KeeperState::Missing
        };
        state.status.problem = problem;
        state.status.progress.clear();
    }

    /// Take the first of the names that the engine holds. Gives its place among them.
    async fn use_what_is_here(&self, wanted: &[String]) -> Option<usize> {
        let (mut problem, mut unanswered) = (String::new(), false);
        for (at, name) in wanted.iter().enumerate() {
            match find(&*self.inner.engine, name).await {
                Ok(Some(image)) => {
                    self.use_image(wanted, name, image);
                    return Some(at);
                }
                Ok(None) => problem = format!("the image {name} is not on this node"),
                Err(error) => {
                    problem = chain(&error);
                    unanswered = error.is_temporary();
                }
            }
        }
        let mut state = self.state();
        state.unanswered = unanswered;
        // What is in use is not what is wanted: when the earlier names are wanted again, they are looked for again.
        state.resolved.clear();
        state.status.configured = wanted.to_vec();
        let told = matches!(state.status.state, KeeperState::Pulling | KeeperState::Missing);
        if !told || state.status.problem.is_empty() {
            state.status.state = KeeperState::Looking;
            state.status.problem = problem;
        }
        None
    }

    /// With no wanted image here and none in use since the start: what an earlier fence used, if it is still here.
    async fn use_remembered(&self) {
        if self.state().in_use.is_some() {
            return;
        }
        let Some(Remembered { name, id }) = self.inner.memory.read().await else {
            return;
        };
        let Ok(Some(image)) = find(&*self.inner.engine, &id).await else {
            return;
        };
        let mut state = self.state();
        if state.in_use.is_none() {
            tracing::warn!(
                name,
                id,
                "the configured image is missing; the one used before stays in use"
            );
            state.status.in_use.clone_from(&name);
            state.status.id = id;
            state.in_use = Some(InUse { name, image });
        }
    }

    fn use_image(&self, wanted: &[String], name: &str, image: Image) {
        let mut state = self.state();
        state.status = KeeperStatus {
            configured: wanted.to_vec(),
            in_use: name.to_owned(),
            id: image.id.0.clone(),
            state: KeeperState::Ok,
            problem: String::new(),
            progress: String::new(),
        };
        if state.in_use.as_ref().is_none_or(|old| old.image.id != image.id) {
            tracing::info!(
                name,
                id = image.id.0,
                "new containers are made of this image from now on"
            );
            fault::point("image/found");
            self.inner.memory.keep(name, &image.id.0);
        }
        state.resolved = wanted.to_vec();
        state.in_use = Some(InUse {
            name: name.to_owned(),
            image,
        });
        fault::point("image/in-use");
    }

    /// The account of root's Docker at the registry of this image.
    pub fn account(&self, name: &str) -> Option<RegistryAuth> {
        engine::account(&self.inner.accounts, name)
    }

    async fn pull(&self, name: &str) -> Result<Image> {
        self.state().status.state = KeeperState::Pulling;
        fault::point("image/pulling");
        let (sender, mut progress) = mpsc::channel::<Progress>(16);
        let account = self.account(name);
        let pull = find_or_pull(&*self.inner.engine, name, account.as_ref(), sender);
        tokio::pin!(pull);
        loop {
            tokio::select! {
                done = &mut pull => return done,
                Some(step) = progress.recv() => {
                    let Progress { layer, status, current, total } = step;
                    self.state().status.progress = format!("{name}: {status} {layer} {current}/{total}");
                }
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
