//! What every engine promises, as functions that are run on each: the fake stays honest, the real one is proved.
//!
//! For tests only: a broken promise panics and says which. A [`Bench`] gives the engine and the image; everything made
//! on it carries its id and is removed by [`Bench::run`], whatever happened. Promises that need more than an engine
//! (a registry, a look into cgroups, an engine that stops) are in this crate's own tests.
#![allow(clippy::unwrap_used, reason = "a test suite: what is not as promised is to panic")]

mod containers;
mod events;
mod images;
mod joining;
mod limits;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::{Container, ContainerId, ContainerSpec, ContainerState, Engine, Labels, NetworkMode};

pub use containers::containers;
pub use events::events;
pub use images::images;
pub use joining::joining;
pub use limits::limits;

/// The label that everything made here carries.
pub const LABEL: &str = "io.fence.test";
/// How long anything may take that an engine does after it answered.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a whole suite may take.
const SUITE_PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(20);
const SIGKILL: i32 = 9;

/// An engine to be held to its promises.
#[derive(Clone)]
pub struct Bench {
    pub engine: Arc<dyn Engine>,
    /// An image that the engine holds, with `/bin/sh` and `/bin/sleep`.
    pub image: String,
    /// In the labels and names of all that is made here.
    pub id: String,
}

impl Bench {
    /// A bench with an id of its own.
    pub fn new(engine: Arc<dyn Engine>, image: &str) -> Bench {
        Bench {
            engine,
            image: image.to_owned(),
            id: Uuid::new_v4().simple().to_string(),
        }
    }

    /// Runs one suite and removes what it made, also when it panics.
    pub async fn run<S, F>(self, suite: S)
    where
        S: FnOnce(Bench) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut running = tokio::spawn(suite(self.clone()));
        let outcome = tokio::time::timeout(SUITE_PATIENCE, &mut running).await;
        running.abort();
        self.clean_up().await;
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => std::panic::resume_unwind(failure.into_panic()),
            Err(_) => panic!("the suite did not end within {} s", SUITE_PATIENCE.as_secs()),
        }
    }

    /// Removes what carries this bench's id.
    pub async fn clean_up(&self) {
        for container in self.engine.list(&self.labels()).await.unwrap_or_default() {
            let _ = self.engine.remove(&container.id).await;
        }
        for image in self.engine.images().await.unwrap_or_default() {
            for name in image
                .tags
                .iter()
                .chain(&image.digests)
                .filter(|name| name.contains(&self.id))
            {
                let _ = self.engine.remove_image(name).await;
            }
        }
    }

    /// What every container made here carries.
    pub fn labels(&self) -> Labels {
        Labels::from([(LABEL.to_owned(), self.id.clone())])
    }

    /// A name that no other test uses, for a container or an image.
    pub fn name(&self, what: &str) -> String {
        format!("fence-test-{}-{what}", self.id)
    }

    /// A container that goes on until it is killed.
    pub fn spec(&self) -> ContainerSpec {
        self.running(&["/bin/sleep", "1000000"])
    }

    /// A container that runs this.
    pub fn running(&self, command: &[&str]) -> ContainerSpec {
        ContainerSpec {
            image: self.image.clone(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            labels: self.labels(),
            network: NetworkMode::None,
            ..ContainerSpec::default()
        }
    }

    /// A container made and started.
    pub async fn started(&self, what: &str, spec: &ContainerSpec) -> ContainerId {
        let id = self.engine.create(&self.name(what), spec).await.unwrap();
        self.engine.start(&id).await.unwrap();
        id
    }

    /// Waits until the container is in this state.
    pub async fn until(&self, id: &ContainerId, state: ContainerState) -> Container {
        let reached = async {
            loop {
                let now = self.engine.inspect(id).await.unwrap();
                if now.state == state {
                    return now;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        match tokio::time::timeout(PATIENCE, reached).await {
            Ok(container) => container,
            Err(_) => panic!("the container did not become {state:?}"),
        }
    }
}

/// An id that no container has.
fn nobody() -> ContainerId {
    ContainerId(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
}
