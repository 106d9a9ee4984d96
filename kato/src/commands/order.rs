//! What orders to the agent have in common, whether they name processes or roles: their bound, and how they are told.

use std::time::Duration;

use clap::Args;
use cluster::nodes::{NodeFile, Role};
use cluster::process::{self, Observed, Process};

use super::Context;
use crate::agent::client;
use crate::agent::wire::Action;
use crate::error::{Exit, Result};

/// The bound of an order.
#[derive(Args, Clone, Copy, Debug)]
pub struct WithinArgs {
    /// Give up after so many seconds
    #[arg(long, value_name = "SECS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,
}

impl WithinArgs {
    /// The bound.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }

    /// The bound in milliseconds.
    pub fn millis(self) -> u64 {
        u64::from(self.timeout) * 1000
    }
}

/// The processes of these roles that the agent starts and stops.
pub fn of_roles(node: &NodeFile, roles: &[Role]) -> Vec<Process> {
    let mut processes = process::of_roles(roles);
    processes.retain(|process| *process != Process::Agent);
    processes.retain(|process| *process != Process::Docker || node.docker.managed);
    processes
}

/// Start these processes, and say which of them ran already.
pub async fn start(context: &Context, processes: Vec<Process>, within: WithinArgs) -> Result<Exit> {
    let within_ms = within.millis();
    let before = client::ask(&context.paths, Action::List).await?.processes;
    let ran = |now: &Observed| now.pid.is_some() && before.iter().any(|old| old.is_ready() && old.pid == now.pid);
    let done = |now: &Observed| if ran(now) { "is running" } else { "started" };
    give(context, processes, done, |processes| Action::Start {
        processes,
        within_ms,
    })
    .await
}

/// Give an order for these processes, if there are any, and say what became of it.
pub async fn give(
    context: &Context,
    processes: Vec<Process>,
    done: impl Fn(&Observed) -> &'static str,
    action: impl FnOnce(Vec<Process>) -> Action,
) -> Result<Exit> {
    if processes.is_empty() {
        return Ok(Exit::Done);
    }
    let names = processes
        .iter()
        .map(|process| process.name())
        .collect::<Vec<_>>()
        .join(", ");
    let progress = context.ui.progress(&names);
    let report = client::ask(&context.paths, action(processes.clone())).await?;
    drop(progress);
    for seen in report.processes.iter().filter(|seen| processes.contains(&seen.process)) {
        let pid = seen.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
        context.ui.say(&format!("{} {}{pid}", seen.process, done(seen)));
    }
    Ok(Exit::Done)
}
