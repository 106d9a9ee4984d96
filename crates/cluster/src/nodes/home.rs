//! Opening the tree that a node uses: the home that its kind of cloud has, with the rights that are asked for.
//!
//! The one place that chooses between the homes of [`crate::store`]. Nothing is made here: a home is made by
//! `kato node setup`.

use std::sync::Arc;

use super::{Kind, NodeFile, Paths};
use crate::store::sqlite::SqliteStore;
use crate::store::{Error, Result, Store};

/// With whose rights the tree is opened. On a micro cloud the file's own rights decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The node's own: it reads what is not secret and writes below its own name.
    Node,
    /// An administrator's: everything.
    Administrator,
}

/// Open the tree of this node.
pub async fn open_tree(paths: &Paths, node: &NodeFile, _access: Access) -> Result<Arc<dyn Store>> {
    match node.kind {
        Kind::Micro => Ok(Arc::new(SqliteStore::open(&paths.tree_db()).await?)),
        Kind::Cluster => Err(Error::Missing {
            place: paths.endpoints_file().display().to_string(),
        }),
    }
}

/// The tree of this node with the node's own rights, for a daemon: opened when it is first used, so that one that is gone
/// just now keeps nobody from starting.
pub fn lazy_tree(paths: &Paths, node: &NodeFile) -> Arc<dyn Store> {
    match node.kind {
        Kind::Micro | Kind::Cluster => Arc::new(SqliteStore::lazy(&paths.tree_db())),
    }
}
