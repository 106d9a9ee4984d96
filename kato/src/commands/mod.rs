//! The commands: a folder or file per family, one file per verb, its arguments and its function together.
//!
//! This file lists the families and passes control to the one that was asked for.

mod completion;
mod config;
mod container;
mod man;

use clap::Subcommand;
use cluster::nodes::Paths;

use crate::error::{Exit, Result};
use crate::ui::Ui;

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    /// Where this node keeps its files.
    pub paths: Paths,
    /// The administrator's streams.
    pub ui: Ui,
    /// The option `-v`.
    pub verbose: bool,
}

/// The families.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read and change the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Create, use and destroy containers
    #[command(subcommand)]
    Container(container::ContainerCommand),
    Completion(completion::CompletionArgs),
    Man(man::ManArgs),
}

/// Run one command.
pub async fn run(context: &Context, command: Command) -> Result<Exit> {
    match command {
        Command::Config(command) => config::run(context, command).await,
        Command::Container(command) => container::run(context, command).await,
        Command::Completion(args) => completion::run(context, &args),
        Command::Man(args) => man::run(context, &args),
    }
}
