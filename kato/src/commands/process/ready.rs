//! `kato process ready`: whether processes are ready, or wait until they are.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::{ALL, Context, named};
use crate::agent::client;
use crate::agent::wire::Action;
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
  kato process ready -b 0 fence            Wait for ever")]
pub struct ReadyArgs {
    /// Wait at most so many seconds; 0 = for ever
    #[arg(short, long, value_name = "SECS", value_parser = clap::value_parser!(u32))]
    block: Option<u32>,
    /// The processes; `all` means all of this node
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
