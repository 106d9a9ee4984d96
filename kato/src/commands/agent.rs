//! `kato agent`: be the node's agent, in the foreground.

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::Context;
use crate::agent::{self, detach};
use crate::error::{Error, Exit, Result};

/// Look after this node's processes, in the foreground
///
/// The base role of every node. It starts the processes of the node's roles, keeps them as they are wanted, and starts
/// them again when they die. When it ends, they go on; the next agent adopts them.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato agent              Be the agent until SIGTERM; `kato start` starts one in the background")]
pub struct AgentArgs {
    /// Leave the session of who started it
    #[arg(long, hide = true)]
    detached: bool,
    /// What to log, as a filter such as `info` or `kato=debug`
    #[arg(long, env = "KATO_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

/// Be the agent.
pub async fn run(context: &Context, args: &AgentArgs) -> Result<Exit> {
    if args.detached {
        detach::leave_session()?;
    }
    detach::keep_files_from_children().map_err(|error| Error::failed("could not look at open files").because(error))?;
    let filter = EnvFilter::try_new(&args.log);
    let filter = filter.map_err(|error| Error::usage(format!("{:?} is not a log filter", args.log)).because(error))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    agent::run(&context.paths).await?;
    Ok(Exit::Done)
}
