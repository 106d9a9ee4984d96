//! `kato process list`: the processes of this node and their states.

use clap::Args;

use super::{Context, named, table};
use crate::agent::client;
use crate::agent::wire::Action;
use crate::error::{Error, Exit, Result};
use crate::ui::{Format, FormatArgs};

/// List this node's processes and their states
///
/// States: RUNNING (it answers), STARTING (it runs and is not ready yet), STOPPING, STOPPED, BACKOFF (it died and is
/// started again soon), FATAL (it died again and again and is only tried now and then), ROGUE (it runs although no role
/// of the node has it).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato process list
  kato process list -j fence")]
pub struct ListArgs {
    /// The processes; all if none is named
    #[arg(value_name = "PROCESS")]
    processes: Vec<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// List.
pub async fn run(context: &Context, args: ListArgs) -> Result<Exit> {
    let asked = named(&args.processes)?;
    let mut seen = client::ask(&context.paths, Action::List).await?.processes;
    if !asked.is_empty() {
        seen.retain(|process| asked.contains(&process.process));
        if let Some(absent) = asked
            .iter()
            .find(|process| !seen.iter().any(|seen| seen.process == **process))
        {
            return Err(Error::not_found(format!("{absent} is no process of this node")).hint("kato process list"));
        }
    }
    match args.format.format() {
        Format::Text => context.ui.table(&table(&seen))?,
        format => context.ui.document(format, &seen)?,
    }
    Ok(Exit::Done)
}
