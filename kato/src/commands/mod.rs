//! The commands: a folder or file per family, one file per verb, its arguments and its function together.
//!
//! This file lists the families and passes control to the one that was asked for.

mod admin;
mod agent;
pub mod cloud;
mod completion;
mod config;
mod container;
mod data;
mod debug;
mod image;
mod info;
mod man;
mod node;
mod order;
mod process;
mod realm;
mod registry;
mod role;
mod roles;
mod status;
mod version;

use std::path::PathBuf;

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
    /// The directory that was given with `--root`; hints repeat it.
    pub root: Option<PathBuf>,
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
    /// Carry the configuration to another cloud, save and restore a cluster's config store
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Look at what goes on
    #[command(subcommand)]
    Debug(debug::DebugCommand),
    Status(status::StatusArgs),
    Info(info::InfoArgs),
    Version(version::VersionArgs),
    Start(roles::StartArgs),
    Stop(roles::StopArgs),
    Restart(roles::RestartArgs),
    /// List, await, start and stop the processes of this node, another or all
    #[command(subcommand)]
    Process(process::ProcessCommand),
    /// Choose what nodes do
    #[command(subcommand)]
    Role(role::RoleCommand),
    /// Make this machine a node, let nodes in and out; name, place and list them
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Make administrators of the cluster
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Group nodes that share values of the configuration
    #[command(subcommand)]
    Realm(realm::RealmCommand),
    /// Build and publish images, for several architectures under one name
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Give the cluster an image registry on the core, look after it
    #[command(subcommand)]
    Registry(registry::RegistryCommand),
    Agent(agent::AgentArgs),
    Completion(completion::CompletionArgs),
    Man(man::ManArgs),
}

/// Run one command.
pub async fn run(context: &Context, command: Command) -> Result<Exit> {
    match command {
        Command::Config(command) => config::run(context, command).await,
        Command::Container(command) => container::run(context, command).await,
        Command::Data(command) => data::run(context, command).await,
        Command::Debug(command) => debug::run(context, command).await,
        Command::Status(args) => status::run(context, &args).await,
        Command::Info(args) => info::run(context, &args).await,
        Command::Version(args) => version::run(context, &args).await,
        Command::Start(args) => roles::start(context, &args).await,
        Command::Stop(args) => roles::stop(context, &args).await,
        Command::Restart(args) => roles::restart(context, &args).await,
        Command::Process(command) => process::run(context, command).await,
        Command::Role(command) => role::run(context, command).await,
        Command::Node(command) => node::run(context, command).await,
        Command::Admin(command) => admin::run(context, command).await,
        Command::Realm(command) => realm::run(context, command).await,
        Command::Image(command) => image::run(context, command).await,
        Command::Registry(command) => registry::run(context, command).await,
        Command::Agent(args) => agent::run(context, &args).await,
        Command::Completion(args) => completion::run(context, &args),
        Command::Man(args) => man::run(context, &args),
    }
}
