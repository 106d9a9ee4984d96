//! `kato node remove`: put nodes out for good.

use clap::Args;
use cluster::nodes::report::alive_key;
use cluster::nodes::{Nodes, Role};
use cluster::pairing::Pairing;

use super::{problem, shared};
use crate::commands::{Context, cloud};
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
    /// The nodes: their names, ids, or addresses
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

/// Remove them.
pub async fn run(context: &Context, args: &RemoveArgs) -> Result<Exit> {
    let (_, _, store) = shared::tree(context).await?;
    let pairing = Pairing::new(store.clone());
    // All are looked at before any is removed.
    let mut ids = Vec::new();
    for word in &args.nodes {
        refuse_core(context, word).await?;
        let record = Nodes::new(store.clone()).find(word).await.map_err(problem::registry)?;
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
        ids.push(record.id.to_string());
    }
    for id in ids {
        let record = pairing.remove(&id, &cloud::by()).await.map_err(problem::pairing)?;
        context.ui.line(&format!("Node {} is removed.", record.name))?;
    }
    Ok(Exit::Done)
}

/// The core cannot be put out: without it nobody could be let in.
pub async fn refuse_core(context: &Context, word: &str) -> Result<()> {
    let (_, _, store) = shared::tree(context).await?;
    let record = Nodes::new(store).find(word).await.map_err(problem::registry)?;
    match record.roles.contains(&Role::Core) {
        true => Err(Error::refused(format!("{} is the core of this cluster", record.name))),
        false => Ok(()),
    }
}
