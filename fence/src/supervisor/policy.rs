//! What this node's configuration says about containers, as plain values. The node makes it of the config tree and
//! hands a new one over whenever that changes; running containers keep what they were made with.

use std::time::Duration;

use fence_init::protocol::MAX_BUFFER;
use serde::Serialize;

use crate::container::Limits;
use crate::logs::Rules;

/// The node's rules for new containers and for its dealings with all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The most containers at a time.
    pub max_containers: usize,
    /// For what a request leaves open.
    pub default_limits: Limits,
    pub default_grace_time: Duration,
    pub privileged_allowed: bool,
    /// How long a process has between TERM and KILL.
    pub stop_timeout: Duration,
    /// The output kept per process and stream while nobody reads, in bytes.
    pub output_buffer: usize,
    /// How much output is kept on the disk.
    pub logs: Rules,
    /// The node is being retired, and what runs on it has so long.
    pub retire: Option<Duration>,
    pub config: ConfigState,
}

/// Where the policy comes from, for whoever asks how the node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConfigState {
    /// Of the last change to the config that is in effect here.
    pub revision: u64,
    /// The tree cannot be reached; this is what was last seen of it.
    pub stale: bool,
    pub problems: Vec<String>,
}

impl Policy {
    /// The output to keep in a container with this much memory: what is kept counts as the container's own.
    pub fn output_buffer_for(&self, limits: &Limits) -> usize {
        let share = limits.memory_bytes.map_or(u64::MAX, |memory| memory / 8);
        let share = usize::try_from(share).unwrap_or(usize::MAX).max(64 * 1024);
        self.output_buffer.min(share).min(MAX_BUFFER)
    }
}

#[cfg(test)]
impl Policy {
    /// A policy for tests.
    pub(crate) fn sample() -> Policy {
        Policy {
            max_containers: 16,
            default_limits: Limits {
                memory_bytes: Some(256 << 20),
                cpu_shares: None,
                pids: Some(64),
            },
            default_grace_time: Duration::ZERO,
            privileged_allowed: false,
            stop_timeout: Duration::from_secs(2),
            output_buffer: 1 << 20,
            logs: Rules::sample(),
            retire: None,
            config: ConfigState::default(),
        }
    }
}
