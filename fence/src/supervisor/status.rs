//! How the node is, for whoever asks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use serde::Serialize;

use super::{ConfigState, Error, Problem, Result, Retiring, Supervisor};
use crate::container::State;
use crate::image::KeeperStatus;

/// How long the engine may take to say that it is there.
const ENGINE: Duration = Duration::from_secs(1);

/// What the node can hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    /// What is free for more containers.
    pub schedulable_disk_bytes: u64,
    pub max_containers: u64,
}

/// The node at this moment.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    pub node: String,
    pub node_id: String,
    pub version: &'static str,
    pub pid: u32,
    pub started_at: String,
    /// Containers of an earlier fence were taken over.
    pub ready: bool,
    pub engine: EngineStatus,
    pub config: ConfigState,
    pub image: KeeperStatus,
    pub containers: Counts,
    /// Where the node is being retired: how far that is.
    pub retiring: Option<Retiring>,
    /// What could not be cleaned up or put right yet, and is tried again; with no tries, what nobody can put right.
    pub problems: Vec<Problem>,
}

/// The engine at this moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EngineStatus {
    /// `ok` or `unavailable`.
    pub state: &'static str,
    pub problem: String,
    pub name: String,
    pub version: String,
    pub api: String,
    pub os: String,
    pub architecture: String,
}

/// How many containers there are.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    pub active: usize,
    pub stopped: usize,
    pub lost: usize,
    pub total: usize,
    pub max: usize,
}

/// Which parts the node runs.
#[derive(Clone, Debug, Serialize)]
pub struct NodeVersion {
    pub name: &'static str,
    pub version: &'static str,
    pub os: &'static str,
    pub architecture: &'static str,
    /// Of the init that new containers get: version and content.
    pub init: String,
    pub engine: EngineStatus,
}

impl Supervisor {
    /// How the node is. Bounded in time, whatever is wrong.
    pub async fn status(&self) -> NodeStatus {
        let parts = self.parts();
        let policy = self.policy();
        self.look_at_disks();
        let mut problems = self.rebuild_problems().await;
        problems.extend(self.repairs().problems());
        NodeStatus {
            node: parts.node_name.clone(),
            node_id: parts.node_id.clone(),
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            started_at: self.inner.started_at.to_string(),
            ready: self.inner.ready.load(Ordering::Acquire),
            engine: self.engine_status().await,
            config: policy.config.clone(),
            image: parts.images.status(),
            containers: self.counts(policy.max_containers),
            retiring: self.retirement(),
            problems,
        }
    }

    /// Which parts the node runs. Bounded in time, whatever is wrong.
    pub async fn version(&self) -> NodeVersion {
        NodeVersion {
            name: "fence",
            version: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            init: format!("{} {}", env!("CARGO_PKG_VERSION"), &self.parts().init.hash()[..12]),
            engine: self.engine_status().await,
        }
    }

    /// What the node can hold.
    pub async fn capacity(&self) -> Result<Capacity> {
        let failed = |source| Error::Engine {
            attempt: "ask for",
            what: "the node's size".into(),
            source,
        };
        let host = self.parts().engine.host().await.map_err(failed)?;
        // An engine with a file system of its own may keep its data where fence sees nothing; the root is the best guess.
        let disk = statvfs(host.data_dir.as_str()).or_else(|_| statvfs("/"));
        let disk = disk.map_err(|error| Error::Files {
            attempt: "measure",
            path: "/".into(),
            source: error.into(),
        })?;
        Ok(Capacity {
            memory_bytes: host.memory_bytes,
            disk_bytes: disk.blocks() * disk.fragment_size(),
            schedulable_disk_bytes: disk.blocks_available() * disk.fragment_size(),
            max_containers: self.policy().max_containers as u64,
        })
    }

    async fn engine_status(&self) -> EngineStatus {
        let unavailable = |problem| EngineStatus {
            state: "unavailable",
            problem,
            ..EngineStatus::default()
        };
        match tokio::time::timeout(ENGINE, self.parts().engine.version()).await {
            Ok(Ok(found)) => EngineStatus {
                state: "ok",
                problem: String::new(),
                name: found.name,
                version: found.version,
                api: found.api,
                os: found.os,
                architecture: found.architecture,
            },
            Ok(Err(error)) => unavailable(error.to_string()),
            Err(_) => unavailable(format!("the engine gave no answer within {} s", ENGINE.as_secs())),
        }
    }

    fn counts(&self, max: usize) -> Counts {
        let mut counts = Counts {
            max,
            ..Counts::default()
        };
        for entry in self.entries() {
            match entry.record().state {
                State::Active => counts.active += 1,
                State::Stopped => counts.stopped += 1,
                State::Lost | State::Destroying => counts.lost += 1,
                State::Creating => continue,
            }
            counts.total += 1;
        }
        counts
    }
}
