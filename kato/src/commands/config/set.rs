//! `kato config set`: put a value in place of what is there.

use clap::Args;
use cluster::config::input;

use super::change::{self, TypeArgs};
use super::{KeyArgs, ScopeArgs, open, problem};
use crate::commands::{Context, image};
use crate::error::{Exit, Result};

/// Set a value
///
/// A value without a type takes the key's known type; of other keys a JSON list or map is a struct, everything else a
/// string. A value that is refused changes nothing. What was set is printed as `kato config get` does.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato config set fence docker/image exampleco/newimg:1.0.0
  kato config set fence docker/image '[\"exampleco/newimg\", \"exampleco/base\"]'
  kato config set local fence/max_containers 20     For this node alone
  kato config set --yaml fence / < fence.yml        Replace the whole component")]
pub struct SetArgs {
    #[command(flatten)]
    types: TypeArgs,
    /// Let the key change its type; or take an image that is not for the architecture of all its nodes
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The value; read from the standard input when left out
    #[arg(value_name = "VALUE", allow_negative_numbers = true)]
    value: Option<String>,
}

/// Set it and print it.
pub async fn run(context: &Context, args: &SetArgs) -> Result<Exit> {
    let config = open(context).await?;
    let target = args.key.target(config.node(), args.scope.scope()?)?;
    args.scope.warn_if_absent(context, &config).await;
    let text = change::text(context, args.value.as_ref())?;
    let read = input::read(config.schema(), &target, &text, args.types.format()).map_err(problem::tree)?;
    change::warn_of_type(context, &read);
    if !args.force {
        image::check::before_it_is_configured(context, &target, &read.value).await?;
    }
    let author = change::author(args.key.given("set", &args.scope));
    let changed = config
        .set(&target, read.value, args.force, &author)
        .await
        .map_err(problem::tree)?;
    change::report(context, &config, &target, &changed)?;
    Ok(Exit::Done)
}
