//! What is written down of one container.

use serde::{Deserialize, Serialize};

use crate::container::{ContainerSpec, Handle, Limits, MainInfo, PortMapping, Properties, State};

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
    pub events: Vec<String>,
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
            events: Vec::new(),
            version: 1,
        }
    }
}
