//! Plain types of a container on this node: what it is called, what it shall be, what it is. No I/O, no runtime.
//!
//! ```text
//!  creating ──▶ active ◀──▶ stopped ──▶ destroying ──▶ (gone)
//!                  └───────────┴─────▶ lost   (the engine no longer has it)
//! ```

mod handle;
mod limits;
mod process;
mod spec;

pub use fence_init::protocol::Resource;
pub use handle::{Handle, HandleError};
pub use limits::Limits;
pub use process::{
    ExitStatus, MAX_USER, PeaSpec, ProcessId, ProcessSpec, ProcessSpecError, ProcessState, ResourceLimits, WindowSize,
};
pub use spec::{
    BindMount, ContainerSpec, ImageSource, MAX_PATH, PortMapping, Properties, SpecError, check_properties, shown,
};

use serde::{Deserialize, Serialize};

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Being made; nobody was told of it yet.
    Creating,
    /// Made and not stopped; processes come and go.
    Active,
    /// Its processes were ended; its files are still there.
    Stopped,
    /// The engine no longer has it; only destroy is left.
    Lost,
    /// Being taken apart; destroy can be repeated.
    Destroying,
}

/// What fence knows of a container, put together at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerInfo {
    pub handle: Handle,
    /// Unique for ever; the engine's label `io.fence.instance`.
    pub instance: String,
    pub engine_id: String,
    /// The image's name as it was asked for or configured, and the content it meant then.
    pub image: String,
    pub image_id: String,
    pub node: String,
    pub state: State,
    /// Its processes are frozen.
    pub paused: bool,
    /// RFC 3339.
    pub created: String,
    /// The image's command was started and still runs.
    pub started: bool,
    pub ip: String,
    /// The node's address as the container sees it.
    pub host_ip: String,
    pub ports: Vec<PortMapping>,
    pub limits: Limits,
    /// 0 = never destroyed for want of clients.
    pub grace_time_s: f64,
    pub properties: Properties,
    pub env: Vec<String>,
    pub mounts: Vec<BindMount>,
    pub processes: Vec<ProcessInfo>,
    /// What happened to it that its owner should know, e.g. `Out of memory`; the newest 64.
    pub events: Vec<String>,
    pub main: MainInfo,
    pub privileged: bool,
}

/// The process that runs the image's command, where it was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MainInfo {
    pub command: Vec<String>,
    /// Of its last run.
    pub exit_status: Option<i32>,
}

/// A process below fence-init.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessInfo {
    pub id: ProcessId,
    /// In the container's own numbering.
    pub pid: i32,
    /// Whether it runs on a terminal.
    pub tty: bool,
    pub state: ProcessState,
    pub exit_status: Option<i32>,
}
