//! The JSON that fence answers on its own routes, as kato reads it.
//!
//! Members may be absent and unknown ones are passed over, so that this kato works beside the fence before and after
//! it. The same types are what `-j` and `-y` print. What kato sends is in `spec.rs`.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// The error's name; "" is a plain error.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What happened.
    #[serde(rename = "Message")]
    pub message: String,
    /// The container asked for, where it is not there.
    #[serde(rename = "Handle")]
    pub handle: String,
    /// The process asked for, where it is not there.
    #[serde(rename = "ProcessID")]
    pub process_id: String,
    /// What to do next, or "".
    pub hint: String,
}

/// What fence says of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The node's name.
    pub node: String,
    /// The node's id.
    pub node_id: String,
    /// Fence's version.
    pub version: String,
    /// Fence's process id.
    pub pid: u32,
    /// Since when it runs.
    pub started_at: Option<Timestamp>,
    /// Whether it takes work.
    pub ready: bool,
    /// Docker, as fence sees it.
    pub engine: Engine,
    /// The config that fence follows.
    pub config: ConfigStatus,
    /// The image of new containers.
    pub image: ImageStatus,
    /// How many containers there are.
    pub containers: ContainerCounts,
    /// Where the node is being retired: how far that is.
    pub retiring: Option<Retiring>,
    /// What fence could not clean up or put right yet.
    pub problems: Vec<Repair>,
}

/// Something that fence tries again until it is right.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Repair {
    /// What is not right.
    pub what: String,
    /// Why fence could not put it right.
    pub why: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// How often it was tried.
    pub tries: u32,
}

/// Docker, as fence sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Engine {
    /// `ok` or `unavailable`.
    pub state: String,
    /// What is wrong, or "".
    pub problem: String,
    /// The engine's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of its API.
    pub api: String,
    /// Its operating system.
    pub os: String,
    /// Its architecture.
    pub architecture: String,
}

/// The config that fence follows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigStatus {
    /// The revision of the last change it took up.
    pub revision: u64,
    /// Whether the store is away and the last copy is used.
    pub stale: bool,
    /// Values it could not use.
    pub problems: Vec<String>,
}

/// The image of new containers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageStatus {
    /// The names configured, in order.
    pub configured: Vec<String>,
    /// The name that is used.
    pub in_use: String,
    /// The id behind it.
    pub id: String,
    /// `ok`, `pulling` or `missing`.
    pub state: String,
    /// What is wrong, or "".
    pub problem: String,
    /// How far a pull is, or "".
    pub progress: String,
}

/// How many containers there are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerCounts {
    /// Those that run.
    pub active: u32,
    /// Those that are stopped.
    pub stopped: u32,
    /// Those whose engine container is gone.
    pub lost: u32,
    /// All of them.
    pub total: u32,
    /// How many there may be.
    pub max: u32,
}

/// What a container uses at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// Memory.
    pub memory: MemoryUse,
    /// Time on processors.
    pub cpu: CpuUse,
    /// Files.
    pub disk: DiskUse,
    /// What came in and went out, where it has a network of its own.
    pub network: Option<NetworkUse>,
    /// Processes and threads.
    pub pids: PidUse,
    /// How long it has been there.
    pub age_ns: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryUse {
    /// What counts against the limit and cannot be taken back at once.
    pub usage_bytes: u64,
    /// None = no limit.
    pub limit_bytes: Option<u64>,
    /// The kernel's own numbers.
    pub stat: BTreeMap<String, u64>,
}

/// Time on processors, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUse {
    /// All of it.
    pub usage_ns: u64,
    /// In programs.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
}

/// Files: all, and those that are not the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskUse {
    /// All, in bytes.
    pub total_bytes: u64,
    /// All, in number.
    pub total_inodes: u64,
    /// The container's own, in bytes.
    pub exclusive_bytes: u64,
    /// The container's own, in number.
    pub exclusive_inodes: u64,
}

/// Bytes that came in and went out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkUse {
    /// In.
    pub rx_bytes: u64,
    /// Out.
    pub tx_bytes: u64,
}

/// Processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PidUse {
    /// There are.
    pub current: u64,
    /// There may be; none = no limit.
    pub max: Option<u64>,
}

/// How far a node is being retired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retiring {
    /// Since when.
    pub since: Option<Timestamp>,
    /// Until the containers that run are stopped.
    pub seconds_left: u64,
    /// Containers that still run.
    pub active: u64,
    /// Those that do not.
    pub stopped: u64,
}

impl fmt::Display for Retiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Retiring {
            seconds_left, active, ..
        } = self;
        let all = active.saturating_add(self.stopped);
        match (active, seconds_left) {
            (0, _) => write!(f, "0 of {all} still run"),
            (_, 0) => write!(f, "{active} of {all} are being stopped"),
            _ => write!(f, "{active} of {all} still run, {seconds_left} s left"),
        }
    }
}

