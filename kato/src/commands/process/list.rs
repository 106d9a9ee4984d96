//! `kato process list`: the processes of this node, of another or of all, and their states.

use clap::Args;
use cluster::process::{Observed, Process};
use jiff::Timestamp;
use serde::Serialize;

use super::super::cloud::orders::unless_failed;
use super::super::cloud::{Seen, WhereArgs};
use super::{Context, named, table, tone};
use crate::agent::client;
use crate::agent::wire::Action;
use crate::error::{Error, Exit, Result};
use crate::ui::{self, Format, FormatArgs, Table, Tone};

/// List the processes of this node, of another or of all, and their states
///
/// States: RUNNING (it answers), STARTING (it runs and is not ready yet), STOPPING, STOPPED, BACKOFF (it died and is
/// started again soon), FATAL (it died again and again and is only tried now and then), ROGUE (it runs although no role
/// of the node has it).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato process list
  kato process list -j fence
  kato process list --cluster")]
pub struct ListArgs {
    /// The processes; all if none is named
    #[arg(value_name = "PROCESS")]
    processes: Vec<String>,
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// The processes of a node, for `--cluster`.
#[derive(Serialize)]
struct OfNode {
    node: String,
    alive: bool,
    /// When it said so.
    at: Option<Timestamp>,
    processes: Vec<Observed>,
}

/// List.
pub async fn run(context: &Context, args: ListArgs) -> Result<Exit> {
    let asked = named(&args.processes)?;
    if let Some((_, nodes)) = args.place.elsewhere(context).await? {
        return elsewhere(context, &args, &asked, nodes);
    }
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

/// What other nodes last said.
fn elsewhere(context: &Context, args: &ListArgs, asked: &[Process], nodes: Vec<Seen>) -> Result<Exit> {
    let mut dead = Vec::new();
    let mut all = Vec::new();
    for node in nodes {
        if !node.is_alive() {
            if !args.place.cluster {
                return Err(node.unreachable());
            }
            dead.push(format!("{}: {}", node.record.name, node.life()));
        }
        let (alive, report) = (node.is_alive(), node.state.report);
        let mut processes = report
            .as_ref()
            .map(|report| report.processes.clone())
            .unwrap_or_default();
        processes.retain(|seen| asked.is_empty() || asked.contains(&seen.process));
        all.push(OfNode {
            node: node.record.name.to_string(),
            alive,
            at: report.map(|report| report.at),
            processes,
        });
    }
    let total = all.len();
    match (args.format.format(), all.as_slice(), args.place.cluster) {
        (Format::Text, [one], false) => context.ui.table(&table(&one.processes))?,
        (Format::Text, all, _) => context.ui.table(&table_of_nodes(all))?,
        (format, [one], false) => context.ui.document(format, &one.processes)?,
        (format, all, _) => context.ui.document(format, &all)?,
    }
    unless_failed(dead, total)
}

fn table_of_nodes(nodes: &[OfNode]) -> Table {
    let mut table = Table::new(["node", "process", "state", "pid", "since", "problem"]);
    for of in nodes {
        for seen in &of.processes {
            let pid = seen.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let since = seen.since.map_or_else(|| "-".to_owned(), ui::time);
            let (state, problem) = match of.alive {
                true => (seen.state.name(), seen.problem.as_str()),
                false => ("unknown", "its node is dead"),
            };
            let tone = if of.alive { tone(seen) } else { Tone::Bad };
            table.row(tone, [&of.node, seen.process.name(), state, &pid, &since, problem]);
        }
    }
    table
}
