//! The family `kato data`: the config tree as one document, out of one cloud and into another.
//!
//! [`document`] is what is written and read; which values are good, and what taking them in does, is the tree's matter
//! (`cluster`).

mod document;
mod export;
mod import;

use clap::Subcommand;

use super::Context;
use crate::error::{Exit, Result};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    Export(export::ExportArgs),
    Import(import::ImportArgs),
}

/// Run one verb.
pub async fn run(context: &Context, command: DataCommand) -> Result<Exit> {
    match command {
        DataCommand::Export(args) => export::run(context, &args).await,
        DataCommand::Import(args) => import::run(context, &args).await,
    }
}
