//! `kato config diff`: what two states of the tree differ in.

use clap::Args;

use super::{open, problem, words};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::ui::{Format, FormatArgs};

/// Show what differs between two revisions
///
/// A line with - for each value of the old state, one with + for each of the new one. The old state may be the later
/// one. Secrets are redacted; one that was changed in between counts as different.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato config diff 12                           What was changed after revision 12
  kato config diff 12 15                        What was changed from revision 12 to 15
  kato config diff --exit-code 12               Exit code 1 where something was changed")]
pub struct DiffArgs {
    /// Exit with 1 where something differs; a failure has another code then
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    format: FormatArgs,
    /// The old state, by its revision in kato config history; 0 is the empty configuration before all changes
    #[arg(value_name = "REVISION")]
    from: u64,
    /// The new state; the present one when left out
    #[arg(value_name = "REVISION2")]
    to: Option<u64>,
}

/// Show it.
pub async fn run(context: &Context, args: &DiffArgs) -> Result<Exit> {
    let shown = show(context, args).await;
    shown.map_err(|error| if args.exit_code { error.without_answer() } else { error })
}

async fn show(context: &Context, args: &DiffArgs) -> Result<Exit> {
    let config = open(context).await?;
    let diff = config.diff(args.from, args.to).await.map_err(problem::tree)?;
    match args.format.format() {
        Format::Text => words::differences(&context.ui, &diff.differences)?,
        format => context.ui.document(format, &diff)?,
    }
    words::unreadable(&context.ui, &diff.unreadable);
    if !diff.unreadable.is_empty() {
        return Ok(Exit::Partly);
    }
    if diff.differences.is_empty() {
        context.ui.say("Nothing differs");
    } else if args.exit_code {
        return Ok(Exit::Different);
    }
    Ok(Exit::Done)
}
