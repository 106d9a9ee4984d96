//! `kato container pause`: freezes all processes of containers.

use clap::Args;

use super::problem::{self, Tally};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::fence_api::Client;

/// Freeze all processes of containers
///
/// They keep their memory and use no processor. Nothing can be run in a paused container; it can be stopped and destroyed.
/// Prints the handles of those that are paused.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container pause web
  kato container pause web worker")]
pub struct PauseArgs {
    /// The containers
    #[arg(required = true, value_name = "HANDLE")]
    handles: Vec<String>,
}

/// Pause them, one after the other.
pub async fn run(context: &Context, client: &Client, args: &PauseArgs) -> Result<Exit> {
    let mut tally = Tally::default();
    for handle in &args.handles {
        let result = match client.pause(handle).await {
            Ok(_) => Ok(()),
            Err(error) => Err(problem::explain(client, handle, error).await),
        };
        tally.add(context, handle, result)?;
    }
    tally.finish(context, "paused")
}
