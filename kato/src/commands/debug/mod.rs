//! The family `kato debug`: what goes on, as it happens. Nothing here changes anything.

mod configwatch;
mod stdout;

use clap::Subcommand;

use super::Context;
use crate::error::{Exit, Result};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum DebugCommand {
    Configwatch(configwatch::ConfigwatchArgs),
}

/// Run one verb.
pub async fn run(context: &Context, command: DebugCommand) -> Result<Exit> {
    match command {
        DebugCommand::Configwatch(args) => configwatch::run(context, &args).await,
    }
}
