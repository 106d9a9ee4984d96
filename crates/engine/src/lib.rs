//! The boundary to the container engine: containers, images, events and figures, in Fence's own words.
//!
//! [`Engine`] is the trait; [`docker::Docker`] is the real thing (the only place that names bollard) and
//! [`fake::Fake`] a memory of one, held to the same suite ([`conformance`]). Every call is bounded in time, and a
//! stopped, hung or restarting engine is a temporary [`Error`]. This crate knows nothing of handles, config or HTTP
//! faces, and keeps no state of its own.

use std::pin::Pin;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

mod accounts;
pub mod conformance;
mod container;
pub mod docker;
mod error;
mod event;
pub mod fake;
mod image;
mod name;

pub use accounts::account;
pub use container::{
    Container, ContainerId, ContainerSpec, ContainerState, IpcMode, Labels, Limits, Mount, NetworkMode, Port,
    ProcessMode, Stats,
};
pub use error::{Error, Result};
pub use event::{Event, EventKind, Events};
pub use image::{BuildSpec, Image, ImageId, Progress, RegistryAuth};
pub use name::{BadName, ImageName};

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
    /// Freeze all processes of a running container. One that is frozen is done already.
    async fn pause(&self, id: &ContainerId) -> Result<()>;
    /// Have a frozen container go on. One that is not frozen is done already.
    async fn resume(&self, id: &ContainerId) -> Result<()>;
    /// Remove the container, running or not. One that is gone is done already.
    async fn remove(&self, id: &ContainerId) -> Result<()>;
    /// One container as it is now.
    async fn inspect(&self, id: &ContainerId) -> Result<Container>;
    /// What the container was made with, as far as the engine can still tell: image, command, host name, labels, mounts,
    /// limits and whether it is privileged. What it cannot tell is as by default.
    async fn spec(&self, id: &ContainerId) -> Result<ContainerSpec>;
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
    /// Make an image by the recipe in a context. What the build says is sent line by line as it comes, best effort.
    async fn build(&self, spec: &BuildSpec, context: TarStream, said: mpsc::Sender<String>) -> Result<Image>;
    /// Bring an image to the registry in its name. Progress is sent as it comes, best effort.
    async fn push(&self, name: &str, auth: Option<&RegistryAuth>, progress: mpsc::Sender<Progress>) -> Result<()>;
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
    /// A container's cgroup can be made below another container's.
    pub nests_cgroups: bool,
    /// Containers survive a restart of the engine.
    pub live_restore: bool,
    /// The engine filters system calls.
    pub seccomp: bool,
}
