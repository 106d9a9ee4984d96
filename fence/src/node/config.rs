//! From the config tree to what the parts are handed: the supervisor's policy, the image keeper's names.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cluster::config::schema::fence::ImageList;
use cluster::config::{Config, FenceConfig, KeyPath, Live, Scope, Snapshot, Target};
use tokio::sync::{Mutex, watch};

use crate::container::Limits;
use crate::image::Wanted;
use crate::logs;
use crate::supervisor::{ConfigState, Policy};

/// How long the tree may take to say which image is wanted, before what it last said is used.
const ASK: Duration = Duration::from_millis(500);

/// The policy as of now; [`follow`] keeps it up to date.
pub(super) fn policy(live: &Live) -> watch::Sender<Arc<Policy>> {
    watch::Sender::new(Arc::new(policy_of(&live.current())))
}

/// Hand on every change of the config. Runs for ever.
pub(super) async fn follow(mut live: Live, policy: watch::Sender<Arc<Policy>>, set_timeouts: impl Fn(&FenceConfig)) {
    while let Some(snapshot) = live.changed().await {
        set_timeouts(&snapshot.fence);
        policy.send_replace(Arc::new(policy_of(&snapshot)));
        tracing::info!(
            revision = snapshot.revision,
            stale = snapshot.stale.is_some(),
            "the config has changed"
        );
    }
    // Nothing follows the tree any more, which is only when the runtime ends.
    std::future::pending().await
}

fn policy_of(snapshot: &Snapshot) -> Policy {
    let fence = &snapshot.fence;
    let unused = snapshot
        .problems
        .iter()
        .map(|problem| format!("{}: {}", problem.address, problem.reason));
    Policy {
        max_containers: usize::try_from(fence.max_containers).unwrap_or(usize::MAX),
        default_limits: Limits {
            memory_bytes: fence.default_memory_mb.map(|mb| mb << 20),
            cpu_shares: Some(fence.default_cpu_shares),
            pids: Some(fence.max_container_processes),
        },
        default_grace_time: fence.container_grace_time.unwrap_or_default(),
        privileged_allowed: fence.docker.privileged,
        stop_timeout: fence.stop_timeout,
        output_buffer: usize::try_from(fence.output_buffer_kb << 10).unwrap_or(usize::MAX),
        logs: logs::Rules {
            file_bytes: fence.logs.max_size_kb << 10,
            files: fence.logs.max_files,
            rate: fence.logs.rate_kb << 10,
            total_bytes: fence.logs.max_total_mb << 20,
        },
        retire: fence.retire.wanted.then_some(fence.retire.timeout),
        config: ConfigState {
            revision: snapshot.revision,
            stale: snapshot.stale.is_some(),
            problems: snapshot.stale.iter().cloned().chain(unused).collect(),
        },
    }
}

/// The images that the tree wants for this node.
pub(super) struct ConfiguredImages {
    config: Config,
    target: Target,
    live: Live,
    changes: Mutex<Live>,
}

impl ConfiguredImages {
    pub(super) fn new(config: Config, live: Live) -> Result<ConfiguredImages, cluster::config::key::Error> {
        let target = Target {
            scope: Scope::Cluster,
            address: KeyPath::parse("fence/docker/image")?,
            own: false,
        };
        Ok(ConfiguredImages {
            config,
            target,
            changes: Mutex::new(live.clone()),
            live,
        })
    }

    /// What the tree says at this very moment: whoever has just changed it gets the new image, although the change may
    /// not have been heard of here yet.
    async fn at_its_source(&self) -> Option<Vec<String>> {
        let asked = tokio::time::timeout(ASK, self.config.get(&self.target)).await;
        let value = asked.ok()?.ok()??;
        let list: ImageList = serde_json::from_value(value).ok()?;
        Some(list.names().to_vec()).filter(|names| !names.is_empty())
    }
}

#[async_trait]
impl Wanted for ConfiguredImages {
    async fn now(&self) -> Vec<String> {
        match self.at_its_source().await {
            Some(names) => names,
            None => self.live.current().fence.docker.image.names().to_vec(),
        }
    }

    async fn changed(&self) {
        if self.changes.lock().await.changed().await.is_none() {
            // Nothing follows the tree any more, which is only when the runtime ends.
            std::future::pending().await
        }
    }
}
