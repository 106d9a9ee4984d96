//! `kato container stop`: ends the processes of containers, which stay and can be started again.

use clap::Args;

use super::problem::{self, Tally};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::fence_api::Client;

/// Stop all processes of containers, which stay
///
/// Processes are asked to end (SIGTERM) and have the time that the configuration gives them. Prints the handles of those
/// that are stopped.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container stop web
  kato container stop --kill web worker")]
pub struct StopArgs {
    /// Kill the processes at once
    #[arg(long)]
    kill: bool,
    /// The containers
    #[arg(required = true, value_name = "HANDLE")]
    handles: Vec<String>,
}

/// Stop them, one after the other.
pub async fn run(context: &Context, client: &Client, args: &StopArgs) -> Result<Exit> {
    let mut tally = Tally::default();
    for handle in &args.handles {
        let result = {
            let _progress = context.ui.progress(&format!("stopping {handle}"));
            client.stop(handle, args.kill).await.map(drop)
        };
        let result = match result {
            Ok(()) => Ok(()),
            Err(error) => Err(problem::explain(client, handle, error).await),
        };
        tally.add(context, handle, result)?;
    }
    tally.finish(context, "stopped")
}
