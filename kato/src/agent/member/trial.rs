//! Tries an image with this node's fence: a container of it starts its command and has to pass its check.
//!
//! The container is marked by a property, so that what an agent leaves behind that died is found and cleared away by the next.
//! Every call is bounded; what the command and the check say comes from inside a container and is only shown.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use registry_bootstrap::distribute::job::Check;
use registry_bootstrap::distribute::node::{Fence, NotPassed};
use registry_bootstrap::distribute::told::{InUse, MAX_LINES, MAX_NAMES, short};
use registry_bootstrap::distribute::wish::Trial;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::agent::desk::ask_fence;
use crate::error::chain;
use crate::fence_api::spec::{ContainerSpec, CreateRequest, ImageRef, ProcessSpec};
use crate::fence_api::stream::FromFence;
use crate::fence_api::wire::Container;
use crate::fence_api::{Client, Error, Result};

/// The property of a container that is only tried.
const MARK: &str = "io.fence.trial";
/// How long making the container may take.
const MAKE: Duration = Duration::from_secs(100);
/// How often it is looked how it does, and the check is run again.
const LOOK: Duration = Duration::from_millis(500);
/// How long one run of the check may take.
const CHECK: Duration = Duration::from_secs(10);
/// How long what its command said is read.
const READ: Duration = Duration::from_secs(2);
/// How much of that is kept, in bytes: the end of it.
const MOST_LOG: usize = 64 * 1024;
/// The longest that is waited until it passes.
const MOST: Duration = Duration::from_secs(3600);
/// After how long without anybody the container goes by itself, whatever becomes of this node's agent.
const GRACE: Duration = Duration::from_secs(3600);

/// This node's fence, for trials.
pub struct OwnFence {
    fence: Client,
}

impl OwnFence {
    /// That behind this client.
    pub fn new(fence: Client) -> Self {
        OwnFence { fence }
    }

    /// The containers that are only tried.
    async fn of_trials(&self) -> Result<Vec<Container>> {
        let mut all = self.fence.containers().await?;
        all.retain(|container| container.properties.contains_key(MARK));
        Ok(all)
    }

    async fn try_it(&self, trial: &Trial, handle: &str) -> std::result::Result<(), NotPassed> {
        let make = CreateRequest {
            spec: ContainerSpec {
                handle: handle.to_owned(),
                grace_time: i64::try_from(GRACE.as_nanos()).unwrap_or(i64::MAX),
                image: ImageRef {
                    uri: format!("docker:///{}", trial.exact),
                },
                properties: BTreeMap::from([(MARK.to_owned(), trial.job.to_string())]),
                ..ContainerSpec::default()
            },
            start: true,
            command: Vec::new(),
        };
        if let Err(error) = self.fence.create(&make, MAKE).await {
            return Err(NotPassed {
                problem: format!("no container of it could be started: {}", chain(&error)),
                log: Vec::new(),
            });
        }
        match self.passes(trial, handle).await {
            Ok(()) => Ok(()),
            Err(problem) => Err(NotPassed {
                problem,
                log: self.log(handle).await,
            }),
        }
    }

    /// Wait until it passes; why it does not.
    async fn passes(&self, trial: &Trial, handle: &str) -> std::result::Result<(), String> {
        let begun = Instant::now();
        let deadline = begun + Duration::from_secs(trial.ready_within).min(MOST);
        let mut last = String::new();
        loop {
            let container = match self.fence.container(handle).await {
                Ok(container) => container,
                // A fence that is away for a moment is asked again.
                Err(error) if error.is_temporary() && Instant::now() < deadline => {
                    last = chain(&error);
                    sleep(LOOK).await;
                    continue;
                }
                Err(error) => return Err(chain(&error)),
            };
            if let Some(why) = ended(&container) {
                return Err(why);
            }
            match &trial.check {
                // For a moment it is not said how a command ended.
                _ if !container.started => {}
                Check::Runs(seconds) if begun.elapsed() >= Duration::from_secs(*seconds) => return Ok(()),
                Check::Runs(_) => {}
                Check::Command(command) => match self.check(handle, command).await {
                    Ok(0) => return Ok(()),
                    Ok(status) => last = format!("its check ended with {status}"),
                    Err(error) => last = format!("its check could not be run: {}", chain(&error)),
                },
            }
            if Instant::now() >= deadline {
                return Err(match &trial.check {
                    Check::Runs(_) => format!("it was not seen to run within {} s {last}", trial.ready_within),
                    Check::Command(_) => format!("it was not ready within {} s: {last}", trial.ready_within),
                });
            }
            sleep(LOOK).await;
        }
    }

