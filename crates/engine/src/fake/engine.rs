//! The fake as an [`Engine`]: each call passes the faults, then works on the memory.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use super::input::{image_name, read_to_end, untagged_refused};
use super::{ENDPOINT, Fake, Memory, OnStart, Step, Told};
use crate::event::until_error;
use crate::{
    BuildSpec, Container, ContainerId, ContainerSpec, ContainerState, Engine, Error, Events, Host, Image, Labels,
    Limits, Progress, RegistryAuth, Result, Stats, TarStream, Version,
};

impl Fake {
    async fn step<T>(&self, step: Step, attempt: &str, act: impl FnOnce(&mut Memory) -> Result<T>) -> Result<T> {
        self.faults.enter(step, attempt).await?;
        let done = act(&mut self.memory())?;
        self.faults.leave(step, attempt)?;
        Ok(done)
    }

    /// What is to run in place of the container, unless it runs already.
    fn to_start(&self, id: &ContainerId) -> Result<Option<(ContainerSpec, Option<OnStart>)>> {
        let mut memory = self.memory();
        let hook = memory.on_start.clone();
        let entry = memory.containers.find(id)?;
        Ok((!entry.runs()).then(|| (entry.spec.clone(), hook)))
    }

    /// Tells the test of a signal to a running container, before it has its effect.
    fn tell_of_signal(&self, id: &ContainerId, signal: i32) {
        let memory = self.memory();
        let hook = memory.on_kill.clone();
        let pid = memory
            .containers
            .get(id)
            .filter(|entry| entry.runs())
            .map(|entry| entry.shown.pid);
        // The hook may call the fake.
        drop(memory);
        if let (Some(hook), Some(pid)) = (hook, pid) {
            hook(pid, signal);
        }
    }
}

#[async_trait]
impl Engine for Fake {
    async fn version(&self) -> Result<Version> {
        self.step(Step::Version, "ask the engine's version", |_| {
            Ok(Version {
                name: "Fake".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                api: "1.41".to_owned(),
                os: "linux".to_owned(),
                architecture: "amd64".to_owned(),
            })
        })
        .await
    }

    async fn host(&self) -> Result<Host> {
        self.step(Step::Host, "ask about the engine's host", |_| {
            Ok(Host {
                memory_bytes: 8 << 30,
                cpus: 2,
                data_dir: "/nowhere/fake".to_owned(),
                storage_driver: "memory".to_owned(),
                cgroup_version: 2,
                nests_cgroups: false,
                live_restore: true,
                seccomp: true,
            })
        })
        .await
    }

    async fn create(&self, name: &str, spec: &ContainerSpec) -> Result<ContainerId> {
        let attempt = format!("create container {name}");
        self.step(Step::Create, &attempt, |memory| {
            let image = memory.images.find(&attempt, &spec.image)?.id.clone();
            memory.containers.create(name, spec, image, &memory.news)
        })
        .await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let attempt = format!("start container {}", id.0);
        self.faults.enter(Step::Start, &attempt).await?;
        if let Some((spec, hook)) = self.to_start(id)? {
            let hooked = hook.map(|run| run(&spec));
            let memory = &mut *self.memory();
            let pid = hooked.unwrap_or_else(|| memory.containers.next_pid());
            memory.containers.started(id, pid, &memory.news)?;
        }
        self.faults.leave(Step::Start, &attempt)
    }

    async fn kill(&self, id: &ContainerId, signal: i32) -> Result<()> {
        let attempt = format!("signal container {}", id.0);
        self.faults.enter(Step::Kill, &attempt).await?;
        self.tell_of_signal(id, signal);
        {
            let memory = &mut *self.memory();
            memory.containers.signal(id, signal, &memory.news)?;
        }
        self.faults.leave(Step::Kill, &attempt)
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        let attempt = format!("pause container {}", id.0);
        self.step(Step::Pause, &attempt, |memory| {
            memory.containers.freeze(&attempt, id, ContainerState::Paused)
        })
        .await
    }

