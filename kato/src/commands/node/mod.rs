//! The family `kato node`: making a machine a node, of itself or of a cluster, letting nodes in and out, naming, placing
//! and listing them.

pub mod attach;
mod detach;
mod list;
mod moved;
mod pair;
mod place;
pub mod problem;
mod reattach;
mod remove;
mod rename;
mod retire;
mod setup;
pub mod shared;
mod token;

use clap::Subcommand;

use super::Context;
use crate::error::{Exit, Result};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Make this machine a node
    #[command(subcommand)]
    Setup(setup::SetupCommand),
    Attach(attach::AttachArgs),
    Reattach(reattach::ReattachArgs),
    Detach(detach::DetachArgs),
    Pair(pair::PairArgs),
    Pending(pair::PendingArgs),
    Unpair(pair::UnpairArgs),
    Remove(remove::RemoveArgs),
    Retire(retire::RetireArgs),
    /// Let nodes in by tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    List(list::ListArgs),
    Rename(rename::RenameArgs),
    #[command(name = "availabilityzone")]
    AvailabilityZone(place::ZoneArgs),
    Realm(place::RealmArgs),
}

/// Run one verb.
pub async fn run(context: &Context, command: NodeCommand) -> Result<Exit> {
    match command {
        NodeCommand::Setup(command) => setup::run(context, command).await,
        NodeCommand::Attach(args) => attach::run(context, &args).await,
        NodeCommand::Reattach(args) => reattach::run(context, &args).await,
        NodeCommand::Detach(args) => detach::run(context, &args).await,
        NodeCommand::Pair(args) => pair::pair(context, &args).await,
        NodeCommand::Pending(args) => pair::pending(context, &args).await,
        NodeCommand::Unpair(args) => pair::unpair(context, &args).await,
        NodeCommand::Remove(args) => remove::run(context, &args).await,
        NodeCommand::Retire(args) => retire::run(context, &args).await,
        NodeCommand::Token(command) => token::run(context, command).await,
        NodeCommand::List(args) => list::run(context, &args).await,
        NodeCommand::Rename(args) => rename::run(context, &args).await,
        NodeCommand::AvailabilityZone(args) => place::zone(context, &args).await,
        NodeCommand::Realm(args) => place::realm(context, &args).await,
    }
}
