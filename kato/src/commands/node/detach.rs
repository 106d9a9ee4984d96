//! `kato node detach`: make a cluster's node a micro cloud again, with the configuration that it saw last.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cluster::config::{Config, KeyPath, Schema, Scope, Target, Tree};
use cluster::identity::Pki;
use cluster::nodes::{Kind, NodeFile, Role, lazy_tree};
use cluster::pairing::Pairing;
use cluster::store::Store;
use cluster::store::sqlite::SqliteStore;
use tokio::time::timeout;

use super::attach::remove_token;
use super::shared;
use crate::agent::client;
use crate::agent::wire::Action;
use crate::commands::Context;
use crate::commands::config::{change, problem as config_problem};
use crate::error::{Error, Exit, Result, chain};

/// How long the cluster may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(10);

/// Make this node a micro cloud again
///
/// Its containers go on, and it keeps the configuration that it saw last. Where this node has an administrator's
/// credential it leaves the cluster by itself; else an administrator removes it there.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node detach
  kato node detach --start       Also start its roles")]
pub struct DetachArgs {
    /// Start the node's roles
    #[arg(short = 's', long)]
    start: bool,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,
}

/// Detach.
pub async fn run(context: &Context, args: &DetachArgs) -> Result<Exit> {
    let paths = &context.paths;
    let (mut node, _) = shared::of(context)?;
    if node.roles.contains(&Role::Core) {
        return Err(Error::refused("the core cannot leave its cluster").hint("kato data export"));
    }
    if node.roles.contains(&Role::Config) {
        let message = "this node is a member of the config store";
        return Err(Error::refused(message).hint("on the core: kato role remove config"));
    }
    let was_in = Pki::new(paths.pki()).node_certificate().exists();
    let seen = match last_seen(context, &node).await {
        Err(error) if !was_in => {
            context.ui.detail(&chain(&error));
            context
                .ui
                .say("This node was never let in and has no configuration yet: it begins with the defaults.");
            Tree::default()
        }
        seen => seen?,
    };
    let tree = SqliteStore::create(&paths.tree_db())
        .await
        .map_err(config_problem::store)?;
    keep(Arc::new(tree), &node, &seen).await?;
    let left = leave(context, &node).await;
    node.kind = Kind::Micro;
    node.cluster = None;
    node.save(paths)?;
    let pki = Pki::new(paths.pki());
    // Not told to the core of another cluster.
    remove_token(paths)?;
    for file in [pki.node_certificate(), pki.ca(), paths.endpoints_file()] {
        // Of no use any more; what stays does no harm.
        let _ = std::fs::remove_file(file);
    }
    shared::restart(paths, &node, Duration::from_secs(args.timeout.into())).await?;
    if args.start {
        let within_ms = u64::from(args.timeout) * 1000;
        let processes = Vec::new();
        client::ask(paths, Action::Start { processes, within_ms }).await?;
    }
    context.ui.line(&format!("Node {} is a micro cloud.", node.name))?;
    if let Err(error) = left
        && was_in
    {
        context
            .ui
            .warn(&format!("The cluster still knows this node: {}", chain(&error)));
        context
            .ui
            .say(&format!("On the core: kato node remove --skip-detach {}", node.name));
    }
    Ok(Exit::Done)
}

/// What is set for this node, as the cluster has it now, or as this node saw it last.
async fn last_seen(context: &Context, node: &NodeFile) -> Result<Tree> {
    let paths = &context.paths;
    let config = Config::for_node(lazy_tree(paths, node), node.name.clone());
    let live = config
        .watch(&paths.agent_config_cache())
        .await
        .map_err(config_problem::tree)?;
    let snapshot = live.current();
    let defaults = Schema::standard().defaults();
    let set = snapshot
        .tree
        .iter()
        .filter(|(path, value)| defaults.leaf(path) != Some(value));
    Ok(set.map(|(path, value)| (path.clone(), value.clone())).collect())
}

/// Write it to the new tree.
async fn keep(store: Arc<dyn Store>, node: &NodeFile, seen: &Tree) -> Result<()> {
    let config = Config::new(store, node.name.clone());
    let author = change::author_of("kato node detach".to_owned());
    for (path, value) in seen.iter() {
        let target = Target {
            scope: Scope::Cluster,
            address: KeyPath::clone(path),
            own: false,
        };
        let set = config.set(&target, value.clone(), true, &author).await;
        set.map_err(config_problem::tree)?;
    }
    Ok(())
}

/// Tell the cluster, where this node may.
async fn leave(context: &Context, node: &NodeFile) -> Result<()> {
    let store = shared::tree(context).await?.2;
    let pairing = Pairing::new(store);
    let unpaired = timeout(GOODBYE, pairing.unpair(node.id)).await;
    match unpaired {
        Ok(unpaired) => unpaired.map(drop).map_err(super::problem::pairing),
        Err(_) => Err(Error::unreachable("it does not answer")),
    }
}