    /// Run the check once: how it ended.
    async fn check(&self, handle: &str, command: &[String]) -> Result<i32> {
        let (path, args) = command
            .split_first()
            .map(|(path, args)| (path.clone(), args.to_vec()))
            .unwrap_or_default();
        let spec = ProcessSpec {
            path,
            args,
            ..ProcessSpec::default()
        };
        let action = "run the check";
        let run = async {
            let mut attached = self.fence.run(handle, &spec).await?;
            loop {
                match attached.incoming.next().await {
                    Ok(Some(FromFence::Exited(status))) => return Ok(status),
                    Ok(Some(_)) => {}
                    Ok(None) => {
                        let problem = "the process ended without a status".to_owned();
                        return Err(Error::Answer { action, problem });
                    }
                    Err(source) => return Err(Error::Broken { action, source }),
                }
            }
        };
        let bound = CHECK;
        timeout(bound, run)
            .await
            .unwrap_or(Err(Error::TimedOut { action, bound }))
    }

    /// The last lines of its command, as far as they can be had.
    async fn log(&self, handle: &str) -> Vec<String> {
        let (until, mut text) = (Instant::now() + READ, Vec::new());
        // While the container is being stopped, the way to its output may break off.
        while Instant::now() < until && !self.read(handle, until, &mut text).await {
            sleep(LOOK).await;
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines.len().saturating_sub(MAX_LINES);
        lines[last..].iter().map(|line| (*line).to_owned()).collect()
    }

    /// Read what its command said; whether that is all of it.
    async fn read(&self, handle: &str, until: Instant, text: &mut Vec<u8>) -> bool {
        let Ok(mut attached) = self.fence.attach(handle, "main").await else {
            return false;
        };
        text.clear();
        loop {
            let frame = tokio::select! {
                frame = attached.incoming.next() => frame,
                () = sleep_until(until) => return false,
            };
            match frame {
                Ok(Some(FromFence::Stdout(bytes) | FromFence::Stderr(bytes))) => text.extend_from_slice(&bytes),
                Ok(Some(FromFence::Exited(_))) => return true,
                Ok(Some(FromFence::Failed(_)) | None) | Err(_) => return false,
                Ok(Some(_)) => {}
            }
            let beyond = text.len().saturating_sub(MOST_LOG);
            text.drain(..beyond);
        }
    }
}

#[async_trait]
impl Fence for OwnFence {
    async fn in_use(&self) -> Option<InUse> {
        let (status, _) = ask_fence(&self.fence).await;
        let image = status?.image;
        Some(InUse {
            configured: image.configured.iter().take(MAX_NAMES).cloned().collect(),
            name: image.in_use,
            id: image.id,
            problem: short(&image.problem),
        })
    }

    async fn try_out(&self, trial: &Trial) -> std::result::Result<(), NotPassed> {
        self.clear().await;
        let handle = format!("trial-{}", trial.job.simple());
        let tried = self.try_it(trial, &handle).await;
        self.clear().await;
        tried
    }

    async fn clear(&self) -> bool {
        let Ok(all) = self.of_trials().await else {
            return false;
        };
        let mut clear = true;
        for container in all {
            if let Err(error) = self.fence.destroy(&container.handle).await {
                tracing::warn!(
                    handle = container.handle,
                    error = chain(&error),
                    "could not clear a trial away"
                );
                clear = false;
            }
        }
        clear
    }
}

/// Why its command does not run any more, where that is so.
fn ended(container: &Container) -> Option<String> {
    let status = container.main.as_ref().and_then(|main| main.exit_status);
    match (status, container.state.as_str()) {
        (Some(status), _) => Some(format!("its command ended with {status}")),
        (None, "active") => None,
        (None, state) => Some(format!("its command does not run: the container is {state}")),
    }
}
