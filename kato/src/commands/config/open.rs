//! The config tree of this node, for a command.

use std::sync::Arc;

use cluster::config::Config;
use cluster::nodes::{Access, NodeFile, open_tree};
use cluster::store::Store;

use super::problem;
use crate::agent::joining::standing;
use crate::commands::Context;
use crate::error::{Error, Result};

/// Open the tree this node uses. Where there is none, nothing is made.
pub async fn open(context: &Context) -> Result<Config> {
    let (node, store) = open_store(context).await?;
    Ok(Config::new(store, node.name))
}

/// This node and the store of its tree, with an administrator's rights where there is a credential, else the node's.
pub async fn open_store(context: &Context) -> Result<(NodeFile, Arc<dyn Store>)> {
    let node = NodeFile::load(&context.paths)?;
    if !context.paths.credential_file().exists()
        && let Some((what, hint)) = standing::unpaired(&context.paths, &node)
    {
        return Err(Error::unreachable(what).hint(hint));
    }
    let store = open_tree(&context.paths, &node, Access::Administrator).await;
    Ok((node, store.map_err(problem::store)?))
}
