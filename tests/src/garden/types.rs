//! Garden's JSON, written as the Go client writes it: zero values are left out, members that are structs are sent even when
//! empty. Written from the wire page alone; the server's own types are no part of this.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A container to make.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ContainerSpec {
    #[serde(skip_serializing_if = "is_default")]
    pub handle: String,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub grace_time: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub rootfs: String,
    pub image: ImageRef,
    #[serde(skip_serializing_if = "is_default")]
    pub bind_mounts: Vec<BindMount>,
    #[serde(skip_serializing_if = "is_default")]
    pub network: String,
    #[serde(skip_serializing_if = "is_default")]
    pub properties: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    pub limits: Limits,
    #[serde(skip_serializing_if = "is_default")]
    pub netin: Vec<PortMapping>,
}

/// An image by URI; empty = the server's default.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ImageRef {
    #[serde(skip_serializing_if = "is_default")]
    pub uri: String,
    #[serde(skip_serializing_if = "is_default")]
    pub username: String,
    #[serde(skip_serializing_if = "is_default")]
    pub password: String,
}

impl ImageRef {
    /// An image that needs no account.
    pub fn of(uri: &str) -> ImageRef {
        ImageRef {
            uri: uri.into(),
            ..ImageRef::default()
        }
    }
}

/// A place of the server's host in the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BindMount {
    #[serde(skip_serializing_if = "is_default")]
    pub src_path: String,
    #[serde(skip_serializing_if = "is_default")]
    pub dst_path: String,
    /// 0 = read-only, 1 = read and write.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: u8,
}

/// What a container may use.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Limits {
    pub bandwidth_limits: Empty,
    pub cpu_limits: CpuLimits,
    pub disk_limits: Empty,
    pub memory_limits: MemoryLimits,
    pub pid_limits: PidLimits,
}

/// A struct of which no member is set.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Empty {}

/// A share of the processors.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CpuLimits {
    #[serde(skip_serializing_if = "is_default")]
    pub weight: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub limit_in_shares: u64,
}

/// A limit of memory.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MemoryLimits {
    #[serde(skip_serializing_if = "is_default")]
    pub limit_in_bytes: u64,
}

/// A limit of processes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PidLimits {
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
}

/// A port of the host that leads to one of the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    pub host_port: u32,
    pub container_port: u32,
}

/// A process to start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProcessSpec {
    #[serde(skip_serializing_if = "is_default")]
    pub id: String,
    #[serde(skip_serializing_if = "is_default")]
    pub path: String,
    #[serde(skip_serializing_if = "is_default")]
    pub args: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub dir: String,
    #[serde(skip_serializing_if = "is_default")]
    pub user: String,
    pub rlimits: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<TtySpec>,
    pub image: ImageRef,
    #[serde(skip_serializing_if = "is_default")]
    pub bind_mounts: Vec<BindMount>,
    /// Present and empty is not the same as missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ProcessLimits>,
}

/// Limits of a process with an image of its own.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProcessLimits {
    pub cpu_limits: CpuLimits,
    pub memory_limits: MemoryLimits,
}

impl ProcessSpec {
    /// A program with arguments.
    pub fn new(path: &str, args: &[&str]) -> ProcessSpec {
        ProcessSpec {
            path: path.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..ProcessSpec::default()
        }
    }

    /// A shell script.
    pub fn script(script: &str) -> ProcessSpec {
        ProcessSpec::new("sh", &["-c", script])
    }

    /// The same as another user.
    pub fn user(mut self, user: &str) -> ProcessSpec {
        self.user = user.into();
        self
    }

    /// The same in an image of its own.
    pub fn image(mut self, uri: &str) -> ProcessSpec {
        self.image = ImageRef::of(uri);
        self
    }

    /// The same on a terminal of this size; `None` = the server's default size.
    pub fn tty(mut self, size: Option<(u16, u16)>) -> ProcessSpec {
        self.tty = Some(TtySpec {
            window_size: size.map(|(columns, rows)| WindowSize { columns, rows }),
        });
        self
    }
}

/// A terminal; its presence alone asks for one.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TtySpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_size: Option<WindowSize>,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct WindowSize {
    #[serde(skip_serializing_if = "is_default")]
    pub columns: u16,
    #[serde(skip_serializing_if = "is_default")]
    pub rows: u16,
}

/// What the server can hold.
#[derive(Clone, Debug, Deserialize)]
pub struct Capacity {
    pub memory_in_bytes: u64,
    pub disk_in_bytes: u64,
    pub schedulable_disk_in_bytes: u64,
    pub max_containers: u64,
}

/// What the server says of a container.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerInfo {
    pub state: String,
    pub events: Option<Vec<String>>,
    #[serde(rename = "HostIP")]
    pub host_ip: String,
    #[serde(rename = "ContainerIP")]
    pub container_ip: String,
    #[serde(rename = "ContainerIPv6")]
    pub container_ipv6: String,
    #[serde(rename = "ExternalIP")]
    pub external_ip: String,
    pub container_path: String,
    #[serde(rename = "ProcessIDs")]
    pub process_ids: Option<Vec<String>>,
    pub properties: Option<BTreeMap<String, String>>,
    pub mapped_ports: Option<Vec<MappedPort>>,
}

/// A port as [`ContainerInfo`] writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MappedPort {
    pub host_port: u32,
    pub container_port: u32,
}
