//! Where a node keeps its files: fixed places below an optional root, so that several nodes fit on one machine.
//!
//! Only names are made here; whoever owns a file creates it.

use std::path::{Path, PathBuf};

/// All places of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
    credential: Option<PathBuf>,
}

impl Paths {
    /// The places below `root`, or the machine's own where there is none.
    pub fn from_root(root: Option<&Path>) -> Self {
        Paths {
            root: root.unwrap_or(Path::new("/")).to_path_buf(),
            credential: None,
        }
    }

    /// The same places, with an administrator's credential at another one.
    pub fn with_credential(self, credential: Option<PathBuf>) -> Self {
        Paths { credential, ..self }
    }

    /// The root all other places are below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Settings of the node: `/etc/kato`.
    pub fn etc(&self) -> PathBuf {
        self.root.join("etc/kato")
    }

    /// What kato and the agent keep: `/var/lib/kato`.
    pub fn kato_lib(&self) -> PathBuf {
        self.root.join("var/lib/kato")
    }

    /// The agent's sockets and pid files: `/run/kato`.
    pub fn kato_run(&self) -> PathBuf {
        self.root.join("run/kato")
    }

    /// What fence keeps: `/var/lib/fence`.
    pub fn fence_lib(&self) -> PathBuf {
        self.root.join("var/lib/fence")
    }

    /// Fence's sockets: `/run/fence`.
    pub fn fence_run(&self) -> PathBuf {
        self.root.join("run/fence")
    }

    /// Logs of processes that the agent runs itself.
    pub fn log_dir(&self) -> PathBuf {
        self.root.join("var/log/kato")
    }

    /// What the node knows of itself.
    pub fn node_file(&self) -> PathBuf {
        self.etc().join("node.yml")
    }

    /// The config tree of a micro cloud.
    pub fn tree_db(&self) -> PathBuf {
        self.kato_lib().join("tree.db")
    }

    /// Keys and certificates of a cluster's node, and of the core its CA: `/var/lib/kato/pki`.
    pub fn pki(&self) -> PathBuf {
        self.kato_lib().join("pki")
    }

    /// What a member of the config store keeps, with its settings in `etcd.yml`: `/var/lib/kato/etcd`.
    pub fn etcd(&self) -> PathBuf {
        self.kato_lib().join("etcd")
    }

    /// What the image registry of the core keeps: images, settings, keys: `/var/lib/kato/registry`.
    pub fn registry(&self) -> PathBuf {
        self.kato_lib().join("registry")
    }

    /// What Docker is to know of registries, a folder each: `/etc/docker/certs.d`.
    pub fn docker_trust(&self) -> PathBuf {
        self.root.join("etc/docker/certs.d")
    }

    /// Where root's Docker client, and fence, have their accounts at registries: `/root/.docker/config.json`.
    pub fn docker_accounts(&self) -> PathBuf {
        self.root.join("root/.docker/config.json")
    }

    /// Where the config store's members answer, as this node last heard.
    pub fn endpoints_file(&self) -> PathBuf {
        self.kato_lib().join("endpoints.json")
    }

    /// An administrator's credential, where this node has one.
    pub fn credential_file(&self) -> PathBuf {
        let usual = || self.etc().join("credential.yml");
        self.credential.clone().unwrap_or_else(usual)
    }

    /// The agent's socket.
    pub fn agent_socket(&self) -> PathBuf {
        self.kato_run().join("agent.sock")
    }

    /// What the agent remembers: roles, wanted states, generations.
    pub fn agent_state(&self) -> PathBuf {
        self.kato_lib().join("agent.json")
    }

    /// The last config the agent saw.
    pub fn agent_config_cache(&self) -> PathBuf {
        self.kato_lib().join("config-cache.json")
    }

    /// The last config fence saw.
    pub fn fence_config_cache(&self) -> PathBuf {
        self.fence_lib().join("config-cache.json")
    }

    /// Fence's Garden API.
    pub fn garden_socket(&self) -> PathBuf {
        self.fence_run().join("garden.sock")
    }

    /// The truth about this node's containers.
    pub fn inventory_db(&self) -> PathBuf {
        self.fence_lib().join("inventory.db")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_root_the_places_are_the_machines_own() {
        let paths = Paths::from_root(None);
        assert_eq!(paths.node_file(), Path::new("/etc/kato/node.yml"));
        assert_eq!(paths.garden_socket(), Path::new("/run/fence/garden.sock"));
    }

    #[test]
    fn a_root_goes_before_every_place() {
        let paths = Paths::from_root(Some(Path::new("/tmp/a")));
        assert_eq!(paths.tree_db(), Path::new("/tmp/a/var/lib/kato/tree.db"));
        assert_eq!(paths.log_dir(), Path::new("/tmp/a/var/log/kato"));
    }
}
