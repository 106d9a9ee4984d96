//! The configured image: which names are wanted, which image is in use, and what is in the way of the wanted one.
//!
//! The keeper owns this state alone. Names are resolved anew at every start; all that is kept on disk is which image was
//! in use, so that a restart while the wanted one is missing does not leave the node without any.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use engine::{Engine, Image, Progress, RegistryAuth};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};

use crate::chain::chain;
use crate::fault;

use super::{Error, Result, find, find_or_pull};

/// How long to wait before a missing image is looked for again: from the first to the longest pause.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// How much is read of what an earlier fence remembered, in bytes: a name and an id.
const MAX_MEMORY: u64 = 64 * 1024;

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

/// What is kept on disk.
#[derive(Serialize, Deserialize)]
struct Remembered {
    name: String,
    id: String,
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
    memory: PathBuf,
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
                memory,
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
        let mut bytes = Vec::new();
        let Ok(file) = tokio::fs::File::open(&self.inner.memory).await else {
            return;
        };
        if file.take(MAX_MEMORY).read_to_end(&mut bytes).await.is_err() {
            return;
        }
        let Ok(Remembered { name, id }) = serde_json::from_slice(&bytes) else {
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

    fn remember(&self, name: &str, id: &str) {
        let remembered = Remembered {
            name: name.to_owned(),
            id: id.to_owned(),
        };
        let fresh = self.inner.memory.with_extension("new");
        let written = serde_json::to_vec(&remembered)
            .map_err(std::io::Error::other)
            .and_then(|json| std::fs::write(&fresh, json))
            .inspect(|()| fault::point("image/written"))
            .and_then(|()| std::fs::rename(&fresh, &self.inner.memory))
            .inspect(|()| fault::point("image/remembered"));
        if let Err(error) = written {
            let path = self.inner.memory.display();
            tracing::warn!(%path, %error, "could not write down which image is in use");
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
            self.remember(name, &image.id.0);
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

#[cfg(test)]
mod tests {
    use engine::fake::Fake;

    use super::*;

    /// Wants what the test says.
    struct Said {
        names: watch::Sender<Vec<String>>,
        heard: tokio::sync::Mutex<watch::Receiver<Vec<String>>>,
    }

    #[async_trait]
    impl Wanted for Said {
        async fn now(&self) -> Vec<String> {
            self.names.borrow().clone()
        }

        async fn changed(&self) {
            let _ = self.heard.lock().await.changed().await;
        }
    }

    struct Setting {
        dir: tempfile::TempDir,
        engine: Fake,
        said: Arc<Said>,
    }

    impl Setting {
        fn new(wanted: &[&str]) -> Setting {
            let (names, heard) = watch::channel(Vec::new());
            let said = Arc::new(Said {
                names,
                heard: tokio::sync::Mutex::new(heard),
            });
            let setting = Setting {
                dir: tempfile::tempdir().unwrap(),
                engine: Fake::new(),
                said,
            };
            setting.want(wanted);
            setting
        }

        fn want(&self, names: &[&str]) {
            self.said
                .names
                .send_replace(names.iter().map(|name| (*name).to_owned()).collect());
        }

        fn keeper(&self) -> Keeper {
            Keeper::new(
                Arc::new(self.engine.clone()),
                self.said.clone(),
                self.dir.path().join("in-use.json"),
                self.dir.path().join("accounts.json"),
            )
        }
    }

    mod fixture_tests {
        use fixtures::{kept, pin, with_additions};

        use super::*;

        #[tokio::test]
        async fn what_each_version_remembers_stays_in_use() {
            let setting = Setting::new(&["nowhere:1"]);
            setting.engine.add_image("a:1");
            let image = find(&setting.engine, "a:1").await.unwrap().unwrap();
            let path = setting.dir.path().join("in-use.json");
            // Ids are the engine's own.
            let id = "sha256:0123";
            setting.keeper().remember("a:1", id);
            pin("image-in-use.json", &std::fs::read_to_string(&path).unwrap());
            for version in kept("image-in-use.json") {
                for text in [version.text.clone(), with_additions(&version.text)] {
                    std::fs::write(&path, text.replace(id, &image.id.0)).unwrap();
                    let keeper = setting.keeper();
                    let in_use = keeper.current().await.unwrap();
                    assert_eq!((in_use.name.as_str(), in_use.image.id), ("a:1", image.id.clone()));
                }
            }
        }
    }

    #[tokio::test]
    async fn a_change_is_in_effect_for_the_next_create() {
        let setting = Setting::new(&["a:1"]);
        setting.engine.add_image("a:1");
        setting.engine.add_image("b:1");
        let keeper = setting.keeper();
        assert_eq!(keeper.current().await.unwrap().name, "a:1");
        setting.want(&["b:1"]);
        assert_eq!(keeper.current().await.unwrap().name, "b:1");
    }

    #[tokio::test]
    async fn a_missing_image_leaves_the_previous_one_in_use_and_says_so() {
        let setting = Setting::new(&["a:1"]);
        setting.engine.add_image("a:1");
        let keeper = setting.keeper();
        keeper.current().await.unwrap();
        setting.want(&["nowhere:1"]);
        assert!(!keeper.resolve(&keeper.inner.wanted.now().await).await);
        assert_eq!(keeper.current().await.unwrap().name, "a:1");
        let status = keeper.status();
        assert_eq!((status.state, status.in_use.as_str()), (KeeperState::Missing, "a:1"));
        assert!(status.problem.contains("nowhere:1"), "{}", status.problem);
    }

    #[tokio::test]
    async fn going_back_from_a_missing_image_is_in_order_again() {
        let setting = Setting::new(&["a:1"]);
        setting.engine.add_image("a:1");
        let keeper = setting.keeper();
        keeper.current().await.unwrap();
        setting.want(&["nowhere:1"]);
        assert!(!keeper.resolve(&keeper.inner.wanted.now().await).await);
        setting.want(&["a:1"]);
        assert!(keeper.resolve(&keeper.inner.wanted.now().await).await);
        let status = keeper.status();
        assert_eq!((status.state, status.problem.as_str()), (KeeperState::Ok, ""));
    }

    #[tokio::test]
    async fn a_restart_while_the_image_is_missing_keeps_the_one_used_before() {
        let setting = Setting::new(&["a:1"]);
        setting.engine.add_image("a:1");
        setting.keeper().current().await.unwrap();
        setting.want(&["nowhere:1"]);
        assert_eq!(setting.keeper().current().await.unwrap().name, "a:1");
    }

    #[tokio::test]
    async fn what_is_not_here_is_pulled_and_a_fallback_serves_meanwhile() {
        let setting = Setting::new(&["new:1", "old:1"]);
        setting.engine.add_image("old:1");
        let keeper = setting.keeper();
        assert_eq!(keeper.current().await.unwrap().name, "old:1");
        assert!(!keeper.resolve(&keeper.inner.wanted.now().await).await);
        assert_eq!(keeper.status().state, KeeperState::Ok);
        setting.engine.publish("new:1", engine::fake::image(&["run"]));
        assert!(keeper.resolve(&keeper.inner.wanted.now().await).await);
        assert_eq!(keeper.current().await.unwrap().name, "new:1");
    }

    #[tokio::test]
    async fn with_no_image_at_all_the_error_names_it() {
        let setting = Setting::new(&["nowhere:1"]);
        let keeper = setting.keeper();
        keeper.resolve(&keeper.inner.wanted.now().await).await;
        let error = keeper.current().await.unwrap_err();
        assert!(error.to_string().contains("nowhere:1"), "{error}");
        assert!(!error.is_temporary(), "{error}");
    }

    #[tokio::test]
    async fn an_engine_that_is_away_does_not_make_the_image_missing() {
        let setting = Setting::new(&["a:1"]);
        setting.engine.go_down();
        let keeper = setting.keeper();
        keeper.resolve(&keeper.inner.wanted.now().await).await;
        assert!(keeper.current().await.unwrap_err().is_temporary());
    }

    async fn until_in_use(keeper: &Keeper, name: &str) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while keeper.status().in_use != name || keeper.status().state != KeeperState::Ok {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", keeper.status());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_create_that_is_faster_than_the_keeper_does_not_keep_it_from_pulling() {
        let setting = Setting::new(&["a:1"]);
        setting.engine.add_image("a:1");
        setting.engine.publish("b:1", engine::fake::image(&["run"]));
        let keeper = setting.keeper();
        let running = tokio::spawn({
            let keeper = keeper.clone();
            async move { keeper.run().await }
        });
        until_in_use(&keeper, "a:1").await;
        setting.want(&["b:1"]);
        assert_eq!(keeper.current().await.unwrap().name, "a:1");
        until_in_use(&keeper, "b:1").await;
        running.abort();
    }

    #[tokio::test]
    async fn an_image_removed_while_it_is_in_use_is_pulled_again() {
        let setting = Setting::new(&["a:1"]);
        setting.engine.publish("a:1", engine::fake::image(&["run"]));
        let keeper = setting.keeper();
        let running = tokio::spawn({
            let keeper = keeper.clone();
            async move { keeper.run().await }
        });
        until_in_use(&keeper, "a:1").await;
        let pulls = setting.engine.calls(engine::fake::Step::Pull);
        setting.engine.remove_image("a:1").await.unwrap();
        keeper.nudge();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while setting.engine.calls(engine::fake::Step::Pull) == pulls {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", keeper.status());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        until_in_use(&keeper, "a:1").await;
        running.abort();
    }
}
