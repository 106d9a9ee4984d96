//! Containers in our words: what one is made of, how it is shown, its figures.
//!
//! Plain types without behaviour or I/O; the values belong to whoever holds them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ImageId;

/// A container's id, as the engine gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub String);

/// Labels of a container.
pub type Labels = BTreeMap<String, String>;

/// A container to make. Everything not named here is the engine's own default, which is safe.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSpec {
    pub image: String,
    /// Replaces the image's entrypoint and command.
    pub command: Vec<String>,
    pub env: Vec<String>,
    pub hostname: String,
    /// `uid:gid` of the first process; empty = root, whatever the image says.
    pub user: String,
    pub working_dir: String,
    pub labels: Labels,
    pub mounts: Vec<Mount>,
    pub limits: Limits,
    pub network: NetworkMode,
    pub processes: ProcessMode,
    pub ipc: IpcMode,
    /// The cgroup that the container's is made in, by its path; empty = the engine's own.
    pub cgroup_parent: String,
    /// Capabilities kept, all others are dropped; e.g. `CHOWN`.
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
    /// All privileges of the host. Callers decide who may.
    pub privileged: bool,
    pub read_only_root: bool,
    /// Ports of the container that the host answers at.
    pub ports: Vec<Port>,
    /// The engine starts it again when it ends, and with itself, until it is signalled or removed.
    pub restarts: bool,
}

/// A TCP port of a container, and that of the host which leads to it, on all of the host's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    pub container: u16,
    pub host: u16,
}

/// A directory or file of the host inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: String,
    pub target: String,
    pub read_only: bool,
}

/// Limits of a container; `None` = unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory and memory+swap alike.
    pub memory_bytes: Option<u64>,
    /// Relative weight, 1024 = normal.
    pub cpu_shares: Option<u64>,
    pub pids: Option<u64>,
}

/// How a container is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// The engine's bridge.
    #[default]
    Bridge,
    /// Loopback alone.
    None,
    /// That of another container, which runs: interfaces, ports, host name, and the files of hosts and resolvers.
    Of(ContainerId),
}

/// Which processes a container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProcessMode {
    /// Its own.
    #[default]
    Own,
    /// All of another container, which runs; they end with that one.
    Of(ContainerId),
}

/// Which shared memory, semaphores and message queues a container has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IpcMode {
    /// Its own.
    #[default]
    Own,
    /// Its own, which other containers may have too.
    Open,
    /// Those of another container, which runs and is open to that.
    Of(ContainerId),
}

/// A container as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: ContainerId,
    pub name: String,
    pub labels: Labels,
    pub image: ImageId,
    pub state: ContainerState,
    /// The first process on the host while running, else 0. Only [`crate::Engine::inspect`] fills it.
    pub pid: i32,
    /// Seconds since 1970.
    pub created: i64,
    /// Empty unless running on a network. Only [`crate::Engine::inspect`] fills it.
    pub ip: String,
    /// The container's end of the network. Only [`crate::Engine::inspect`] fills it.
    pub gateway: String,
    /// The kernel killed it for memory. Only [`crate::Engine::inspect`] fills it.
    pub oom_killed: bool,
    /// Of the last first process, where one ended. Only [`crate::Engine::inspect`] fills it.
    pub exit_code: Option<i64>,
    /// What the host answers at, while running. Only [`crate::Engine::inspect`] fills it.
    pub ports: Vec<Port>,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    Exited,
    /// Being removed, or dead: not to be used.
    Removing,
}

/// One reading of a container's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub memory_bytes: u64,
    /// 0 = unlimited.
    pub memory_limit_bytes: u64,
    /// Memory of files that can be taken back.
    pub memory_cache_bytes: u64,
    pub cpu_usage_ns: u64,
    pub cpu_user_ns: u64,
    pub cpu_system_ns: u64,
    pub pids: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}
