//! The boundary to the container engine: containers, images, events and figures, in Fence's own words.
//!
//! [`Engine`] is the trait; [`docker::Docker`] is the real thing (the only place that names bollard) and
//! [`fake::Fake`] a memory of one, held to the same suite ([`conformance`]). Every call is bounded in time, and a
//! stopped, hung or restarting engine is a temporary [`Error`]. This crate knows nothing of handles, config or HTTP
//! faces, and keeps no state of its own.

use std::collections::BTreeMap;
use std::pin::Pin;

use async_trait::async_trait;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

mod error;

pub use error::{Error, Result};

/// A container's id, as the engine gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub String);

/// An image's content id (`sha256:…`), which no tag can move.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub String);

/// Labels of a container.
pub type Labels = BTreeMap<String, String>;
/// A stream of engine events; it ends with an error when the engine goes away, and is then opened again.
pub type Events = Pin<Box<dyn Stream<Item = Result<Event>> + Send>>;
/// A tar archive to read.
pub type TarStream = Pin<Box<dyn AsyncRead + Send>>;

/// What fence asks of a container engine.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// What engine this is. Also the cheapest proof that it answers.
    async fn version(&self) -> Result<Version>;
    /// What the engine's host has, and how the engine is set up.
    async fn host(&self) -> Result<Host>;

    /// Make a container; it does not run yet.
    async fn create(&self, name: &str, spec: &ContainerSpec) -> Result<ContainerId>;
    /// Run the container's first process. Starting a running container is done already.
    async fn start(&self, id: &ContainerId) -> Result<()>;
    /// Signal the first process. A container that does not run is done already.
    async fn kill(&self, id: &ContainerId, signal: i32) -> Result<()>;
    /// Remove the container, running or not. One that is gone is done already.
    async fn remove(&self, id: &ContainerId) -> Result<()>;
    /// One container as it is now.
    async fn inspect(&self, id: &ContainerId) -> Result<Container>;
    /// All containers that carry these labels, running or not.
    async fn list(&self, labels: &Labels) -> Result<Vec<Container>>;
    /// Change the limits of a container.
    async fn update(&self, id: &ContainerId, limits: &Limits) -> Result<()>;
    /// One reading of a running container's figures.
    async fn stats(&self, id: &ContainerId) -> Result<Stats>;

    /// Look an image up by name or id, in the engine alone.
    async fn image(&self, name: &str) -> Result<Image>;
    /// All images the engine holds.
    async fn images(&self) -> Result<Vec<Image>>;
    /// Fetch an image from its registry. Progress is sent as it comes, best effort.
    async fn pull(&self, name: &str, auth: Option<&RegistryAuth>, progress: mpsc::Sender<Progress>) -> Result<Image>;
    /// Make an image named `name` of a root file system.
    async fn import(&self, name: &str, tar: TarStream) -> Result<Image>;
    /// Give the image a further name.
    async fn tag(&self, image: &str, name: &str) -> Result<()>;
    /// Take a name (or, by id, an image) away. One that is gone is done already; one in use is a conflict.
    async fn remove_image(&self, name: &str) -> Result<()>;

    /// What happens to containers that carry these labels, and to images, from now on.
    async fn events(&self, labels: &Labels) -> Result<Events>;
}

/// Which engine answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// e.g. `Docker`.
    pub name: String,
    /// e.g. `20.10.24`.
    pub version: String,
    /// The API version agreed on, e.g. `1.41`.
    pub api: String,
    /// e.g. `linux`.
    pub os: String,
    /// In the words of images, e.g. `amd64`.
    pub architecture: String,
}

/// What the engine says of its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub memory_bytes: u64,
    pub cpus: u32,
    /// Where the engine keeps its data, e.g. `/var/lib/docker`.
    pub data_dir: String,
    pub storage_driver: String,
    pub cgroup_version: u8,
    /// Containers survive a restart of the engine.
    pub live_restore: bool,
    /// The engine filters system calls.
    pub seccomp: bool,
}

/// A container to make. Everything not named here is the engine's own default, which is safe.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSpec {
    pub image: String,
    /// Replaces the image's entrypoint and command.
    pub command: Vec<String>,
    pub env: Vec<String>,
    pub hostname: String,
    /// `uid:gid` of the first process; empty = root, whatever the image says.
    pub user: String,
    pub working_dir: String,
    pub labels: Labels,
    pub mounts: Vec<Mount>,
    pub limits: Limits,
    pub network: NetworkMode,
    /// Capabilities kept, all others are dropped; e.g. `CHOWN`.
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
    /// All privileges of the host. Callers decide who may.
    pub privileged: bool,
    pub read_only_root: bool,
}

/// A directory or file of the host inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: String,
    pub target: String,
    pub read_only: bool,
}

/// Limits of a container; `None` = unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory and memory+swap alike.
    pub memory_bytes: Option<u64>,
    /// Relative weight, 1024 = normal.
    pub cpu_shares: Option<u64>,
    pub pids: Option<u64>,
}

/// How a container is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// The engine's bridge.
    #[default]
    Bridge,
    /// Loopback alone.
    None,
}

/// A container as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: ContainerId,
    pub name: String,
    pub labels: Labels,
    pub image: ImageId,
    pub state: ContainerState,
    /// The first process on the host while running, else 0. Only [`Engine::inspect`] fills it.
    pub pid: i32,
    /// Seconds since 1970.
    pub created: i64,
    /// Empty unless running on a network. Only [`Engine::inspect`] fills it.
    pub ip: String,
    /// The container's end of the network. Only [`Engine::inspect`] fills it.
    pub gateway: String,
    /// The kernel killed it for memory. Only [`Engine::inspect`] fills it.
    pub oom_killed: bool,
    /// Of the last first process, where one ended. Only [`Engine::inspect`] fills it.
    pub exit_code: Option<i64>,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    Exited,
    /// Being removed, or dead: not to be used.
    Removing,
}

/// One reading of a container's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub memory_bytes: u64,
    /// 0 = unlimited.
    pub memory_limit_bytes: u64,
    /// Memory of files that can be taken back.
    pub memory_cache_bytes: u64,
    pub cpu_usage_ns: u64,
    pub cpu_user_ns: u64,
    pub cpu_system_ns: u64,
    pub pids: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

/// An image the engine holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub id: ImageId,
    /// `name:tag` each.
    pub tags: Vec<String>,
    /// `registry/name@sha256:…` each.
    pub digests: Vec<String>,
    pub size_bytes: u64,
    /// RFC 3339, as the image says.
    pub created: String,
    pub os: String,
    pub architecture: String,
    /// What the image runs: entrypoint and command together. Only [`Engine::image`] and the calls that make an image
    /// fill it and what follows.
    pub command: Vec<String>,
    pub env: Vec<String>,
    pub user: String,
    pub working_dir: String,
    pub exposed_ports: Vec<u16>,
    pub volumes: Vec<String>,
    pub labels: Labels,
}

/// An account at an image registry.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RegistryAuth({}, …)", self.username)
    }
}

/// One step of a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The layer, or empty for the whole.
    pub layer: String,
    /// e.g. `Downloading`.
    pub status: String,
    pub current: u64,
    /// 0 = not known.
    pub total: u64,
}

/// Something happened in the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    /// Nanoseconds since 1970, by the engine's clock.
    pub time_ns: i64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    Created(ContainerId),
    Started(ContainerId),
    Died { id: ContainerId, exit_code: i64 },
    OutOfMemory(ContainerId),
    Removed(ContainerId),
    /// An image was pulled, tagged, imported, loaded or removed; the name or id as the engine gave it.
    ImageChanged(String),
}
