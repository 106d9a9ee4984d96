//! `kato node reattach`: the core of this node's cluster is at a new place. On the core itself: see [`super::moved`].

use std::time::Duration;

use clap::Args;
use cluster::identity::Address;
use cluster::nodes::{Membership, NodeFile, Role};

use super::{moved, shared};
use crate::agent::joining::client::fetch_ca;
use crate::agent::joining::{Place, renew};
use crate::commands::Context;
use crate::error::{Error, Exit, Result};

/// Find the core of this node's cluster at a new place
///
/// On the core itself: it is at a new place. Its etcd, its certificates and the cluster's endpoint follow, its processes
/// but not its containers are restarted, and the other nodes are to find it by the same command.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato node reattach 10.0.0.9")]
pub struct ReattachArgs {
    /// The core: its host, and its port where that is not 8443
    #[arg(value_name = "CORE")]
    core: Address,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,
}

/// Reattach.
pub async fn run(context: &Context, args: &ReattachArgs) -> Result<Exit> {
    let (node, membership) = shared::of(context)?;
    let within = Duration::from_secs(args.timeout.into());
    match node.roles.contains(&Role::Core) {
        true => moved::run(context, node, &membership, &args.core, within).await,
        false => find(context, node, membership, &args.core, within).await,
    }
}

async fn find(
    context: &Context,
    mut node: NodeFile,
    membership: Membership,
    core: &Address,
    within: Duration,
) -> Result<Exit> {
    let (_, is) = fetch_ca(core).await?;
    if is.as_str() != membership.ca {
        let message = format!("what answers at {core} is the core of another cluster: its CA is {is}");
        return Err(Error::refused(message));
    }
    let membership = Membership {
        core: core.to_string(),
        ca: membership.ca,
    };
    node.cluster = Some(membership.clone());
    node.save(&context.paths)?;
    // Where the config store answers is not known by the old list.
    let place = renew(&context.paths, &membership).await;
    shared::restart(&context.paths, &node, within).await?;
    match place {
        Ok(Place::Member) => {
            let text = format!("Node {} finds its core at {core} now.", node.name);
            context.ui.line(&text)?;
            Ok(Exit::Done)
        }
        Ok(_) => {
            let message = format!("the core at {core} does not know this node, which asks it from now on to be let in");
            Err(Error::refused(message).hint("on the core: kato node pending"))
        }
        Err(error) => {
            let message = format!("the core at {core} could not say where the config store is; it is asked again");
            Err(Error::unreachable(message).because(error).hint("kato status"))
        }
    }
}
