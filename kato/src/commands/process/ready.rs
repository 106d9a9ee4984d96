//! `kato process ready`: whether processes are ready, or wait until they are.

use std::time::Duration;

use clap::Args;
use cluster::nodes::Report;
use cluster::process::{Observed, Process};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::super::cloud::orders::unless_failed;
use super::super::cloud::{Cloud, Seen, WhereArgs};
use super::super::role::reported;
use super::{ALL, Context, named};
use crate::agent::client;
use crate::agent::wire::{Action, LONGEST};
use crate::error::{Error, Exit, Kind, Result};

/// How often an agent that is not there is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Print READY when processes are ready to be used
///
/// Without --block it tells at once. The exit code is 5 where they are not ready, or not in time.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato process ready fence
  kato process ready --block 180 all       Wait at most 3 minutes
  kato process ready -b 0 fence            Wait for ever
  kato process ready -b 60 --cluster all   Of all nodes")]
pub struct ReadyArgs {
    /// Wait at most so many seconds; 0 = for ever
    #[arg(short, long, value_name = "SECS", value_parser = clap::value_parser!(u32))]
    block: Option<u32>,
    #[command(flatten)]
    place: WhereArgs,
    /// The processes; `all` means all of the node
    #[arg(value_name = "PROCESS", required = true)]
    processes: Vec<String>,
}

/// Tell or wait.
pub async fn run(context: &Context, args: ReadyArgs) -> Result<Exit> {
    let processes = if args.processes.iter().any(|name| name == ALL) {
        Vec::new()
    } else {
        named(&args.processes)?
    };
    let within = match args.block {
        None => Some(Duration::ZERO),
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds.into())),
    };
    if let Some((cloud, nodes)) = args.place.elsewhere(context).await? {
        return elsewhere(context, &cloud, &nodes, &processes, within).await;
    }
    let progress = context.ui.progress("waiting until it is ready");
    let deadline = within.map(|within| Instant::now() + within);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let within_ms = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let asked = client::ask(
            &context.paths,
            Action::Ready {
                processes: processes.clone(),
                within_ms,
            },
        )
        .await;
        match asked {
            Ok(_) => break,
            Err(error) if is_final(&error, deadline) => return Err(error),
            // The agent may just be restarted; it is part of what is waited for.
            Err(error) => progress.update(&format!("waiting: {error}")),
        }
        sleep(LOOK).await;
    }
    drop(progress);
    context.ui.line("READY")?;
    Ok(Exit::Done)
}

fn is_final(error: &Error, deadline: Option<Instant>) -> bool {
    error.kind() != Kind::Unreachable
        || error.is_denied()
        || deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Wait until the reports of these nodes say so.
async fn elsewhere(
    context: &Context,
    cloud: &Cloud,
    nodes: &[Seen],
    processes: &[Process],
    within: Option<Duration>,
) -> Result<Exit> {
    let progress = context.ui.progress("waiting until it is ready");
    let is_ready = |report: &Report| {
        let mut meant = report
            .processes
            .iter()
            .filter(|seen| is_meant(processes, seen.process))
            .peekable();
        meant.peek().is_some() && meant.all(Observed::is_ready)
    };
    let wait = within.unwrap_or(LONGEST).max(super::super::cloud::WITHIN);
    let one = |node: &Seen| {
        let node = node.clone();
        async move {
            let has = node.is_alive() && node.state.report.as_ref().is_some_and(is_ready);
            // A dead node's report says how it was; without a bound it is waited for.
            let is_ready = has || (within != Some(Duration::ZERO) && reported(cloud, &node, wait, is_ready).await);
            (!is_ready).then(|| format!("{}: not ready ({})", node.record.name, node.life()))
        }
    };
    let not_ready: Vec<String> = join_all(nodes.iter().map(one)).await.into_iter().flatten().collect();
    drop(progress);
    unless_failed(not_ready, nodes.len())?;
    context.ui.line("READY")?;
    Ok(Exit::Done)
}

fn is_meant(processes: &[Process], process: Process) -> bool {
    processes.is_empty() || processes.contains(&process)
}
