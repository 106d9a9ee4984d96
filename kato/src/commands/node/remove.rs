//! `kato node remove`: put nodes out for good.

use std::sync::Arc;

use clap::Args;
use cluster::nodes::report::alive_key;
use cluster::nodes::{Nodes, Record, Role};
use cluster::pairing::Pairing;
use cluster::store::Store;

use super::{problem, shared};
use crate::commands::{Context, cloud};
use crate::completing;
use crate::error::{Error, Exit, Result};

/// Put nodes out of the cluster for good
///
/// A removed node is refused, at once and whenever it asks, until it is paired by its fingerprint again. Its containers go
/// on; back on it, kato node detach makes it a micro cloud. One that is destroyed needs --skip-detach.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node remove edge1
  kato node remove --skip-detach edge2 edge3     They do not answer any more")]
pub struct RemoveArgs {
    /// Also nodes that do not answer
    #[arg(short = 's', long)]
    skip_detach: bool,
    /// The nodes: their names or ids
    #[arg(value_name = "NODE", required = true, add = completing::nodes())]
    nodes: Vec<String>,
}

/// Remove them.
pub async fn run(context: &Context, args: &RemoveArgs) -> Result<Exit> {
    let (_, _, store) = shared::tree(context).await?;
    let pairing = Pairing::new(store.clone());
    // All are looked at before any is removed.
    let mut ids = Vec::new();
    for word in &args.nodes {
        let record = meant(&store, word).await?;
        let alive = store.get(&alive_key(record.id)).await;
        let alive =
            alive.map_err(|error| problem::store(error, "could not see whether the node answers".to_owned()))?;
        if alive.is_none() && !args.skip_detach {
            let message = format!(
                "node {} does not answer, so that it cannot learn that it is removed",
                record.name
            );
            return Err(Error::refused(message).hint(format!("kato node remove --skip-detach {}", record.name)));
        }
        ids.push(record.id);
    }
    for id in ids {
        let record = pairing.remove(id, &cloud::by()).await.map_err(problem::pairing)?;
        context.ui.line(&format!("Node {} is removed.", record.name))?;
    }
    Ok(Exit::Done)
}

/// The node that is to be put out. It is not the core: without that nobody could be let in.
pub async fn meant(store: &Arc<dyn Store>, word: &str) -> Result<Record> {
    let found = Nodes::new(Arc::clone(store)).find_surely(word).await;
    let record = found.map_err(problem::registry)?;
    match record.roles.contains(&Role::Core) {
        true => Err(Error::refused(format!("{} is the core of this cluster", record.name))),
        false => Ok(record),
    }
}
