//! The family `kato data`: the config tree as one document, out of one cloud and into another, and the config store of a
//! cluster as a snapshot.
//!
//! [`document`] is what is written and read, [`sealed`] its secrets under a [`passphrase`]; which values are good, and what taking them in does, is the tree's matter
//! (`cluster`).

mod document;
mod export;
mod import;
mod passphrase;
mod restore;
mod sealed;
mod snapshot;

use std::sync::Arc;

use clap::Subcommand;
use cluster::config::Config;
use cluster::store::Store;

use super::Context;
use super::config::open_store;
use crate::error::{Exit, Result};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Snapshot(snapshot::SnapshotArgs),
    Restore(restore::RestoreArgs),
}

/// Run one verb.
pub async fn run(context: &Context, command: DataCommand) -> Result<Exit> {
    match command {
        DataCommand::Export(args) => export::run(context, &args).await,
        DataCommand::Import(args) => import::run(context, &args).await,
        DataCommand::Snapshot(args) => snapshot::run(context, &args).await,
        DataCommand::Restore(args) => restore::run(context, &args).await,
    }
}

/// The tree with an administrator's rights, and its home, which has the realms and the nodes.
async fn open(context: &Context) -> Result<(Config, Arc<dyn Store>)> {
    let (node, store) = open_store(context).await?;
    Ok((Config::new(Arc::clone(&store), node.name), store))
}
