//! The family `kato registry`: the cluster's image registry on the core, and accounts at it and at others.
//!
//! What is done is `registry_bootstrap`'s; here are arguments, what is shown, and how its errors end a command.

mod down;
mod gc;
mod login;
mod pack;
pub mod problem;
mod setup;
pub mod shared;
mod status;

use clap::Subcommand;

use super::Context;
use crate::error::{Exit, Result};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    Setup(setup::SetupArgs),
    Pack(pack::PackArgs),
    Status(status::StatusArgs),
    Gc(gc::GcArgs),
    Down(down::DownArgs),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
}

/// Run one verb.
pub async fn run(context: &Context, command: RegistryCommand) -> Result<Exit> {
    match command {
        RegistryCommand::Setup(args) => setup::run(context, &args).await,
        RegistryCommand::Pack(args) => pack::run(context, &args).await,
        RegistryCommand::Status(args) => status::run(context, &args).await,
        RegistryCommand::Gc(args) => gc::run(context, &args).await,
        RegistryCommand::Down(args) => down::run(context, &args).await,
        RegistryCommand::Login(args) => login::log_in(context, &args).await,
        RegistryCommand::Logout(args) => login::log_out(context, &args).await,
    }
}
