//! A memory of an engine, for tests of what is built upon one.
//!
//! What was created is listed, what was removed is gone, and what Docker refuses is refused with the same kind of
//! error: [`crate::conformance`] is run on both. Beyond that a test can make it fail, hang or go away at a named
//! [`Step`], cause deaths, fill a pretend registry, and run something real in place of a container's first process.
//! No isolation, no files, no processes of its own; all state is in memory and shared by its clones.
//!
//! ```
//! # async fn example() -> engine::Result<()> {
//! use engine::fake::{Fake, Step};
//! use engine::{ContainerSpec, Engine};
//!
//! let fake = Fake::new();
//! fake.add_image("fence/base:1");
//! fake.fail_at(Step::Start, 1);
//! let id = fake.create("one", &ContainerSpec { image: "fence/base:1".into(), ..Default::default() }).await?;
//! assert!(fake.start(&id).await.is_err());
//! fake.start(&id).await?;
//! fake.exit(&id, 3);
//! assert_eq!(fake.inspect(&id).await?.exit_code, Some(3));
//! # Ok(())
//! # }
//! ```

mod containers;
mod engine;
mod faults;
mod images;
mod input;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast;
use uuid::Uuid;

use crate::docker::Timeouts;
use crate::{ContainerId, ContainerSpec, Event, EventKind, Image, ImageId, ImageName, Labels, RegistryAuth, Stats};

use containers::Containers;
pub use faults::Step;
use faults::{ENDPOINT, Faults};
use images::Images;

/// Events that a slow reader may fall behind.
const EVENTS_KEPT: usize = 4096;

/// Runs in place of a container's first process; gives its pid.
type OnStart = Arc<dyn Fn(&ContainerSpec) -> i32 + Send + Sync>;
/// Told of each signal to a container's first process: its pid, and the signal.
type OnKill = Arc<dyn Fn(i32, i32) + Send + Sync>;

/// A pretend engine. Clones are the same engine.
#[derive(Clone)]
pub struct Fake {
    memory: Arc<Mutex<Memory>>,
    faults: Arc<Faults>,
}

struct Memory {
    containers: Containers,
    images: Images,
    news: News,
    on_start: Option<OnStart>,
    on_kill: Option<OnKill>,
}

/// Where events are told.
struct News(broadcast::Sender<Told>);

/// What the readers of events are told.
#[derive(Clone)]
enum Told {
    /// Of a container with these labels.
    OfContainer(Labels, Event),
    OfImage(Event),
    /// The engine went away.
    Gone,
}

impl News {
    fn container(&self, labels: &Labels, kind: EventKind) {
        self.tell(Told::OfContainer(
            labels.clone(),
            Event {
                kind,
                time_ns: now_ns(),
            },
        ));
    }

    fn image(&self, name: &str) {
        self.tell(Told::OfImage(Event {
            kind: EventKind::ImageChanged(name.to_owned()),
            time_ns: now_ns(),
        }));
    }

    fn tell(&self, told: Told) {
        // Nobody need listen.
        let _ = self.0.send(told);
    }
}

impl Default for Fake {
    fn default() -> Self {
        Fake::new()
    }
}

impl Fake {
    /// An engine without containers and images, and an empty registry.
    pub fn new() -> Fake {
        Fake::with_call_timeout(Timeouts::default().call)
    }

