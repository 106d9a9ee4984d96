//! The configured image: which names are wanted, which image is in use, and what is in the way of the wanted one.
//!
//! The keeper owns this state alone; it is rebuilt at every start, where names are resolved anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use engine::{Engine, Image, Progress};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::{Error, Result, find, find_or_pull};

/// How long to wait before a missing image is looked for again: from the first to the longest pause.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Says which images are wanted, in order of preference.
#[async_trait]
pub trait Wanted: Send + Sync + 'static {
    /// The names configured at this moment, asked for at its source. Bounded in time.
    async fn now(&self) -> Vec<String>;
    /// Wait until they may have changed.
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
    state: Mutex<State>,
    /// Raised when something in the engine changed that may concern the image.
    nudge: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    in_use: Option<InUse>,
    /// The names `in_use` was last resolved for.
    resolved: Vec<String>,
    status: KeeperStatus,
}

impl Keeper {
    /// A keeper that has looked for nothing yet.
    pub fn new(engine: Arc<dyn Engine>, wanted: Arc<dyn Wanted>) -> Keeper {
        Keeper {
            inner: Arc::new(Inner {
                engine,
                wanted,
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
                // A pull for names that are no longer wanted is given up.
                () = self.inner.wanted.changed() => { pause = RETRY.0; continue }
            };
            tokio::select! {
                () = self.inner.wanted.changed() => pause = RETRY.0,
                _ = nudged.changed(), if !fine => {}
                () = tokio::time::sleep(pause), if !fine => pause = (pause * 2).min(RETRY.1),
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
        // The config has changed a moment ago and the keeper's own task is not there yet.
        self.use_what_is_here(&wanted).await;
        let state = self.state();
        state.in_use.clone().ok_or_else(|| Error::NoneInUse {
            problem: state.status.problem.clone(),
            pulling: matches!(state.status.state, KeeperState::Pulling | KeeperState::Looking),
        })
    }

    /// The image in use turned out to be gone from the engine.
    pub fn lost(&self, image: &InUse) {
        let mut state = self.state();
        if state.in_use.as_ref() == Some(image) {
            state.resolved.clear();
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

    /// Use the first name that is here, or else the first that can be had. True when the first name is in use.
    async fn resolve(&self, wanted: &[String]) -> bool {
        if self.resolved_for(wanted).is_some() && self.state().status.state == KeeperState::Ok {
            return true;
        }
        if self.use_what_is_here(wanted).await {
            return true;
        }
        let mut problems = Vec::new();
        for name in wanted {
            match self.pull(name).await {
                Ok(image) => {
                    self.use_image(wanted, name, image);
                    return true;
                }
                Err(error) => problems.push(chain(&error)),
            }
        }
        let mut state = self.state();
        state.status.state = KeeperState::Missing;
        state.status.problem = problems.join("; ");
        state.status.progress.clear();
        tracing::warn!(
            problem = state.status.problem,
            in_use = state.status.in_use,
            "the configured image is missing"
        );
        false
    }

    /// Take the first of the names that the engine holds. True when there is one.
    async fn use_what_is_here(&self, wanted: &[String]) -> bool {
        let mut problem = String::new();
        for name in wanted {
            match find(&*self.inner.engine, name).await {
                Ok(Some(image)) => {
                    self.use_image(wanted, name, image);
                    return true;
                }
                Ok(None) => problem = format!("the image {name} is not on this node"),
                Err(error) => problem = chain(&error),
            }
        }
        let mut state = self.state();
        state.status.configured = wanted.to_vec();
        if !matches!(state.status.state, KeeperState::Pulling | KeeperState::Missing) || state.status.problem.is_empty()
        {
            state.status.state = KeeperState::Looking;
            state.status.problem = problem;
        }
        false
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
        }
        state.resolved = wanted.to_vec();
        state.in_use = Some(InUse {
            name: name.to_owned(),
            image,
        });
    }

    async fn pull(&self, name: &str) -> Result<Image> {
        self.state().status.state = KeeperState::Pulling;
        let (sender, mut progress) = mpsc::channel::<Progress>(16);
        let pull = find_or_pull(&*self.inner.engine, name, None, sender);
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

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
