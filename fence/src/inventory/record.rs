//! What is written down of one container.

use serde::{Deserialize, Serialize};

use crate::container::{ContainerSpec, Handle, Limits, MainInfo, PortMapping, ProcessId, Properties, State};

/// One container of this node. Fields added later need a default, so that an older record can still be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub handle: Handle,
    /// Unique for ever; the engine's label.
    pub instance: String,
    /// Empty until the engine has made it.
    pub engine_id: String,
    /// The first process on the host when last started; 0 = none.
    pub pid: i32,
    pub state: State,
    /// RFC 3339.
    pub created: String,
    pub spec: ContainerSpec,
    pub image: ImageRecord,
    /// In force, defaults filled in.
    pub limits: Limits,
    /// With the ports fence chose.
    pub ports: Vec<PortMapping>,
    pub ip: String,
    pub gateway: String,
    pub properties: Properties,
    /// 0 = never.
    pub grace_time_ns: u64,
    pub main: MainInfo,
    /// The image's command is to run.
    pub started: bool,
    /// It ended with the machine and is to be started again.
    #[serde(default)]
    pub comes_back: bool,
    /// Its processes are frozen.
    #[serde(default)]
    pub paused: bool,
    pub events: Vec<String>,
    /// Containers of its processes may have its IPC.
    #[serde(default)]
    pub shares_ipc: bool,
    /// Processes with an image of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peas: Vec<PeaRecord>,
    /// One more with every change; tells the record from an older copy. 0 in what a fence wrote that makes no copies.
    #[serde(default)]
    pub version: u64,
}

/// The image a container was made of, as it was then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    pub name: String,
    pub id: String,
    pub command: Vec<String>,
    pub env: Vec<String>,
    pub user: String,
    pub working_dir: String,
}

/// A process with an image of its own: what the engine has for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeaRecord {
    /// Its container's, a point, and what tells it from that container's others.
    pub instance: String,
    pub process: ProcessId,
    /// Empty until the engine has made it.
    pub engine_id: String,
    /// Its first process on the host; 0 = none.
    pub pid: i32,
    /// The process runs, or ran, and whoever asked for it may know.
    pub runs: bool,
}

impl PeaRecord {
    /// One that is to be made.
    pub fn new(container: &str, process: ProcessId) -> PeaRecord {
        let own = uuid::Uuid::new_v4().simple();
        PeaRecord {
            instance: format!("{container}.{own}"),
            process,
            engine_id: String::new(),
            pid: 0,
            runs: false,
        }
    }
}

#[cfg(test)]
impl Record {
    /// A record for tests.
    pub(crate) fn sample(handle: &str) -> Record {
        Record {
            handle: handle.parse().unwrap(),
            instance: format!("instance-of-{handle}"),
            engine_id: "e1".into(),
            pid: 1,
            state: State::Active,
            created: "2026-01-01T00:00:00Z".into(),
            spec: ContainerSpec::default(),
            image: ImageRecord::default(),
            limits: Limits::default(),
            ports: vec![PortMapping {
                host_port: 61001,
                container_port: 8080,
            }],
            ip: "172.17.0.2".into(),
            gateway: "172.17.0.1".into(),
            properties: Properties::default(),
            grace_time_ns: 0,
            main: MainInfo::default(),
            started: false,
            comes_back: false,
            paused: false,
            events: Vec::new(),
            shares_ipc: false,
            peas: Vec::new(),
            version: 1,
        }
    }
}
