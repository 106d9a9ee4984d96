//! The names of the files in which a node has its keys and certificates: `/var/lib/kato/pki`. Only names are made here.
//!
//! ```text
//! node.key key.pub     the node's key, made when it is attached, never changed
//! ca.crt               the cluster's CA, checked by its fingerprint
//! node.crt             who the node is, renewed in time
//! config.crt peer.crt  on members of the config store: towards its clients, towards each other
//! peer-ca.crt          there: who signs for the members alone
//! ca.key peer/ root.key root.crt door.crt   on the core
//! ```

use std::path::{Path, PathBuf};

/// Names below one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pki(PathBuf);

impl Pki {
    /// Those below this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Pki(directory.into())
    }

    /// The directory itself, where a core has its CA.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// The cluster's CA.
    pub fn ca(&self) -> PathBuf {
        self.0.join("ca.crt")
    }

    /// The node's private key.
    pub fn node_key(&self) -> PathBuf {
        self.0.join("node.key")
    }

    /// The node's public key.
    pub fn public_key(&self) -> PathBuf {
        self.0.join("key.pub")
    }

    /// The node's certificate.
    pub fn node_certificate(&self) -> PathBuf {
        self.0.join("node.crt")
    }

    /// What a member of the config store shows its clients; for the node's key.
    pub fn config_certificate(&self) -> PathBuf {
        self.0.join("config.crt")
    }

    /// What a member of the config store shows the others; for the node's key.
    pub fn peer_certificate(&self) -> PathBuf {
        self.0.join("peer.crt")
    }

    /// The CA of the members' certificates towards each other: no node's certificate is signed by it.
    pub fn peer_ca(&self) -> PathBuf {
        self.0.join("peer-ca.crt")
    }

    /// Where the core has that CA.
    pub fn peer_authority(&self) -> PathBuf {
        self.0.join("peer")
    }

    /// The private key by which the core has all rights in the config store.
    pub fn root_key(&self) -> PathBuf {
        self.0.join("root.key")
    }

    /// The certificate for it.
    pub fn root_certificate(&self) -> PathBuf {
        self.0.join("root.crt")
    }

    /// What the core's door shows; for the node's key.
    pub fn door_certificate(&self) -> PathBuf {
        self.0.join("door.crt")
    }
}
