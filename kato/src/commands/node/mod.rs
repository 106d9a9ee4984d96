//! The family `kato node`: making a machine a node.

mod setup;

use clap::Subcommand;

use super::Context;
use crate::error::{Exit, Result};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Make this machine a node
    #[command(subcommand)]
    Setup(setup::SetupCommand),
}

/// Run one verb.
pub async fn run(context: &Context, command: NodeCommand) -> Result<Exit> {
    match command {
        NodeCommand::Setup(command) => setup::run(context, command).await,
    }
}
