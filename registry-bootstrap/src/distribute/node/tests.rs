//! A node's part, with an engine and a fence that are memories of them.

use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use engine::ContainerSpec;
use engine::fake::{Fake, image};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::super::job::Check;
use super::super::told::{PullState, TrialState};
use super::super::wish::Pull;
use super::*;

const EXACT: &str = "core:5000/x@sha256:0000000000000000000000000000000000000000000000000000000000000000";
const NAME: &str = "core:5000/x:1";

/// A fence that says which image it uses, and passes or not.
#[derive(Default)]
struct Pretend {
    in_use: StdMutex<InUse>,
    fails: AtomicBool,
    hangs: AtomicBool,
    cleared: AtomicUsize,
}

#[async_trait]
impl Fence for Pretend {
    async fn in_use(&self) -> Option<InUse> {
        Some(self.in_use.lock().unwrap().clone())
    }

    async fn try_out(&self, _: &Trial) -> Result<(), NotPassed> {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        match self.fails.load(Ordering::Relaxed) {
            true => Err(NotPassed {
                problem: "it\nended".to_owned(),
                log: (0..100).map(|n| n.to_string()).collect(),
            }),
            false => Ok(()),
        }
    }

    async fn clear(&self) -> bool {
        // The first time something is in the way.
        self.cleared.fetch_add(1, Ordering::Relaxed) > 0
    }
}

/// The registry has an image of which this is the digest, by which the engine's memory finds it.
fn publish(engine: &Fake, exact: &str) {
    let (name, id) = exact.split_once('@').unwrap();
    let image = engine::Image {
        id: engine::ImageId(id.to_owned()),
        ..image(&["sh"])
    };
    engine.publish(&format!("{name}:published"), image);
}

