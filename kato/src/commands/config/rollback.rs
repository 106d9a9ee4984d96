//! `kato config rollback`: make the tree, or a part of it, what it was.

use clap::Args;
use cluster::config::{Difference, Error as Tree, RolledBack};
use serde::Serialize;

use super::part::PartArgs;
use super::{change, open, problem, words};
use crate::commands::{Context, image};
use crate::error::{Error, Exit, Result};
use crate::ui::{Format, FormatArgs};

/// Make the configuration what it was after a revision
///
/// All that was changed since is undone in one step, and recorded as a change that can be undone as well. Values that
/// are refused today change nothing. Secrets stay as they are: what they were is not remembered. One step changes at most
/// 110 keys; beyond that go back component by component.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato config rollback 12 --dry-run             What would be changed
  kato config rollback 12                       Undo all that was changed after revision 12
  kato config rollback 12 fence docker/image    Of one key alone, in all layers
  kato config rollback 12 local                 Of this node's own values alone")]
pub struct RollbackArgs {
    /// Show what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take an image that is not for the architecture of all its nodes
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    format: FormatArgs,
    /// The state to go back to, by its revision in kato config history
    #[arg(value_name = "REVISION")]
    to: u64,
    #[command(flatten)]
    part: PartArgs,
}

/// The document that `-j` and `-y` print.
#[derive(Serialize)]
struct Document<'a> {
    /// Of the configuration afterwards.
    revision: u64,
    dry_run: bool,
    differences: &'a [Difference],
    /// Secrets that stay as they are although they were changed.
    secrets: Vec<String>,
}

/// Go back.
pub async fn run(context: &Context, args: &RollbackArgs) -> Result<Exit> {
    let config = open(context).await?;
    let part = args.part.part(context, &config).await?;
    let would_be = config.would_roll_back(args.to, &part).await;
    let mut done = would_be.map_err(|error| too_much(args, error))?;
    if !args.dry_run {
        if !args.force {
            image::check::before_they_are_configured(context, &done.differences).await?;
        }
        let author = change::author(format!("rollback {}{}", args.to, args.part.given()));
        let rolled_back = config.rollback(args.to, &part, &author).await;
        done = rolled_back.map_err(|error| too_much(args, error))?;
    }
    print(context, args, &done)?;
    for secret in &done.secrets {
        context
            .ui
            .warn(&format!("The secret {secret} was changed since and stays as it is"));
    }
    say(context, args, &done);
    if !args.dry_run {
        change::say_which_need_a_restart(context, &config, &done.differences);
    }
    Ok(Exit::Done)
}

fn too_much(args: &RollbackArgs, error: Tree) -> Error {
    let is_too_much = matches!(error, Tree::TooMuch { .. });
    let error = problem::tree(error);
    match is_too_much {
        true => error.hint(format!(
            "a part at a time: kato config rollback {} COMPONENT KEY-PATH",
            args.to
        )),
        false => error,
    }
}

fn print(context: &Context, args: &RollbackArgs, done: &RolledBack) -> Result<()> {
    match args.format.format() {
        Format::Text => words::differences(&context.ui, &done.differences),
        format => {
            let document = Document {
                revision: done.revision,
                dry_run: args.dry_run,
                differences: &done.differences,
                secrets: done.secrets.iter().map(ToString::to_string).collect(),
            };
            context.ui.document(format, &document)
        }
    }
}

fn say(context: &Context, args: &RollbackArgs, done: &RolledBack) {
    let ui = context.ui;
    if done.differences.is_empty() {
        ui.say(&format!("Nothing to do: all is as it was at revision {}", args.to));
    } else if args.dry_run {
        ui.say("This would be changed; nothing was");
    } else {
        ui.say(&format!("Back at revision {}, as revision {}", args.to, done.revision));
    }
}
