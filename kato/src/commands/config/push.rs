//! `kato config push`: add to the end of a list.

use clap::Args;
use cluster::config::input;
use serde_json::Value;

use super::change::{self, TypeArgs};
use super::{KeyArgs, ScopeArgs, open, problem};
use crate::commands::{Context, image};
use crate::error::{Exit, Result};

/// Add a value to the end of a list
///
/// The list begins with what is effective; where nothing is set one is made. The whole list is printed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato config push fence docker/image exampleco/fallback")]
pub struct PushArgs {
    #[command(flatten)]
    types: TypeArgs,
    /// Take an image that is not for the architecture of all its nodes
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

/// Add it and print the list.
pub async fn run(context: &Context, args: &PushArgs) -> Result<Exit> {
    let config = open(context).await?;
    let target = args.key.target(config.node(), args.scope.scope()?)?;
    args.scope.warn_if_absent(context, &config).await;
    let text = change::text(context, args.value.as_ref())?;
    let read = input::read_entry(&target, &text, args.types.format()).map_err(problem::tree)?;
    change::warn_of_type(context, &read);
    if !args.force {
        let mut list = match config.get(&target).await.map_err(problem::tree)? {
            Some(Value::Array(list)) => list,
            present => present.into_iter().collect(),
        };
        list.push(read.value.clone());
        image::check::before_it_is_configured(context, &target, &Value::Array(list)).await?;
    }
    let author = change::author(args.key.given("push", &args.scope));
    let changed = config.push(&target, read.value, &author).await.map_err(problem::tree)?;
    change::report(context, &config, &target, &changed)?;
    Ok(Exit::Done)
}
