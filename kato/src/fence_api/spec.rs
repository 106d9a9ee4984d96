//! What kato sends to fence: a container or a process to make, in Garden's JSON.
//!
//! Only the members kato sets are here. Values are checked where they are read from the command line, and again by
//! fence.

use std::collections::BTreeMap;

use serde::Serialize;

/// The body of a create.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CreateRequest {
    /// The container.
    pub spec: ContainerSpec,
    /// Whether to run its main process at once.
    pub start: bool,
    /// What to run instead of the image's command; empty = that.
    pub command: Vec<String>,
}

/// A container to make.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ContainerSpec {
    /// Its name; empty = fence picks one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub handle: String,
    /// Nanoseconds without a client until it is destroyed; 0 = the node's default.
    #[serde(skip_serializing_if = "is_zero_time")]
    pub grace_time: i64,
    /// What its file system is made from.
    pub image: ImageRef,
    /// Directories and files of the node that it sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bind_mounts: Vec<BindMount>,
    /// Free notes on it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// The environment of all its processes, as `K=V`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Whether it gets all rights on the node.
    #[serde(skip_serializing_if = "is_false")]
    pub privileged: bool,
    /// Its limits.
    pub limits: Limits,
    /// Ports of the node that lead into it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub netin: Vec<NetIn>,
}

/// Where a container's file system comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImageRef {
    /// A path on the node or a `docker://` name; empty = the configured image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uri: String,
}

/// A directory or file of the node that the container sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BindMount {
    /// Where it is on the node.
    pub src_path: String,
    /// Where the container sees it.
    pub dst_path: String,
    /// 0 = read-only, 1 = read and write.
    pub mode: u8,
}

/// Limits; 0 = the node's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// The share of the processors.
    pub cpu_limits: CpuLimits,
    /// Memory.
    pub memory_limits: MemoryLimits,
    /// How many processes there may be.
    pub pid_limits: PidLimits,
}

/// The share of the processors.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuLimits {
    /// Shares, against 1024 of an ordinary container.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit_in_shares: u64,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryLimits {
    /// In bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit_in_bytes: u64,
}

/// How many processes there may be.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PidLimits {
    /// At most so many.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
}

/// A port of the node that leads into the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NetIn {
    /// The node's port; 0 = fence picks one.
    pub host_port: u32,
    /// The container's port.
    pub container_port: u32,
}

/// A process to start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProcessSpec {
    /// Its name; empty = fence picks one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The program, searched in the process's PATH where it has no slash.
    pub path: String,
    /// Its arguments, without its own name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its environment beside the container's, as `K=V`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Its working directory; empty = the user's home.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dir: String,
    /// `name`, `name:group` or `uid:gid`; empty = root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Its resource limits by name.
    pub rlimits: BTreeMap<String, u64>,
    /// Its terminal, where it gets one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<TtySpec>,
    /// Whether its output is kept in the container's log; said in the query.
    #[serde(skip)]
    pub log: bool,
    /// Always empty: kato makes no process with a file system of its own.
    pub image: ImageRef,
}

/// A terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TtySpec {
    /// Its size; absent = 80 columns and 24 rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_size: Option<WindowSize>,
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WindowSize {
    /// Characters in a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_zero_time(number: &i64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_container_is_the_smallest_body() {
        assert_eq!(
            serde_json::to_string(&ContainerSpec::default()).unwrap(),
            r#"{"image":{},"limits":{"cpu_limits":{},"memory_limits":{},"pid_limits":{}}}"#
        );
    }

    #[test]
    fn a_terminal_without_a_size_is_still_asked_for() {
        let spec = ProcessSpec {
            path: "sh".into(),
            tty: Some(TtySpec::default()),
            ..ProcessSpec::default()
        };
        assert_eq!(
            serde_json::to_string(&spec).unwrap(),
            r#"{"path":"sh","rlimits":{},"tty":{},"image":{}}"#
        );
    }
}
