//! The family `kato container`.

use clap::Subcommand;

use super::Context;
use crate::error::{Exit, Result};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum ContainerCommand {}

/// Run one verb.
pub async fn run(_context: &Context, command: ContainerCommand) -> Result<Exit> {
    match command {}
}
