//! What the commands that act on the cluster share: the cluster this node is of, and pairing with an administrator's rights.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster::config::Name;
use cluster::identity::{Credential, Pki};
use cluster::nodes::report::state;
use cluster::nodes::{Membership, NodeFile, Paths, Role, node_store};
use cluster::pairing::Pairing;
use cluster::process::Process;
use cluster::store::Store;
use tokio::time::{Instant, sleep};

use super::setup;
use crate::agent::wire::Action;
use crate::agent::{client, detach};
use crate::commands::Context;
use crate::commands::config::open_store;
use crate::error::{Error, Result};

/// How long the others may take to hear of a node once it is in, and how often is looked.
const HEARD_OF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(250));

/// This node and the cluster that it is of.
pub fn of(context: &Context) -> Result<(NodeFile, Membership)> {
    let node = NodeFile::load(&context.paths)?;
    match node.cluster.clone() {
        Some(membership) => Ok((node, membership)),
        None => Err(Error::refused("this node is a micro cloud").hint("kato node setup core HOST")),
    }
}

/// The cluster's tree with an administrator's rights.
pub async fn tree(context: &Context) -> Result<(NodeFile, Membership, Arc<dyn Store>)> {
    let (_, membership) = of(context)?;
    let (node, store) = open_store(context).await?;
    Ok((node, membership, store))
}

/// Pairing with an administrator's rights.
pub async fn pairing(context: &Context) -> Result<Pairing> {
    Ok(Pairing::new(tree(context).await?.2))
}

/// Whose credential the commands of this machine use, where there is one.
pub fn administrator(context: &Context) -> Option<Name> {
    let credential = Credential::load(&context.paths.credential_file()).ok()?;
    Some(credential.name)
}

/// Roles that an administrator names for a node that is let in.
pub fn roles(named: &[String]) -> Result<Vec<Role>> {
    let roles = super::attach::roles(named)?;
    match roles.contains(&Role::Core) {
        true => Err(Error::refused("a cluster has one core")),
        false => Ok(roles),
    }
}

/// Have an agent that knows the node's file as it is now, and fence after it: both open the tree anew. Processes and
/// containers go on meanwhile.
pub async fn restart(paths: &Paths, node: &NodeFile, within: Duration) -> Result<()> {
    let runs = client::is_there(paths).await?;
    if runs {
        client::ask(paths, Action::Leave).await?;
        detach::gone(paths).await?;
    }
    detach::have_agent(paths).await?;
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    if runs && node.roles.contains(&Role::Dea) {
        let processes = vec![Process::Fence];
        client::ask(paths, Action::Restart { processes, within_ms }).await?;
    }
    Ok(())
}

/// Put the tree of a micro cloud aside, which this node does not use any more. It can be looked at, and put back.
pub fn put_tree_aside(paths: &Paths) -> Result<()> {
    let tree = paths.tree_db();
    for end in ["", "-wal", "-shm"] {
        let from = PathBuf::from(format!("{}{end}", tree.display()));
        let to = PathBuf::from(format!("{}.micro{end}", tree.display()));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let message = format!("could not put {} aside", from.display());
                return Err(Error::failed(message).because(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The directory of keys, for its owner alone.
pub fn make_pki(pki: &Pki) -> Result<()> {
    for place in [pki.directory().to_path_buf(), pki.peer_authority()] {
        setup::make_place(&place, 0o700)
            .map_err(|error| Error::failed(format!("could not make {}", place.display())).because(error))?;
    }
    Ok(())
}

/// Wait until the others hear of the node, so that what follows finds it alive; within a bound, for it is in all the same.
pub async fn heard_of(paths: &Paths, node: &NodeFile) {
    let store = node_store(paths);
    let deadline = Instant::now() + HEARD_OF.0;
    while Instant::now() < deadline {
        match state(&store, node.id).await {
            Ok(state) if state.alive.is_some() && state.report.is_some() => return,
            _ => sleep(HEARD_OF.1).await,
        }
    }
}
