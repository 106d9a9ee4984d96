//! Opening the tree that a node uses: the home that its kind of cloud has, with the rights that are asked for.
//!
//! The one place that chooses between the homes of [`crate::store`]. Nothing is made here: a home is made by
//! `kato node setup`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Kind, NodeFile, Paths};
use crate::identity::{self, Credential, Pki};
use crate::store::etcd::{Credentials, Endpoints, EtcdStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{Error, Result, Store};

/// With whose rights the tree is opened. On a micro cloud the file's own rights decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The node's own: it reads what is not secret and writes below its own name.
    Node,
    /// An administrator's: everything. Without a credential on this node it is the node's own, and changes are not granted.
    Administrator,
}

/// Open the tree of this node. A cluster's is connected to when it is first used.
pub async fn open_tree(paths: &Paths, node: &NodeFile, access: Access) -> Result<Arc<dyn Store>> {
    match (node.kind, access) {
        (Kind::Micro, _) => Ok(Arc::new(SqliteStore::open(&paths.tree_db()).await?)),
        (Kind::Cluster, Access::Administrator) if paths.credential_file().exists() => {
            Ok(Arc::new(as_administrator(paths)?))
        }
        (Kind::Cluster, _) => Ok(Arc::new(node_store(paths))),
    }
}

/// The tree of this node with the node's own rights, for a daemon: opened when it is first used, so that one that is gone
/// just now keeps nobody from starting.
pub fn lazy_tree(paths: &Paths, node: &NodeFile) -> Arc<dyn Store> {
    match node.kind {
        Kind::Micro => Arc::new(SqliteStore::lazy(&paths.tree_db())),
        Kind::Cluster => Arc::new(node_store(paths)),
    }
}

/// The config store of a cluster's node, with the node's own rights.
pub fn node_store(paths: &Paths) -> EtcdStore {
    let pki = Pki::new(paths.pki());
    let credentials = Credentials {
        ca: pki.ca().into(),
        certificate: pki.node_certificate().into(),
        key: pki.node_key().into(),
    };
    EtcdStore::new(Endpoints::File(paths.endpoints_file()), Some(credentials))
}

fn as_administrator(paths: &Paths) -> Result<EtcdStore> {
    let path = paths.credential_file();
    let credential = Credential::load(&path).map_err(|error| unusable(&path, error))?;
    // What this node last heard is newer than what was written when the credential was made.
    let endpoints = match paths.endpoints_file() {
        file if file.exists() => Endpoints::File(file),
        _ => Endpoints::Given(credential.endpoints),
    };
    let credentials = Credentials {
        ca: credential.ca.into(),
        certificate: credential.certificate.into(),
        key: credential.key.into(),
    };
    Ok(EtcdStore::new(endpoints, Some(credentials)))
}

/// A credential that is not this user's to read is a matter of the machine's rights.
fn unusable(path: &Path, error: identity::Error) -> Error {
    let place = path.display().to_string();
    match &error {
        identity::Error::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Error::Denied {
            place,
            source: error.into(),
        },
        _ => Error::Failed {
            attempt: "use the credential for what is",
            place,
            source: error.into(),
        },
    }
}
