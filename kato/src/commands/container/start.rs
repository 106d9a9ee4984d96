//! `kato container start`: runs the image's command, or another one, as a container's main process.

use clap::Args;

use super::problem;
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::fence_api::Client;

/// Start a container's main process
///
/// One that runs already is left alone; with another COMMAND it is refused.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container start web
  kato container start web -- /bin/server --port 8080")]
pub struct StartArgs {
    /// The container
    #[arg(value_name = "HANDLE")]
    handle: String,
    /// What to run instead of the image's command
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Start it.
pub async fn run(context: &Context, client: &Client, args: StartArgs) -> Result<Exit> {
    match client.start(&args.handle, &args.command).await {
        Ok(container) => context.ui.line(&container.handle)?,
        Err(error) => return Err(problem::explain(client, &args.handle, error).await),
    }
    Ok(Exit::Done)
}
