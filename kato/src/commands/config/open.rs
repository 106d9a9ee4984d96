//! The config tree of this node, for a command.

use cluster::config::Config;
use cluster::nodes::{Kind, NodeFile};
use cluster::store::sqlite::SqliteStore;

use super::problem;
use crate::commands::Context;
use crate::error::Result;

/// Open the tree this node uses. Where there is none, nothing is made.
pub async fn open(context: &Context) -> Result<Config> {
    let node = NodeFile::load(&context.paths)?;
    let store = match node.kind {
        Kind::Micro => SqliteStore::open(&context.paths.tree_db())
            .await
            .map_err(problem::store)?,
    };
    Ok(Config::new(std::sync::Arc::new(store), node.name))
}
