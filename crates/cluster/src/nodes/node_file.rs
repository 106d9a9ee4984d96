//! `/etc/kato/node.yml`: what a node knows of itself before it can read the tree.
//!
//! Written by `kato node setup`, read by every program at its start. Unknown keys are refused: a misspelt one would be
//! silently without effect.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Error, Paths, Result};
use crate::config::Name;
use crate::files;

/// The largest file that is read.
const MAX_BYTES: u64 = 64 * 1024;

/// What a node knows of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    /// The node's name in the cluster; the host name unless chosen otherwise.
    pub name: Name,
    /// Made once at setup; containers carry it in the label `io.fence.node`.
    pub id: Uuid,
    /// What kind of cloud the node belongs to.
    pub kind: Kind,
    /// What the node does.
    pub roles: Vec<Role>,
    /// The container engine of this node.
    pub docker: DockerSettings,
    /// The cluster it belongs to; there is one where `kind` is [`Kind::Cluster`], and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Membership>,
}

/// What kind of cloud a node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A cloud of one node; the tree is in SQLite.
    Micro,
    /// One of the nodes of a cluster; the tree is in etcd.
    Cluster,
}

/// The cluster that a node belongs to, or asks to belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Where the core's agent answers: `host:port`.
    pub core: String,
    /// The SHA-256 of the cluster's CA certificate (DER), in lower-case hex. Nothing signed by another is believed.
    pub ca: String,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The agent; every node has it.
    Base,
    /// The cluster's CA, its first member of the config store, the door for nodes that join.
    Core,
    /// A further member of the config store.
    Config,
    /// Containers: Docker and fence.
    Dea,
}

/// The container engine of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DockerSettings {
    /// The engine's socket.
    pub socket: PathBuf,
    /// The agent starts dockerd, since none ran before the node was set up.
    pub managed: bool,
}

impl Default for DockerSettings {
    fn default() -> Self {
        DockerSettings {
            socket: PathBuf::from("/var/run/docker.sock"),
            managed: false,
        }
    }
}

impl NodeFile {
    /// A new micro cloud's node with a fresh id.
    pub fn micro(name: &Name, docker: DockerSettings) -> Self {
        NodeFile {
            name: name.clone(),
            id: Uuid::now_v7(),
            kind: Kind::Micro,
            roles: vec![Role::Base, Role::Dea],
            docker,
            cluster: None,
        }
    }

    /// Read this node's file.
    pub fn load(paths: &Paths) -> Result<Self> {
        Self::load_from(&paths.node_file())
    }

    /// Write this node's file, whole or not at all, readable by everyone. Makes `/etc/kato` where it is missing.
    pub fn save(&self, paths: &Paths) -> Result<()> {
        let path = paths.node_file();
        let failed = |source: io::Error| Error::Write {
            path: path.clone(),
            source,
        };
        let content = yaml_serde::to_string(self).map_err(|source| failed(io::Error::other(source)))?;
        std::fs::create_dir_all(paths.etc()).map_err(failed)?;
        files::write_atomic(&path, content.as_bytes(), 0o644).map_err(failed)
    }

    fn load_from(path: &Path) -> Result<Self> {
        let content = files::read_limited(path, MAX_BYTES).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing {
                path: path.to_path_buf(),
            },
            _ => Error::Read {
                path: path.to_path_buf(),
                source,
            },
        })?;
        yaml_serde::from_slice(&content).map_err(|source| Error::Parse {
            path: path.to_path_buf(),
            source,
        })
    }
}

/// This machine's host name, the default name of a node.
pub fn host_name() -> Result<String> {
    let failed = |source: io::Error| Error::HostName { source };
    let name = nix::unistd::gethostname().map_err(|errno| failed(errno.into()))?;
    name.into_string()
        .map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidData, "it is not text")))
}

#[cfg(test)]
mod fixture_tests {
    use super::*;
    use fixtures::{kept, pin};

    #[test]
    fn a_file_of_each_version_is_read() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::from_root(Some(root.path()));
        let mut node = NodeFile::micro(&Name::new("one").unwrap(), DockerSettings::default());
        node.id = Uuid::from_u128(1);
        node.save(&paths).unwrap();
        pin("node.yml", &std::fs::read_to_string(paths.node_file()).unwrap());
        for version in kept("node.yml") {
            std::fs::write(paths.node_file(), &version.text).unwrap();
            assert_eq!(NodeFile::load(&paths).unwrap(), node, "of {}", version.version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn written(content: &str) -> (tempfile::TempDir, Paths) {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::from_root(Some(root.path()));
        std::fs::create_dir_all(paths.etc()).unwrap();
        std::fs::write(paths.node_file(), content).unwrap();
        (root, paths)
    }

    #[test]
    fn what_was_saved_is_loaded_again() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::from_root(Some(root.path()));
        let node = NodeFile::micro(&Name::new("one.example").unwrap(), DockerSettings::default());
        node.save(&paths).unwrap();
        assert_eq!(NodeFile::load(&paths).unwrap(), node);
        assert_eq!(
            paths.node_file().metadata().unwrap().permissions().mode() & 0o777,
            0o644
        );
    }

    #[test]
    fn a_machine_that_is_no_node_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        assert!(
            NodeFile::load(&Paths::from_root(Some(root.path())))
                .unwrap_err()
                .is_missing()
        );
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let (_root, paths) = written(
            "name: a\nid: 0193b0f0-0000-7000-8000-000000000000\nkind: micro\nroles: [base]\n\
             docker: {socket: /s, managed: false}\ncolour: red\n",
        );
        let error = NodeFile::load(&paths).unwrap_err();
        assert!(
            matches!(&error, Error::Parse { source, .. } if source.to_string().contains("colour")),
            "{error:?}"
        );
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let (_root, paths) = written(
            "name: a/b\nid: 0193b0f0-0000-7000-8000-000000000000\nkind: micro\nroles: [base]\n\
             docker: {socket: /s, managed: false}\n",
        );
        assert!(matches!(NodeFile::load(&paths).unwrap_err(), Error::Parse { .. }));
    }

    #[test]
    fn a_file_of_unbounded_size_is_refused() {
        let (_root, paths) = written(&"#".repeat(MAX_BYTES as usize + 1));
        assert!(matches!(NodeFile::load(&paths).unwrap_err(), Error::Read { .. }));
    }
}
