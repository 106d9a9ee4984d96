//! `kato config pop`: take an entry out of a list by its value.

use clap::Args;
use cluster::config::input;

use super::change::{self, TypeArgs};
use super::{KeyArgs, ScopeArgs, open, problem};
use crate::commands::Context;
use crate::error::{Exit, Result};

/// Remove the first entry of this value from a list
///
/// The list that is left is printed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato config pop fence docker/image exampleco/fallback")]
pub struct PopArgs {
    #[command(flatten)]
    types: TypeArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The entry's value; read from the standard input when left out
    #[arg(value_name = "VALUE", allow_negative_numbers = true)]
    value: Option<String>,
}

/// Take it out and print what is left.
pub async fn run(context: &Context, args: &PopArgs) -> Result<Exit> {
    let config = open(context).await?;
    let target = args.key.target(config.node(), args.scope.scope()?)?;
    args.scope.warn_if_absent(context, &config).await;
    let text = change::text(context, args.value.as_ref())?;
    let values = input::read_candidates(&target, &text, args.types.format()).map_err(problem::tree)?;
    let author = change::author(args.key.given("pop", &args.scope));
    let changed = config.pop(&target, values, &author).await.map_err(problem::tree)?;
    change::report(context, &config, &target, &changed)?;
    Ok(Exit::Done)
}