    async fn resume(&self, id: &ContainerId) -> Result<()> {
        let attempt = format!("resume container {}", id.0);
        self.step(Step::Resume, &attempt, |memory| {
            memory.containers.freeze(&attempt, id, ContainerState::Running)
        })
        .await
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        let attempt = format!("remove container {}", id.0);
        self.faults.enter(Step::Remove, &attempt).await?;
        self.tell_of_signal(id, 9);
        {
            let memory = &mut *self.memory();
            memory.containers.remove(id, &memory.news);
        }
        self.faults.leave(Step::Remove, &attempt)
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Container> {
        let attempt = format!("inspect container {}", id.0);
        self.step(Step::Inspect, &attempt, |memory| {
            Ok(memory.containers.find(id)?.shown.clone())
        })
        .await
    }

    async fn spec(&self, id: &ContainerId) -> Result<ContainerSpec> {
        let attempt = format!("inspect container {}", id.0);
        self.step(Step::Inspect, &attempt, |memory| {
            let made = memory.containers.find(id)?.spec.clone();
            Ok(ContainerSpec {
                image: made.image,
                command: made.command,
                hostname: made.hostname,
                labels: made.labels,
                mounts: made.mounts,
                limits: made.limits,
                privileged: made.privileged,
                ports: made.ports,
                restarts: made.restarts,
                ..ContainerSpec::default()
            })
        })
        .await
    }

    async fn list(&self, labels: &Labels) -> Result<Vec<Container>> {
        self.step(Step::List, "list containers", |memory| {
            Ok(memory.containers.list(labels))
        })
        .await
    }

    async fn update(&self, id: &ContainerId, limits: &Limits) -> Result<()> {
        let attempt = format!("change the limits of container {}", id.0);
        self.step(Step::Update, &attempt, |memory| memory.containers.update(id, limits))
            .await
    }

    async fn stats(&self, id: &ContainerId) -> Result<Stats> {
        let attempt = format!("read the figures of container {}", id.0);
        self.step(Step::Stats, &attempt, |memory| memory.containers.stats(id))
            .await
    }

    async fn image(&self, name: &str) -> Result<Image> {
        let attempt = format!("inspect image {name}");
        self.step(Step::Image, &attempt, |memory| {
            memory.images.find(&attempt, name).cloned()
        })
        .await
    }

    async fn images(&self) -> Result<Vec<Image>> {
        self.step(Step::Images, "list images", |memory| Ok(memory.images.all()))
            .await
    }

    async fn pull(&self, name: &str, auth: Option<&RegistryAuth>, progress: mpsc::Sender<Progress>) -> Result<Image> {
        let attempt = format!("pull image {name}");
        let wanted = image_name(&attempt, name)?;
        self.step(Step::Pull, &attempt, |memory| {
            let pulled = memory.images.pull(&attempt, &wanted, auth, &memory.news)?;
            let (layer, total) = ("layer".to_owned(), pulled.size_bytes);
            let _ = progress.try_send(Progress {
                layer,
                status: "Downloading".to_owned(),
                current: total,
                total,
            });
            Ok(pulled)
        })
        .await
    }

    async fn import(&self, name: &str, tar: TarStream) -> Result<Image> {
        let attempt = format!("import image {name}");
        let wanted = untagged_refused(&attempt, image_name(&attempt, name)?)?;
        // An engine that cannot be reached takes nothing of the archive.
        self.faults.enter(Step::Import, &attempt).await?;
        let size = read_to_end(&attempt, tar).await?;
        let image = {
            let mut memory = self.memory();
            let Memory { images, news, .. } = &mut *memory;
            images.import(Some(&wanted), size, news)
        };
        self.faults.leave(Step::Import, &attempt)?;
        Ok(image)
    }

    async fn build(&self, spec: &BuildSpec, context: TarStream, said: mpsc::Sender<String>) -> Result<Image> {
        let attempt = format!("build image {}", spec.name);
        let wanted = match spec.name.as_str() {
            "" => None,
            name => Some(untagged_refused(&attempt, image_name(&attempt, name)?)?),
        };
        self.faults.enter(Step::Build, &attempt).await?;
        let size = read_to_end(&attempt, context).await?;
        let _ = said.try_send(format!("Step 1/1 : {}", spec.dockerfile));
        let image = {
            let mut memory = self.memory();
            let Memory { images, news, .. } = &mut *memory;
            images.import(wanted.as_ref(), size, news)
        };
        self.faults.leave(Step::Build, &attempt)?;
        Ok(image)
    }

    async fn push(&self, name: &str, auth: Option<&RegistryAuth>, progress: mpsc::Sender<Progress>) -> Result<()> {
        let attempt = format!("push image {name}");
        let wanted = untagged_refused(&attempt, image_name(&attempt, name)?)?;
        self.step(Step::Push, &attempt, |memory| {
            memory.images.push(&attempt, &wanted, auth)?;
            let _ = progress.try_send(Progress {
                layer: String::new(),
                status: "Pushed".to_owned(),
                current: 0,
                total: 0,
            });
            Ok(())
        })
        .await
    }

    async fn tag(&self, image: &str, name: &str) -> Result<()> {
        let attempt = format!("tag image {image} as {name}");
        let wanted = untagged_refused(&attempt, image_name(&attempt, name)?)?;
        self.step(Step::Tag, &attempt, |memory| {
            memory.images.tag(&attempt, image, &wanted, &memory.news)
        })
        .await
    }

    async fn remove_image(&self, name: &str) -> Result<()> {
        let attempt = format!("remove image {name}");
        self.step(Step::RemoveImage, &attempt, |memory| {
            let user = |image: &_| memory.containers.user_of(image).map(|id| id.0.clone());
            memory.images.remove(&attempt, name, user, &memory.news)
        })
        .await
    }

    async fn events(&self, labels: &Labels) -> Result<Events> {
        let told = self
            .step(Step::Events, "follow the engine's events", |memory| {
                Ok(memory.news.0.subscribe())
            })
            .await?;
        let labels = Arc::new(labels.clone());
        let events = BroadcastStream::new(told).filter_map(move |told| {
            let event = match told {
                Ok(Told::OfImage(event)) => Some(Ok(event)),
                Ok(Told::OfContainer(carried, event)) => labels
                    .iter()
                    .all(|(key, value)| carried.get(key) == Some(value))
                    .then_some(Ok(event)),
                Ok(Told::Gone) => Some(Err(ended("the stream of events ended"))),
                Err(BroadcastStreamRecvError::Lagged(_)) => Some(Err(ended("the reader is too slow"))),
            };
            std::future::ready(event)
        });
        let end = stream::once(std::future::ready(Err(ended("the stream of events ended"))));
        Ok(until_error(events.chain(end)))
    }
}

fn ended(reason: &str) -> Error {
    Error::Unavailable {
        attempt: "follow the engine's events".to_owned(),
        endpoint: ENDPOINT.to_owned(),
        reason: reason.to_owned(),
    }
}
