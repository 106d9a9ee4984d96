//! Images in this machine's own engine: built, named, brought to a registry. Which name and which account is the caller's
//! matter.

use std::path::Path;
use std::sync::Arc;

use cluster::nodes::NodeFile;
use engine::docker::{Docker, Timeouts};
use engine::{BuildSpec, Engine, Image, RegistryAuth};
use tokio::sync::mpsc;

use crate::{Error, Result, context};

/// How many words of progress may wait to be read.
const WAITING: usize = 1024;

/// This machine's engine.
#[derive(Clone)]
pub struct Local {
    engine: Arc<dyn Engine>,
}

/// The node's engine.
pub fn engine(node: &NodeFile) -> Arc<dyn Engine> {
    Arc::new(Docker::connect(&node.docker.socket, Timeouts::default()))
}

impl Local {
    /// That of the node.
    pub fn of(node: &NodeFile) -> Self {
        Local { engine: engine(node) }
    }

    /// Make an image of a directory; `tell` hears what the build says.
    pub async fn build(&self, spec: &BuildSpec, directory: &Path, mut tell: impl FnMut(&str)) -> Result<Image> {
        let recipe = context::recipe(directory, &spec.dockerfile)?;
        let archive = context::archive(directory, &recipe)?;
        let spec = BuildSpec {
            dockerfile: recipe.display().to_string(),
            ..spec.clone()
        };
        let (said, mut lines) = mpsc::channel(WAITING);
        let build = self.engine.build(&spec, archive, said);
        tokio::pin!(build);
        loop {
            tokio::select! {
                biased;
                Some(line) = lines.recv() => if !line.is_empty() { tell(&line) },
                done = &mut build => {
                    while let Ok(line) = lines.try_recv() {
                        if !line.is_empty() {
                            tell(&line);
                        }
                    }
                    let what = match spec.name.as_str() {
                        "" => "an image".to_owned(),
                        name => format!("the image {name}"),
                    };
                    return done.map_err(Error::engine(format!("make {what} of {}", directory.display())));
                }
            }
        }
    }

    /// Give an image a further name.
    pub async fn tag(&self, image: &str, name: &str) -> Result<()> {
        let tagged = self.engine.tag(image, name).await;
        tagged.map_err(Error::engine(format!("name {image}")))
    }

    /// Bring an image to the registry in its name; `tell` hears how far that is.
    pub async fn push(&self, name: &str, account: Option<&RegistryAuth>, mut tell: impl FnMut(&str)) -> Result<()> {
        let (progress, mut steps) = mpsc::channel(WAITING);
        let push = self.engine.push(name, account, progress);
        tokio::pin!(push);
        loop {
            tokio::select! {
                biased;
                Some(step) = steps.recv() => match step.total {
                    0 => tell(&step.status),
                    total => tell(&format!("{} {}/{total}", step.status, step.current)),
                },
                done = &mut push => return done.map_err(|error| refused(name, error)),
            }
        }
    }
}

fn refused(name: &str, error: engine::Error) -> Error {
    match error {
        engine::Error::Refused { reason, .. } => Error::refused(
            format!("the registry does not take {name}: {reason}"),
            "kato registry login; kato registry status",
        ),
        other => Error::engine(format!("bring {name} to its registry"))(other),
    }
}
