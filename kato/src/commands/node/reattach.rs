//! `kato node reattach`: find the core of this node's cluster at a new place.

use std::time::Duration;

use clap::Args;
use cluster::identity::Address;
use cluster::nodes::{Membership, Role};

use super::shared;
use crate::agent::joining::client::fetch_ca;
use crate::commands::Context;
use crate::error::{Error, Exit, Result};

/// Find the core of this node's cluster at a new place
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato node reattach 10.0.0.9")]
pub struct ReattachArgs {
    /// The core: its host, and its port where that is not 8443
    #[arg(value_name = "CORE")]
    core: Address,
}

/// Reattach.
pub async fn run(context: &Context, args: &ReattachArgs) -> Result<Exit> {
    let (mut node, membership) = shared::of(context)?;
    if node.roles.contains(&Role::Core) {
        return Err(Error::refused("this machine is the core of its cluster itself"));
    }
    let (_, is) = fetch_ca(&args.core).await?;
    if is.as_str() != membership.ca {
        let message = format!(
            "what answers at {} is the core of another cluster: its CA is {is}",
            args.core
        );
        return Err(Error::refused(message));
    }
    node.cluster = Some(Membership {
        core: args.core.to_string(),
        ca: membership.ca,
    });
    node.save(&context.paths)?;
    shared::restart(&context.paths, &node, Duration::from_secs(120)).await?;
    context
        .ui
        .line(&format!("Node {} finds its core at {} now.", node.name, args.core))?;
    Ok(Exit::Done)
}
