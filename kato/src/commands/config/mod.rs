//! The family `kato config`.

use clap::Subcommand;

use super::Context;
use crate::error::{Exit, Result};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {}

/// Run one verb.
pub async fn run(_context: &Context, command: ConfigCommand) -> Result<Exit> {
    match command {}
}
