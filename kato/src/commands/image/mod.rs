//! The family `kato image`: images on their way from a directory to all nodes.
//!
//! What is done is `registry_bootstrap`'s; here are arguments, names and accounts, and what is shown.

mod archive;
mod build;
pub mod check;
mod chosen;
mod follow;
mod index;
mod inspect;
mod list;
mod on_nodes;
mod pull;
mod push;
mod rollout;
mod shared;

use clap::Subcommand;

use super::Context;
use crate::error::{Exit, Result};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    Build(build::BuildArgs),
    Tag(push::TagArgs),
    Push(push::PushArgs),
    Pull(pull::PullArgs),
    Rollout(rollout::RolloutArgs),
    List(list::ListArgs),
    Inspect(inspect::InspectArgs),
    Save(archive::SaveArgs),
    Load(archive::LoadArgs),
    /// Put images for several architectures under one name
    #[command(subcommand)]
    Index(index::IndexCommand),
}

/// Run one verb.
pub async fn run(context: &Context, command: ImageCommand) -> Result<Exit> {
    match command {
        ImageCommand::Build(args) => build::run(context, &args).await,
        ImageCommand::Tag(args) => push::tag(context, &args).await,
        ImageCommand::Push(args) => push::run(context, &args).await,
        ImageCommand::Pull(args) => pull::run(context, &args).await,
        ImageCommand::Rollout(args) => rollout::run(context, args).await,
        ImageCommand::List(args) => list::run(context, &args).await,
        ImageCommand::Inspect(args) => inspect::run(context, &args).await,
        ImageCommand::Save(args) => archive::save(context, &args).await,
        ImageCommand::Load(args) => archive::load(context, &args).await,
        ImageCommand::Index(command) => index::run(context, command).await,
    }
}
