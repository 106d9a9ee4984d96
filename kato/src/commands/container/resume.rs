//! `kato container resume`: has paused containers go on.

use clap::Args;

use super::problem::{self, Tally};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::fence_api::Client;

/// Have paused containers go on
///
/// Prints the handles of those that go on.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container resume web
  kato container resume web worker")]
pub struct ResumeArgs {
    /// The containers
    #[arg(required = true, value_name = "HANDLE")]
    handles: Vec<String>,
}

/// Resume them, one after the other.
pub async fn run(context: &Context, client: &Client, args: &ResumeArgs) -> Result<Exit> {
    let mut tally = Tally::default();
    for handle in &args.handles {
        let result = match client.resume(handle).await {
            Ok(_) => Ok(()),
            Err(error) => Err(problem::explain(client, handle, error).await),
        };
        tally.add(context, handle, result)?;
    }
    tally.finish(context, "resumed")
}
