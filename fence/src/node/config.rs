//! From the config tree to what the parts are handed: the supervisor's policy, the image keeper's names.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cluster::config::{Component, Config, FenceConfig, KeyPath, Live, Snapshot};
use tokio::sync::watch;

use crate::container::Limits;
use crate::image::Wanted;
use crate::supervisor::{ConfigState, Policy};

/// How long the tree may take to say which image is wanted, before what it last said is used.
const ASK: Duration = Duration::from_millis(500);

/// The policy as of now; [`follow`] keeps it up to date.
pub(super) fn policy(live: &Live) -> watch::Sender<Arc<Policy>> {
    watch::Sender::new(Arc::new(policy_of(&live.current())))
}

/// Hand on every change of the config. Runs for ever.
pub(super) async fn follow(mut live: Live, policy: watch::Sender<Arc<Policy>>, set_timeouts: impl Fn(&FenceConfig)) {
    loop {
        live.changed().await;
        let snapshot = live.current();
        set_timeouts(&snapshot.fence);
        policy.send_replace(Arc::new(policy_of(&snapshot)));
        tracing::info!(revision = snapshot.revision, stale = snapshot.stale, "config has changed");
    }
}

fn policy_of(snapshot: &Snapshot) -> Policy {
    let fence = &snapshot.fence;
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
        config: ConfigState {
            revision: snapshot.revision,
            stale: snapshot.stale,
            problems: snapshot.problems.clone(),
        },
    }
}
