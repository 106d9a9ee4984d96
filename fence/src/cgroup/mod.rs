//! What the kernel counts of a container, read from its cgroup's files, of either version. Knows files and numbers;
//! which process belongs to which container is the caller's business.
//!
//! Version 1 has a hierarchy for each controller, version 2 one for all. What only one of them counts is zero with the
//! other, except that version 1's names for anonymous memory and the cache of files are filled in from version 2's.

mod parse;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Where the hierarchies are.
pub const ROOT: &str = "/sys/fs/cgroup";

/// What a container uses and may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub memory: Memory,
    pub cpu: Cpu,
    pub pids: Pids,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// By the kernel's names of version 1, with those of version 2 beside them where that is in use.
    pub stat: BTreeMap<String, u64>,
    /// What counts against the limit and cannot be taken back at once.
    pub usage_bytes: u64,
    /// `None` = no limit.
    pub limit_bytes: Option<u64>,
}

/// Time on processors since the container began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    pub usage_ns: u64,
    pub user_ns: u64,
    pub system_ns: u64,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pids {
    pub current: u64,
    /// `None` = no limit.
    pub max: Option<u64>,
}

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} makes no sense", path.display())]
    Content { path: PathBuf },
    #[error("the process {pid} is in no cgroup of {name}")]
    NotThere { pid: i32, name: String },
}

/// The cgroups of a process, as `/proc/PID/cgroup` names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    table: String,
}

impl Places {
    /// Those of the process with this pid, which has to be in one whose path contains `name`: a pid may be another's by now.
    pub fn of(pid: i32, name: &str) -> Result<Places, Error> {
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let table = parse::read(&path)?;
        if name.is_empty() || !table.lines().any(|line| line.contains(name)) {
            let name = name.to_owned();
            return Err(Error::NotThere { pid, name });
        }
        Ok(Places { table })
    }

    /// What is counted there, below this root.
    pub fn usage(&self, root: &Path) -> Result<Usage, Error> {
        match v1::folder(root, &self.table, "memory") {
            Some(memory) => v1::usage(root, &self.table, &memory),
            None => v2::usage(&v2::folder(root, &self.table)),
        }
    }
}
