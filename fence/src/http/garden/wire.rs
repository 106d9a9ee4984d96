//! Garden's JSON types, as its Go client sends and reads them. No conversions, no checks.
//!
//! Everything in a request may be missing or `null` (see [`json`](crate::http::json)). Durations are nanoseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::http::json::items;

/// `{}`: done, nothing to say.
#[derive(Debug, Serialize)]
pub struct Nothing {}

/// The body of every answer that is no success. All members are always sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Error {
    #[serde(rename = "Type")]
    pub kind: &'static str,
    #[serde(rename = "Message")]
    pub message: String,
    #[serde(rename = "Handle")]
    pub handle: String,
    #[serde(rename = "ProcessID")]
    pub process_id: String,
    #[serde(rename = "Binary")]
    pub binary: String,
}

#[derive(Debug, Serialize)]
pub struct Capacity {
    pub memory_in_bytes: u64,
    pub disk_in_bytes: u64,
    pub schedulable_disk_in_bytes: u64,
    pub max_containers: u64,
}

#[derive(Debug, Serialize)]
pub struct Handles {
    #[serde(rename = "Handles")]
    pub handles: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Created {
    #[serde(rename = "Handle")]
    pub handle: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    pub handle: String,
    pub grace_time: i64,
    pub rootfs: String,
    pub image: ImageRef,
    #[serde(deserialize_with = "items")]
    pub bind_mounts: Vec<BindMount>,
    pub network: String,
    pub properties: BTreeMap<String, String>,
    #[serde(deserialize_with = "items")]
    pub env: Vec<String>,
    pub privileged: bool,
    pub limits: Limits,
    #[serde(deserialize_with = "items")]
    pub netout_rules: Vec<NetOutRule>,
    #[serde(deserialize_with = "items")]
    pub netin: Vec<NetIn>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ImageRef {
    pub uri: String,
    pub username: String,
    pub password: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct BindMount {
    pub src_path: String,
    pub dst_path: String,
    /// 0 = read only, 1 = read and write.
    pub mode: u8,
    /// 0 = the host's path, 1 = the container's.
    pub origin: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Limits {
    pub bandwidth_limits: BandwidthLimits,
    pub cpu_limits: CpuLimits,
    pub disk_limits: DiskLimits,
    pub memory_limits: MemoryLimits,
    pub pid_limits: PidLimits,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct BandwidthLimits {
    pub rate: u64,
    pub burst: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct CpuLimits {
    pub weight: u64,
    pub limit_in_shares: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct DiskLimits {
    pub inode_soft: u64,
    pub inode_hard: u64,
    pub byte_soft: u64,
    pub byte_hard: u64,
    /// 0 = the image counts, 1 = it does not.
    pub scope: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct MemoryLimits {
    pub limit_in_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PidLimits {
    /// 0 = none.
    pub max: u64,
}

/// The answer to a question for the memory limit.
#[derive(Debug, Serialize)]
pub struct MemoryLimit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_in_bytes: Option<u64>,
}

/// The answer to a question for the CPU limit.
#[derive(Debug, Serialize)]
pub struct CpuLimit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_in_shares: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NetOutRule {
    /// 0 = all, 1 = tcp, 2 = udp, 3 = icmp, 4 = icmpv6.
    pub protocol: u8,
    #[serde(deserialize_with = "items")]
    pub networks: Vec<AddressRange>,
    #[serde(deserialize_with = "items")]
    pub ports: Vec<PortRange>,
    pub icmps: Option<Icmp>,
    pub log: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AddressRange {
    pub start: String,
    pub end: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PortRange {
    pub start: u16,
    pub end: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Icmp {
    #[serde(rename = "type")]
    pub kind: u8,
    pub code: Option<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NetIn {
    pub host_port: u32,
    pub container_port: u32,
}

#[derive(Debug, Serialize)]
pub struct NetInDone {
    pub host_port: u32,
    pub container_port: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Stop {
    pub kill: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Property {
    pub value: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerInfo {
    pub state: &'static str,
    pub events: Vec<String>,
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
    pub process_ids: Vec<String>,
    pub properties: BTreeMap<String, String>,
    pub mapped_ports: Vec<MappedPort>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MappedPort {
    pub host_port: u32,
    pub container_port: u32,
}

/// One of several containers that were asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InfoEntry {
    pub info: ContainerInfo,
    pub err: Option<Error>,
}

/// As [`InfoEntry`], for what it uses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricsEntry {
    pub metrics: Metrics,
    pub err: Option<Error>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metrics {
    pub memory_stat: MemoryStat,
    #[serde(rename = "CPUStat")]
    pub cpu_stat: CpuStat,
    pub disk_stat: DiskStat,
    pub network_stat: Option<NetworkStat>,
    pub pid_stat: PidStat,
    /// Nanoseconds.
    pub age: u64,
    #[serde(rename = "CPUEntitlement")]
    pub cpu_entitlement: u64,
}

/// The kernel's numbers by its own names, and one of Garden's.
pub type MemoryStat = BTreeMap<&'static str, u64>;

/// Nanoseconds.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CpuStat {
    pub usage: u64,
    pub user: u64,
    pub system: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DiskStat {
    pub total_bytes_used: u64,
    pub total_inodes_used: u64,
    pub exclusive_bytes_used: u64,
    pub exclusive_inodes_used: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkStat {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PidStat {
    pub current: u64,
    /// 0 = no limit.
    pub max: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ProcessSpec {
    pub id: String,
    pub path: String,
    #[serde(deserialize_with = "items")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "items")]
    pub env: Vec<String>,
    pub dir: String,
    pub user: String,
    pub rlimits: ResourceLimits,
    pub tty: Option<Tty>,
    pub image: ImageRef,
    #[serde(deserialize_with = "items")]
    pub bind_mounts: Vec<BindMount>,
    /// Present and empty is not the same as missing.
    pub limits: Option<ProcessLimits>,
}

/// Limits of a process with an image of its own, instead of those of its container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ProcessLimits {
    pub cpu_limits: CpuLimits,
    pub memory_limits: MemoryLimits,
}

/// Soft and hard limit alike; 0 is a limit, missing is none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ResourceLimits {
    #[serde(rename = "as")]
    pub address_space: Option<u64>,
    pub core: Option<u64>,
    pub cpu: Option<u64>,
    pub data: Option<u64>,
    pub fsize: Option<u64>,
    pub locks: Option<u64>,
    pub memlock: Option<u64>,
    pub msgqueue: Option<u64>,
    pub nice: Option<u64>,
    pub nofile: Option<u64>,
    pub nproc: Option<u64>,
    pub rss: Option<u64>,
    pub rtprio: Option<u64>,
    pub sigpending: Option<u64>,
    pub stack: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Tty {
    pub window_size: Option<WindowSize>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct WindowSize {
    pub columns: u16,
    pub rows: u16,
}

/// What a client says on the main connection of a process. Which member is present decides what it means.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FromClient {
    pub tty: Option<Tty>,
    /// 0 = standard input.
    pub source: Option<u64>,
    /// Missing = the end of the input.
    pub data: Option<String>,
    /// 0 = terminate, 1 = kill.
    pub signal: Option<u64>,
}

/// The first object on the main connection.
#[derive(Debug, Serialize)]
pub struct ProcessStarted<'a> {
    pub process_id: &'a str,
    pub stream_id: &'a str,
}

/// The last object on the main connection.
#[derive(Debug, Serialize)]
pub struct ProcessEnded<'a> {
    pub process_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
