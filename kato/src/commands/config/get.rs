//! `kato config get`: what is effective.

use clap::Args;
use cluster::config::{Scope, Secrets, Target};
use serde_json::Value;

use super::{ScopeArgs, open, problem, show, target};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::ui::{Format, FormatArgs};

/// Print a value, a component or everything
///
/// What is printed is effective on this node: its own value before its realm's, that before the cluster's, else the
/// default. A single value is printed bare, lists and maps as YAML. Secrets are redacted.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato config get fence docker/image            The image of new containers
  kato config get fence                         All of fence's values
  kato config get local                         What is set for this node alone
  kato config get -f                            Everything, a line each")]
pub struct GetArgs {
    #[command(flatten)]
    format: FormatArgs,
    /// Print a line of path and value each
    #[arg(short = 'f', long, conflicts_with_all = ["json", "yaml"])]
    flat: bool,
    /// Show secret values
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    scope: ScopeArgs,
    /// cluster, local (this node's own values), or a process such as fence; all when left out
    #[arg(value_name = "COMPONENT")]
    component: Option<String>,
    /// The key, with / between its parts; the whole component when left out
    #[arg(value_name = "KEY-PATH")]
    path: Option<String>,
}

/// Print what is there.
pub async fn run(context: &Context, args: &GetArgs) -> Result<Exit> {
    let config = open(context).await?;
    let scope = args.scope.scope()?;
    let target = match &args.component {
        Some(component) => target(config.node(), scope, component, args.path.as_deref().unwrap_or("/"))?,
        None => Target {
            scope: scope.unwrap_or(Scope::Cluster),
            address: Default::default(),
            own: false,
        },
    };
    let target = Target {
        address: config.schema().canonical(&target.address),
        ..target
    };
    let secrets = if args.reveal {
        Secrets::Revealed
    } else {
        Secrets::Redacted
    };
    args.scope.warn_if_absent(context, &config).await;
    let tree = config.tree(&target, secrets).await.map_err(problem::tree)?;
    let value = match tree.nest(&target.address) {
        Some(value) => value,
        // That nothing is set for a node alone is an answer.
        None if target.address.is_root() => Value::Object(Default::default()),
        None => return Err(problem::tree(config.not_found(&target).await)),
    };
    match (args.flat, args.format.format()) {
        (true, _) => show::flat(&context.ui, &target, &tree),
        (_, Format::Text) => show::plain(&context.ui, &value),
        (_, format) => context.ui.document(format, &value),
    }?;
    Ok(Exit::Done)
}