    /// The same, with the time after which a call that hangs is given up.
    pub fn with_call_timeout(call: Duration) -> Fake {
        let memory = Memory {
            containers: Containers::default(),
            images: Images::default(),
            news: News(broadcast::channel(EVENTS_KEPT).0),
            on_start: None,
            on_kill: None,
        };
        Fake {
            memory: Arc::new(Mutex::new(memory)),
            faults: Arc::new(Faults::new(call)),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` calls of this kind fail, without effect.
    pub fn fail_at(&self, step: Step, times: usize) {
        self.faults.fail(step, times);
    }

    /// The next `times` calls of this kind have their effect, but the caller is told that no answer came.
    pub fn lose_answer_at(&self, step: Step, times: usize) {
        self.faults.lose_answer(step, times);
    }

    /// Calls of this kind hang until [`Fake::release`] or the call timeout.
    pub fn hang_at(&self, step: Step) {
        self.faults.hang(step);
    }

    /// Calls hang no longer; those that do go on.
    pub fn release(&self) {
        self.faults.release();
    }

    /// The engine goes away: every call fails, streams of events end.
    pub fn go_down(&self) {
        self.faults.set_down(true);
        self.memory().news.tell(Told::Gone);
    }

    /// The engine is back, with all it had.
    pub fn come_back(&self) {
        self.faults.set_down(false);
    }

    /// How many calls of this kind there were.
    pub fn calls(&self, step: Step) -> usize {
        self.faults.calls(step)
    }

    /// From now on this runs in place of a container's first process. It may call the fake.
    pub fn on_start(&self, run: impl Fn(&ContainerSpec) -> i32 + Send + Sync + 'static) {
        self.memory().on_start = Some(Arc::new(run));
    }

    /// From now on this is told of signals, SIGKILL at a removal included. It may call the fake.
    pub fn on_kill(&self, told: impl Fn(i32, i32) + Send + Sync + 'static) {
        self.memory().on_kill = Some(Arc::new(told));
    }

    /// The container's first process ends.
    pub fn exit(&self, id: &ContainerId, code: i64) {
        let memory = &mut *self.memory();
        memory.containers.end(id, code, &memory.news);
    }

    /// The kernel kills the container's first process for memory.
    pub fn run_out_of_memory(&self, id: &ContainerId) {
        let memory = &mut *self.memory();
        memory.containers.run_out_of_memory(id, &memory.news);
    }

    /// What the container was made of, with the limits now in force.
    pub fn spec(&self, id: &ContainerId) -> Option<ContainerSpec> {
        self.memory().containers.get(id).map(|container| container.spec.clone())
    }

    /// The signals sent to the container so far, oldest first.
    pub fn signals(&self, id: &ContainerId) -> Vec<i32> {
        self.memory()
            .containers
            .get(id)
            .map(|container| container.signals.clone())
            .unwrap_or_default()
    }

    /// What the container's figures read while it runs. Its memory limit stays the one in force.
    pub fn set_stats(&self, id: &ContainerId, stats: Stats) {
        if let Some(container) = self.memory().containers.get_mut(id) {
            container.stats = stats;
        }
    }

    /// The engine holds an image of this name.
    ///
    /// # Panics
    /// If it is not an image name.
    pub fn add_image(&self, name: &str) -> Image {
        self.add_image_as(name, image(&["/bin/sh"]))
    }

    /// The engine holds this image under this name.
    ///
    /// # Panics
    /// If it is not an image name.
    pub fn add_image_as(&self, name: &str, image: Image) -> Image {
        self.memory().images.add(&parsed(name), image)
    }

    /// The registry holds this image under this name, for everybody.
    ///
    /// # Panics
    /// If it is not an image name.
    pub fn publish(&self, name: &str, image: Image) {
        self.memory().images.publish(&parsed(name), image, None);
    }

    /// The registry holds this image under this name, for this account alone.
    ///
    /// # Panics
    /// If it is not an image name.
    pub fn publish_private(&self, name: &str, image: Image, auth: RegistryAuth) {
        self.memory().images.publish(&parsed(name), image, Some(auth));
    }

    /// Whether the registry answers.
    pub fn set_registry_down(&self, down: bool) {
        self.memory().images.set_registry_down(down);
    }
}

/// A test gave a name that is none: nothing but the test can be wrong.
fn parsed(name: &str) -> ImageName {
    name.parse().unwrap_or_else(|bad| panic!("{bad}"))
}

/// A new image that runs this, for [`Fake::add_image_as`] and [`Fake::publish`].
pub fn image(command: &[&str]) -> Image {
    Image {
        id: ImageId(format!("sha256:{}", random_hex())),
        tags: Vec::new(),
        digests: Vec::new(),
        size_bytes: 1 << 20,
        created: "2024-01-01T00:00:00Z".to_owned(),
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        user: String::new(),
        working_dir: String::new(),
        exposed_ports: Vec::new(),
        volumes: Vec::new(),
        labels: Labels::new(),
    }
}

/// 64 digits, as engines make them.
fn random_hex() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
