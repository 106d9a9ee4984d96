//! Keeps house: images that came by the cluster and that nobody uses any more are removed, by the policy.
//!
//! Nothing is removed while something is wished. Never removed are images in use by any container, configured ones, and foreign
//! ones: those that neither fence used nor a job brought, and those that could not be had again since no registry has given them. How long an image is unused is
//! counted while the agent runs, so that no clock that is set makes it old.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use cluster::files;
use engine::{Image, Labels};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::clean::{Candidate, Pressure, names_of, to_remove};
use super::pulls::disk;
use super::{Node, Policy};
use crate::chain;

/// How often it is looked at.
const ROUND: Duration = Duration::from_secs(60);
/// The largest file of what is remembered, and the most images in it.
const MAX_FILE: u64 = 1 << 20;
const MAX_KNOWN: usize = 2048;

/// Which images had to do with the cluster, as remembered. A file that is not usable is as none: then nothing is removed
/// that is not used or brought again.
pub(super) fn read(memory: &Path) -> BTreeMap<String, u64> {
    let bytes = files::read_limited(memory, MAX_FILE).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Whether fence is to make containers of it, by any of its names.
pub(super) fn is_configured(policy: &Policy, image: &Image) -> bool {
    let own: Vec<String> = image
        .tags
        .iter()
        .chain(&image.digests)
        .filter_map(|name| decisive(name))
        .collect();
    let is_own = |name: &String| *name == image.id.0 || decisive(name).is_some_and(|name| own.contains(&name));
    policy.configured.iter().any(is_own)
}

/// What of a name decides which image it is: the digest where it has one, else the tag.
fn decisive(name: &str) -> Option<String> {
    let name: engine::ImageName = name.parse().ok()?;
    Some(match name.digest() {
        Some(digest) => format!("{}@{digest}", name.repository()),
        None => name.to_string(),
    })
}

/// Whether a registry gave it or has it.
pub(super) fn can_be_had_again(image: &Image) -> bool {
    !image.digests.is_empty()
}

impl Node {
    /// Keep house, for ever.
    pub(super) async fn keep_house(&self) {
        let mut last = Instant::now();
        let mut said = String::new();
        loop {
            sleep(ROUND).await;
            let passed = last.elapsed();
            last = Instant::now();
            let problem = match self.clean(passed).await {
                Ok(()) => String::new(),
                Err(error) => chain(&error),
            };
            if problem != said && !problem.is_empty() {
                warn!(problem, "could not see to unused images");
            }
            said = problem;
        }
    }

    async fn clean(&self, passed: Duration) -> engine::Result<()> {
        let Some(policy) = self.policy_at_rest() else {
            return Ok(());
        };
        let images = self.parts.engine.images().await?;
        let containers = self.parts.engine.list(&Labels::new()).await?;
        let used: HashSet<&str> = containers.iter().map(|container| container.image.0.as_str()).collect();
        // What it may be about to use is not known while it does not say.
        let Some(fence) = self.parts.fence.in_use().await else {
            return Ok(());
        };
        let also = Policy {
            configured: fence.configured.clone(),
            ..Policy::default()
        };
        let is_used = |image: &Image| {
            used.contains(image.id.0.as_str())
                || fence.id == image.id.0
                || is_configured(&policy, image)
                || is_configured(&also, image)
        };
        let candidates = self.candidates(&images, &is_used, passed);
        self.remember();
        let host = self.parts.engine.host().await?;
        let pressure = disk(Path::new(&host.data_dir)).map(|disk| Pressure::of(&disk, policy.disk_percent));
        for image in to_remove(&candidates, &policy, pressure.unwrap_or_default()) {
            // Much may have changed while the one before was removed.
            let now = self.parts.fence.in_use().await;
            let is_same = now.as_ref() == Some(&fence) && self.policy_at_rest().as_ref() == Some(&policy);
            if !is_same {
                break;
            }
            self.remove(image).await;
        }
        Ok(())
    }

    /// The policy, where it is known and nothing is wished: while an image is brought or rolled out, the one before may be gone
    /// back to.
    fn policy_at_rest(&self) -> Option<Policy> {
        let is_at_rest = self.wishes.borrow().is_empty();
        self.policy.borrow().clone().filter(|_| is_at_rest)
    }

    /// Those that nobody uses, with how long that is so.
    fn candidates<'a>(
        &self,
        images: &'a [Image],
        is_used: &dyn Fn(&Image) -> bool,
        passed: Duration,
    ) -> Vec<Candidate<'a>> {
        let mut state = self.state();
        state.known.retain(|id, _| images.iter().any(|image| image.id.0 == *id));
        let mut all = Vec::new();
        for image in images {
            let Some(unused) = state.known.get_mut(&image.id.0) else {
                continue;
            };
            *unused = if is_used(image) {
                0
            } else {
                unused.saturating_add(passed.as_secs())
            };
            if *unused > 0 && can_be_had_again(image) {
                all.push(Candidate { image, unused: *unused });
            }
        }
        all
    }

    fn remember(&self) {
        let known: BTreeMap<String, u64> = self.state().known.clone().into_iter().take(MAX_KNOWN).collect();
        let written = serde_json::to_vec(&known)
            .map_err(io::Error::other)
            .and_then(|json| files::write_atomic(&self.parts.memory, &json, 0o600));
        if let Err(error) = written {
            warn!(path = %self.parts.memory.display(), %error, "could not remember which images came by the cluster");
        }
    }

    /// Remove an image by all its names. One that is used since is kept by Docker itself.
    async fn remove(&self, image: &Image) {
        info!(names = ?names_of(image), id = image.id.0, "removes an image that nobody uses");
        for name in image.tags.iter().chain(&image.digests) {
            if let Err(error) = self.parts.engine.remove_image(name).await {
                warn!(name, error = chain(&error), "could not remove an unused image");
                return;
            }
        }
        self.restocked.notify_one();
    }
}
