//! The family `kato process`: the processes of this node one by one, where roles are too coarse.

mod control;
mod list;
mod ready;

use clap::Subcommand;
use cluster::process::{Observed, Process, State, UnknownProcess};

use super::Context;
use crate::error::{Error, Exit, Result};
use crate::ui::{Table, Tone};

/// What stands for all processes in the place of their names.
const ALL: &str = "all";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum ProcessCommand {
    List(list::ListArgs),
    Ready(ready::ReadyArgs),
    Start(control::StartArgs),
    Stop(control::StopArgs),
    Restart(control::RestartArgs),
}

/// Run one verb.
pub async fn run(context: &Context, command: ProcessCommand) -> Result<Exit> {
    match command {
        ProcessCommand::List(args) => list::run(context, args).await,
        ProcessCommand::Ready(args) => ready::run(context, args).await,
        ProcessCommand::Start(args) => control::start(context, args).await,
        ProcessCommand::Stop(args) => control::stop(context, args).await,
        ProcessCommand::Restart(args) => control::restart(context, args).await,
    }
}

/// The processes of these names.
fn named(names: &[String]) -> Result<Vec<Process>> {
    let all = || Process::ALL.map(Process::name).join(", ");
    let unknown = |error: UnknownProcess| Error::not_found(error.to_string()).hint(format!("processes: {}", all()));
    names.iter().map(|name| name.parse().map_err(unknown)).collect()
}

/// How a process looks in a table.
pub fn tone(seen: &Observed) -> Tone {
    match seen.state {
        _ if seen.is_in_order() => Tone::Good,
        State::Starting | State::Stopping => Tone::Waiting,
        _ => Tone::Bad,
    }
}

/// A table of processes.
pub fn table(processes: &[Observed]) -> Table {
    let mut table = Table::new(["process", "state", "pid", "since", "problem"]);
    for seen in processes {
        let pid = seen.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let since = seen.since.map_or_else(|| "-".to_owned(), crate::ui::time);
        table.row(
            tone(seen),
            [seen.process.name(), seen.state.name(), &pid, &since, &remark(seen)],
        );
    }
    table
}

/// What is to be said of a process beside its state.
fn remark(seen: &Observed) -> String {
    match (&seen.problem, seen.wanted) {
        (problem, _) if !problem.is_empty() => problem.clone(),
        (_, wanted) if wanted.is_running() && seen.state == State::Stopped => "it should run".to_owned(),
        _ => String::new(),
    }
}