/// Fence's version and those of what it uses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Version {
    /// The program's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its operating system.
    pub os: String,
    /// Its architecture.
    pub architecture: String,
    /// The init that new containers get.
    pub init: String,
    /// Docker, where it is there.
    pub engine: Option<Engine>,
}

/// One container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Its name for clients.
    pub handle: String,
    /// Its id, also the label `io.fence.instance` of the engine's container.
    pub instance: String,
    /// The engine's id of it.
    pub engine_id: String,
    /// The image it was made from, by name.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// The node it is on.
    pub node: String,
    /// `creating`, `active`, `stopped`, `lost` or `destroying`.
    pub state: String,
    /// Whether its processes are frozen.
    pub paused: bool,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether its main process was started and lives.
    pub started: bool,
    /// Its address on the node.
    pub ip: String,
    /// The node's address, as the container sees it.
    pub host_ip: String,
    /// The ports of the node that lead into it.
    pub ports: Vec<PortMapping>,
    /// The limits in force.
    pub limits: ContainerLimits,
    /// After how many seconds without a client it is destroyed; 0 = never.
    pub grace_time_s: f64,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// The environment that all its processes get.
    pub env: Vec<String>,
    /// The directories of the node that it sees.
    pub mounts: Vec<Mount>,
    /// Its processes.
    pub processes: Vec<Process>,
    /// What happened to it.
    pub events: Vec<String>,
    /// Its main process.
    pub main: Option<MainProcess>,
    /// Whether it has all rights on the node.
    pub privileged: bool,
}

/// A port of the node that leads into a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PortMapping {
    /// The node's port.
    pub host_port: u32,
    /// The container's port.
    pub container_port: u32,
}

/// The limits in force; absent = no limit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerLimits {
    /// Memory and swap together.
    pub memory_bytes: Option<u64>,
    /// The share of the processors.
    pub cpu_shares: Option<u64>,
    /// How many processes and threads there may be.
    pub pids: Option<u64>,
}

/// A directory or file of the node that a container sees.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Where it is on the node.
    pub source: String,
    /// Where it is in the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// One process of a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Its name.
    pub id: String,
    /// Its process id in the container.
    pub pid: i64,
    /// Whether it runs on a terminal.
    pub tty: bool,
    /// `running` or `exited`.
    pub state: String,
    /// How it ended.
    pub exit_status: Option<i32>,
}

/// A process as the kernel shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TopProcess {
    /// Its process id in the container.
    pub pid: i64,
    /// Its process id on the node.
    pub host_pid: i64,
    /// Its user's number in the container.
    pub user: u64,
    /// Its state, in the kernel's letter.
    pub state: String,
    /// The memory it has.
    pub rss_bytes: u64,
    /// The processor time it has used.
    pub cpu_ns: u64,
    /// Its command line.
    pub command: String,
}

/// Something that happened to a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Its number, which grows over the whole node.
    pub number: u64,
    /// When.
    pub time: Option<Timestamp>,
    /// The container's handle.
    pub container: String,
    /// The container's id.
    pub instance: String,
    /// What happened, in a word.
    #[serde(rename = "type")]
    pub kind: String,
    /// What there is to know about it.
    #[serde(flatten)]
    pub details: BTreeMap<String, serde_json::Value>,
}

/// A part of a process's output that was kept, or the mark of one that was not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogEntry {
    /// Its number, which grows over the container's life.
    pub number: u64,
    /// When fence had it.
    pub time: Option<Timestamp>,
    /// The process's name.
    pub process: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// A line without its end, or a part of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The same where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// More of the same line follows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// So many bytes are missing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// Why they are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The process that runs the image's command, or the one given instead.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MainProcess {
    /// Its command.
    pub command: Vec<String>,
    /// How it ended.
    pub exit_status: Option<i32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_read_with_members_missing_and_with_unknown_ones() {
        let text = r#"{"handle":"web","created":"2026-01-02T03:04:05Z","ports":[{"host_port":61001}],"later":1}"#;
        let container: Container = serde_json::from_str(text).unwrap();
        assert_eq!(container.handle, "web");
        assert_eq!(container.ports[0].host_port, 61001);
        assert!(container.main.is_none());
    }

    #[test]
    fn an_error_body_is_read_with_gardens_names() {
        let text = r#"{"Type":"ContainerNotFoundError","Message":"m","Handle":"h","ProcessID":"","Binary":""}"#;
        let body: ErrorBody = serde_json::from_str(text).unwrap();
        assert_eq!(
            (body.kind.as_str(), body.handle.as_str()),
            ("ContainerNotFoundError", "h")
        );
    }
}
