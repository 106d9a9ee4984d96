//! Which processes there are, which role has them, and in which order they start and stop.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::nodes::Role;

/// A process of a node. The order of the variants is the order of starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Process {
    /// `kato agent`, which looks after the others.
    Agent,
    /// etcd, a member of the cluster's config store.
    Config,
    /// The container engine.
    Docker,
    /// The daemon that owns the node's containers.
    Fence,
}

/// There is no process of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no process {0:?}")]
pub struct UnknownProcess(pub String);

/// There is no role of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no role {0:?}")]
pub struct UnknownRole(pub String);

impl Process {
    /// All processes, in the order of starting.
    pub const ALL: [Process; 4] = [Process::Agent, Process::Config, Process::Docker, Process::Fence];

    /// Its name, also that of its component in the tree and of its log.
    pub fn name(self) -> &'static str {
        match self {
            Process::Agent => "agent",
            Process::Config => "config",
            Process::Docker => "docker",
            Process::Fence => "fence",
        }
    }

    /// The roles that have it.
    pub fn roles(self) -> &'static [Role] {
        match self {
            Process::Agent => &[Role::Base],
            Process::Config => &[Role::Core, Role::Config],
            Process::Docker | Process::Fence => &[Role::Dea],
        }
    }

    /// Those that should be ready before it is started.
    pub fn needs(self) -> &'static [Process] {
        match self {
            Process::Agent | Process::Config | Process::Docker => &[],
            Process::Fence => &[Process::Docker],
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Process {
    type Err = UnknownProcess;

    fn from_str(name: &str) -> Result<Self, UnknownProcess> {
        Process::ALL
            .into_iter()
            .find(|process| process.name() == name)
            .ok_or_else(|| UnknownProcess(name.to_owned()))
    }
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 4] = [Role::Base, Role::Core, Role::Config, Role::Dea];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Base => "base",
            Role::Core => "core",
            Role::Config => "config",
            Role::Dea => "dea",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Role::ALL
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or_else(|| UnknownRole(name.to_owned()))
    }
}

/// The processes of these roles, in the order of starting.
pub fn of_roles(roles: &[Role]) -> Vec<Process> {
    Process::ALL
        .into_iter()
        .filter(|process| process.roles().iter().any(|role| roles.contains(role)))
        .collect()
}

/// These processes, each once, in the order of starting.
pub fn in_start_order(processes: &[Process]) -> Vec<Process> {
    let mut ordered = processes.to_vec();
    ordered.sort_unstable();
    ordered.dedup();
    ordered
}

/// These processes, each once, in the order of stopping: who needs another stops before it.
pub fn in_stop_order(processes: &[Process]) -> Vec<Process> {
    let mut ordered = in_start_order(processes);
    ordered.reverse();
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_process_and_role() {
        for process in Process::ALL {
            assert_eq!(process.name().parse(), Ok(process));
            assert_eq!(serde_json::to_value(process).unwrap(), process.name());
        }
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
        assert!("nginx".parse::<Process>().is_err());
        assert!("router".parse::<Role>().is_err());
    }

    #[test]
    fn who_is_needed_starts_before_and_stops_after() {
        for process in Process::ALL {
            assert!(process.needs().iter().all(|needed| *needed < process), "{process}");
        }
        let both = [Process::Fence, Process::Docker, Process::Fence];
        assert_eq!(in_start_order(&both), [Process::Docker, Process::Fence]);
        assert_eq!(in_stop_order(&both), [Process::Fence, Process::Docker]);
    }

    #[test]
    fn a_role_brings_its_processes() {
        assert_eq!(of_roles(&[Role::Base]), [Process::Agent]);
        let micro = [Process::Agent, Process::Docker, Process::Fence];
        assert_eq!(of_roles(&[Role::Dea, Role::Base]), micro);
        assert_eq!(of_roles(&[Role::Core, Role::Config]), [Process::Config]);
    }
}
