//! The config tree of this node, for a command.

use cluster::config::Config;
use cluster::nodes::{Access, NodeFile, open_tree};

use super::problem;
use crate::commands::Context;
use crate::error::Result;

/// Open the tree this node uses. Where there is none, nothing is made.
pub async fn open(context: &Context) -> Result<Config> {
    let node = NodeFile::load(&context.paths)?;
    let store = open_tree(&context.paths, &node, Access::Administrator).await;
    Ok(Config::new(store.map_err(problem::store)?, node.name))
}
