//! `kato config del`: take a key and all below it away.

use clap::Args;

use super::{KeyArgs, ScopeArgs, change, open, problem};
use crate::commands::Context;
use crate::error::{Exit, Result};

/// Remove a key and everything below it
///
/// A known key has its default again afterwards, or what a layer below sets.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato config del fence docker/image
  kato config del local fence/docker/image          This node's own value")]
pub struct DelArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    key: KeyArgs,
}

/// Take it away; nothing is printed.
pub async fn run(context: &Context, args: &DelArgs) -> Result<Exit> {
    let config = open(context).await?;
    let target = args.key.target(config.node(), args.scope.scope()?)?;
    args.scope.warn_if_absent(context, &config).await;
    let author = change::author(args.key.given("del", &args.scope));
    config.del(&target, &author).await.map_err(problem::tree)?;
    change::say_if_restart_is_needed(context, &config, &target);
    Ok(Exit::Done)
}