struct Setting {
    engine: Fake,
    fence: Arc<Pretend>,
    wishes: watch::Sender<Wishes>,
    policy: watch::Sender<Option<Policy>>,
    told: watch::Receiver<Told>,
    stock: watch::Receiver<Stock>,
    task: JoinHandle<()>,
    memory: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        Setting::with(Fake::new(), tempfile::tempdir().unwrap())
    }

    fn with(engine: Fake, memory: tempfile::TempDir) -> Self {
        let fence = Arc::new(Pretend::default());
        let (wishes, wished) = watch::channel(Wishes::default());
        let (policy, policies) = watch::channel(Some(Policy {
            keep: 3,
            disk_percent: 100,
            ..Policy::default()
        }));
        let (said, told) = watch::channel(Told::default());
        let (counted, stock) = watch::channel(Stock::default());
        let parts = Parts {
            engine: Arc::new(engine.clone()),
            fence: fence.clone(),
            accounts: memory.path().join("accounts.json"),
            memory: memory.path().join("images.json"),
        };
        let node = Node::new(parts, wished, policies);
        let task = tokio::spawn(async move { node.run(&said, &counted).await });
        Setting {
            engine,
            fence,
            wishes,
            policy,
            told,
            stock,
            task,
            memory,
        }
    }

    /// The node is to have the image, under this name as well.
    fn wish(&self, name: &str) -> Uuid {
        let job = Uuid::from_u128(1);
        let pull = Pull {
            job,
            exact: EXACT.to_owned(),
            name: name.to_owned(),
            bytes: 1,
        };
        self.wishes.send_replace(Wishes {
            pulls: vec![pull],
            trial: None,
        });
        job
    }

    async fn says(&mut self, is: impl FnMut(&Told) -> bool) -> Told {
        let said = timeout(Duration::from_secs(1000), self.told.wait_for(is)).await;
        said.unwrap().unwrap().clone()
    }

    async fn has(&self, name: &str) -> bool {
        self.engine.image(name).await.is_ok()
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn state(told: &Told, job: Uuid) -> PullState {
    told.pulls.get(&job).map(|pull| pull.state).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn what_is_wished_is_pulled_and_named_when_its_time_comes() {
    let mut setting = Setting::new();
    publish(&setting.engine, EXACT);
    let job = setting.wish("");
    let told = setting.says(|told| state(told, job) == PullState::Here).await;
    assert!(!told.pulls[&job].named && !setting.has(NAME).await);
    setting.wish(NAME);
    setting
        .says(|told| told.pulls.get(&job).is_some_and(|pull| pull.named))
        .await;
    assert!(setting.has(NAME).await);
    setting.wishes.send_replace(Wishes::default());
    setting.says(|told| told.pulls.is_empty()).await;
    let has_name = |stock: &Stock| stock.images.iter().any(|image| image.names.contains(&NAME.to_owned()));
    let counted = timeout(Duration::from_secs(100), setting.stock.wait_for(has_name)).await;
    assert!(counted.unwrap().unwrap().images[0].kept_house);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_answer_is_waited_for_but_not_for_ever() {
    let mut setting = Setting::new();
    publish(&setting.engine, EXACT);
    setting.engine.set_registry_down(true);
    let job = setting.wish("");
    setting
        .says(|told| told.pulls.get(&job).is_some_and(|pull| !pull.problem.is_empty()))
        .await;
    setting.engine.set_registry_down(false);
    setting.says(|told| state(told, job) == PullState::Here).await;

    let mut setting = Setting::new();
    setting.engine.set_registry_down(true);
    let job = setting.wish("");
    setting.says(|told| state(told, job) == PullState::Failed).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_told_at_once() {
    let mut setting = Setting::new();
    let job = setting.wish("");
    let told = setting.says(|told| state(told, job) == PullState::Failed).await;
    assert!(told.pulls[&job].problem.contains("core:5000/x"), "{told:?}");
}

fn trial(n: u128) -> Wishes {
    Wishes {
        pulls: Vec::new(),
        trial: Some(Trial {
            job: Uuid::from_u128(n),
            exact: EXACT.to_owned(),
            check: Check::Runs(5),
            ready_within: 60,
        }),
    }
}

#[tokio::test(start_paused = true)]
async fn a_trial_is_told_with_the_end_of_its_log_and_cleared_away() {
    let mut setting = Setting::new();
    setting.wishes.send_replace(trial(1));
    setting
        .says(|told| {
            told.trial
                .as_ref()
                .is_some_and(|trial| trial.state == TrialState::Passed)
        })
        .await;
    setting.fence.fails.store(true, Ordering::Relaxed);
    setting.wishes.send_replace(trial(2));
    let is_failed = |told: &Told| {
        told.trial
            .as_ref()
            .is_some_and(|trial| trial.state == TrialState::Failed)
    };
    let told = setting.says(is_failed).await.trial.unwrap();
    assert_eq!((told.job, told.problem.as_str()), (Uuid::from_u128(2), "it ended"));
    assert_eq!(
        (told.log.len(), told.log.last().map(String::as_str)),
        (told::MAX_LINES, Some("99"))
    );
    // One that hangs is given up with its wish.
    setting.fence.hangs.store(true, Ordering::Relaxed);
    setting.wishes.send_replace(trial(3));
    setting
        .says(|told| told.trial.as_ref().is_some_and(|trial| trial.job == Uuid::from_u128(3)))
        .await;
    let before = setting.fence.cleared.load(Ordering::Relaxed);
    setting.wishes.send_replace(Wishes::default());
    setting.says(|told| told.trial.is_none()).await;
    sleep(Duration::from_secs(10)).await;
    assert!(setting.fence.cleared.load(Ordering::Relaxed) > before);
}

#[tokio::test(start_paused = true)]
async fn what_came_by_the_cluster_goes_when_nobody_uses_it_and_all_else_stays() {
    let mut setting = Setting::new();
    publish(&setting.engine, EXACT);
    let job = setting.wish("");
    setting.says(|told| state(told, job) == PullState::Here).await;
    // Somebody's own, which has a digest as well; and what is configured, as a fallback.
    let other = EXACT.replace("/x@sha256:00", "/foreign@sha256:11");
    publish(&setting.engine, &other);
    let (progress, _steps) = tokio::sync::mpsc::channel(16);
    setting.engine.pull(&other, None, progress.clone()).await.unwrap();
    let fallback = EXACT.replace("/x@sha256:00", "/fallback@sha256:22");
    publish(&setting.engine, &fallback);
    setting.engine.pull(&fallback, None, progress).await.unwrap();
    let id = setting.engine.image(&fallback).await.unwrap().id.0;
    *setting.fence.in_use.lock().unwrap() = InUse { id, ..InUse::default() };
    let policy = Policy {
        configured: vec!["first:1".to_owned(), fallback.clone()],
        keep: 0,
        min_age: Duration::from_secs(150),
        disk_percent: 100,
    };
    setting.policy.send_replace(Some(policy.clone()));
    // While it is wished it stays.
    sleep(Duration::from_secs(600)).await;
    assert!(setting.has(EXACT).await);
    // While a container is made of it too.
    let spec = ContainerSpec {
        image: EXACT.to_owned(),
        ..ContainerSpec::default()
    };
    let container = setting.engine.create("container", &spec).await.unwrap();
    setting.wishes.send_replace(Wishes::default());
    // Fence uses another now, and the fallback stays since it is configured.
    *setting.fence.in_use.lock().unwrap() = InUse::default();
    sleep(Duration::from_secs(600)).await;
    assert!(setting.has(EXACT).await);
    setting.engine.remove(&container).await.unwrap();
    sleep(Duration::from_secs(70)).await;
    assert!(setting.has(EXACT).await, "it is not unused for long");
    // While it is not known what is configured nothing goes.
    setting.policy.send_replace(None);
    sleep(Duration::from_secs(600)).await;
    assert!(setting.has(EXACT).await);
    setting.policy.send_replace(Some(policy));
    sleep(Duration::from_secs(400)).await;
    assert!(!setting.has(EXACT).await);
    assert!(setting.has(&other).await && setting.has(&fallback).await);
}

#[tokio::test(start_paused = true)]
async fn how_long_an_image_is_unused_is_remembered_by_the_next_agent() {
    let mut setting = Setting::new();
    publish(&setting.engine, EXACT);
    let job = setting.wish("");
    setting.says(|told| state(told, job) == PullState::Here).await;
    setting.wishes.send_replace(Wishes::default());
    sleep(Duration::from_secs(130)).await;
    let known = house::read(&setting.memory.path().join("images.json"));
    assert!(
        known.values().all(|unused| *unused >= 60) && known.len() == 1,
        "{known:?}"
    );
    assert_eq!(house::read(std::path::Path::new("/nowhere")), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_pull_does_not_move_a_name_that_is_configured() {
    let mut setting = Setting::new();
    publish(&setting.engine, EXACT);
    let before = setting.engine.add_image(NAME);
    setting.policy.send_replace(Some(Policy {
        configured: vec![NAME.to_owned()],
        disk_percent: 100,
        ..Policy::default()
    }));
    let job = setting.wish(NAME);
    setting.says(|told| state(told, job) == PullState::Here).await;
    assert_eq!(setting.engine.image(NAME).await.unwrap().id, before.id);
    assert!(setting.has(EXACT).await);
}
