//! The real engine: Docker over its unix socket, through bollard.
//!
//! Only this folder names bollard; its types and errors are turned into ours in `convert.rs` and go no further.
//! Nothing is connected or remembered between calls: a [`Docker`] is made while dockerd is down, and the first call
//! after it is back succeeds. Every call is bounded by its [`Timeouts`].
//!
//! ```no_run
//! # async fn example() -> engine::Result<()> {
//! use engine::docker::{Docker, Timeouts};
//! use engine::{ContainerSpec, Engine};
//!
//! let docker = Docker::connect("/var/run/docker.sock".as_ref(), Timeouts::default());
//! let spec = ContainerSpec { image: "fence/base".into(), command: vec!["/bin/sh".into()], ..Default::default() };
//! let id = docker.create("example", &spec).await?;
//! docker.start(&id).await?;
//! docker.remove(&id).await
//! # }
//! ```

mod build;
mod containers;
mod convert;
mod events;
mod images;
mod transfer;
mod transport;

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{
    BuildSpec, Container, ContainerId, ContainerSpec, Engine, Error, Events, Host, Image, Labels, Limits, Progress,
    RegistryAuth, Result, Stats, TarStream, Version,
};

/// How long calls may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// An ordinary call, as a whole.
    pub call: Duration,
    /// A pull or an import without any progress.
    pub idle: Duration,
    /// A pull or an import as a whole.
    pub transfer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            call: Duration::from_secs(60),
            idle: Duration::from_secs(120),
            transfer: Duration::from_secs(900),
        }
    }
}

/// Docker behind its unix socket.
#[derive(Debug)]
pub struct Docker {
    client: bollard::Docker,
    socket: PathBuf,
    timeouts: RwLock<Timeouts>,
}

/// What a call is about, for its errors.
struct Call {
    /// e.g. `start container 3f…`.
    attempt: String,
    /// What is missing if the engine does not find it, e.g. `container 3f…`.
    what: String,
}

impl Call {
    fn new(verb: &str, what: String) -> Call {
        Call {
            attempt: format!("{verb} {what}"),
            what,
        }
    }
}

impl Docker {
    /// Docker at this socket. Nothing is opened yet: dockerd may be down, and may come and go.
    pub fn connect(socket: &Path, timeouts: Timeouts) -> Docker {
        let path = socket.to_owned();
        let client = bollard::Docker::connect_with_custom_transport(
            move |request| transport::send(path.clone(), request),
            Some("http://docker"),
            // Calls are bounded here, as a whole; bollard would count the wait for an answer's first byte alone.
            u64::MAX,
            bollard::API_DEFAULT_VERSION,
        )
        // With a transport that is handed to it, bollard only stores its arguments.
        .expect("a client around a transport");
        Docker {
            client,
            socket: socket.to_owned(),
            timeouts: RwLock::new(timeouts),
        }
    }

    /// Bounds that hold for the calls that begin from now on.
    pub fn set_timeouts(&self, timeouts: Timeouts) {
        *self.timeouts.write().unwrap_or_else(PoisonError::into_inner) = timeouts;
    }

    /// The bounds in force.
    pub fn timeouts(&self) -> Timeouts {
        *self.timeouts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoint(&self) -> String {
        self.socket.display().to_string()
    }

    /// One ordinary call: bounded, and its error in our words.
    async fn call<T>(
        &self,
        call: &Call,
        request: impl Future<Output = std::result::Result<T, bollard::errors::Error>>,
    ) -> Result<T> {
        let limit = self.timeouts().call;
        match tokio::time::timeout(limit, request).await {
            Ok(answer) => answer.map_err(|error| convert::error(call, &self.endpoint(), error)),
            Err(_) => Err(self.timed_out(call, limit)),
        }
    }

    fn timed_out(&self, call: &Call, after: Duration) -> Error {
        Error::TimedOut {
            attempt: call.attempt.clone(),
            endpoint: self.endpoint(),
            after,
        }
    }
}

#[async_trait]
impl Engine for Docker {
    async fn version(&self) -> Result<Version> {
        let call = Call::new("ask", "the engine's version".to_owned());
        convert::version(&call, self.call(&call, self.client.version()).await?)
    }

    async fn host(&self) -> Result<Host> {
        let call = Call::new("ask", "about the engine's host".to_owned());
        Ok(convert::host(self.call(&call, self.client.info()).await?))
    }

    async fn create(&self, name: &str, spec: &ContainerSpec) -> Result<ContainerId> {
        self.create_container(name, spec).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        self.start_container(id).await
    }

    async fn kill(&self, id: &ContainerId, signal: i32) -> Result<()> {
        self.kill_container(id, signal).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        self.pause_container(id).await
    }

    async fn resume(&self, id: &ContainerId) -> Result<()> {
        self.resume_container(id).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.remove_container(id).await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Container> {
        self.inspect_container(id).await
    }

    async fn spec(&self, id: &ContainerId) -> Result<ContainerSpec> {
        self.container_spec(id).await
    }

    async fn list(&self, labels: &Labels) -> Result<Vec<Container>> {
        self.list_containers(labels).await
    }

    async fn update(&self, id: &ContainerId, limits: &Limits) -> Result<()> {
        self.update_container(id, limits).await
    }

    async fn stats(&self, id: &ContainerId) -> Result<Stats> {
        self.container_stats(id).await
    }

    async fn image(&self, name: &str) -> Result<Image> {
        self.inspect_image(name).await
    }

    async fn images(&self) -> Result<Vec<Image>> {
        self.list_images().await
    }

    async fn pull(&self, name: &str, auth: Option<&RegistryAuth>, progress: mpsc::Sender<Progress>) -> Result<Image> {
        self.pull_image(name, auth, progress).await
    }

    async fn import(&self, name: &str, tar: TarStream) -> Result<Image> {
        self.import_image(name, tar).await
    }

    async fn build(&self, spec: &BuildSpec, context: TarStream, said: mpsc::Sender<String>) -> Result<Image> {
        self.build_image(spec, context, said).await
    }

    async fn push(&self, name: &str, auth: Option<&RegistryAuth>, progress: mpsc::Sender<Progress>) -> Result<()> {
        self.push_image(name, auth, progress).await
    }

    async fn tag(&self, image: &str, name: &str) -> Result<()> {
        self.tag_image(image, name).await
    }

    async fn remove_image(&self, name: &str) -> Result<()> {
        self.untag_image(name).await
    }

    async fn events(&self, labels: &Labels) -> Result<Events> {
        self.follow_events(labels).await
    }
}
