//! The family `kato container`: this node's containers, through its fence.
//!
//! One file per verb. What several verbs share is in [`values`] (what options take), [`problem`] (failures as they
//! are printed), [`following`] (answers that go on) and [`session`] (a conversation with a process). Containers are
//! fence's; nothing is kept here.

mod attach;
mod copy;
mod create;
mod destroy;
mod events;
mod following;
mod info;
mod list;
mod logs;
mod pause;
mod problem;
mod resume;
mod run;
mod session;
mod shell;
mod start;
mod stats;
mod stop;
mod top;
mod values;

use clap::Subcommand;
use cluster::nodes::{NodeFile, Paths};
use cluster::process::{Process, State, Wanted};

use super::Context;
use crate::agent::client;
use crate::agent::wire::Action;
use crate::error::{Exit, Kind, Result};
use crate::fence_api::Client;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum ContainerCommand {
    Create(create::CreateArgs),
    Start(start::StartArgs),
    List(list::ListArgs),
    Info(info::InfoArgs),
    Run(run::RunArgs),
    Attach(attach::AttachArgs),
    Shell(shell::ShellArgs),
    Copy(copy::CopyArgs),
    Stats(stats::StatsArgs),
    Logs(logs::LogsArgs),
    Events(events::EventsArgs),
    Top(top::TopArgs),
    Pause(pause::PauseArgs),
    Resume(resume::ResumeArgs),
    Stop(stop::StopArgs),
    Destroy(destroy::DestroyArgs),
}

/// How long a fence that is just being started may take until it listens, in milliseconds.
const COMING_MS: u64 = 5_000;

/// Run one verb.
pub async fn run(context: &Context, command: ContainerCommand) -> Result<Exit> {
    let client = Client::new(&context.paths);
    // Fence takes its socket away when it ends.
    if !context.paths.garden_socket().exists() {
        wait_for_fence(&context.paths).await;
    }
    let result = match command {
        ContainerCommand::Create(args) => create::run(context, &client, args).await,
        ContainerCommand::Start(args) => start::run(context, &client, args).await,
        ContainerCommand::List(args) => list::run(context, &client, &args).await,
        ContainerCommand::Info(args) => info::run(context, &client, &args).await,
        ContainerCommand::Run(args) => run::run(context, client, args).await,
        ContainerCommand::Attach(args) => attach::run(context, client, &args).await,
        ContainerCommand::Shell(args) => shell::run(context, client, args).await,
        ContainerCommand::Copy(args) => copy::run(context, &client, &args).await,
        ContainerCommand::Stats(args) => stats::run(context, &client, &args).await,
        ContainerCommand::Logs(args) => logs::run(context, &client, &args).await,
        ContainerCommand::Events(args) => events::run(context, &client, &args).await,
        ContainerCommand::Top(args) => top::run(context, &client, &args).await,
        ContainerCommand::Pause(args) => pause::run(context, &client, &args).await,
        ContainerCommand::Resume(args) => resume::run(context, &client, &args).await,
        ContainerCommand::Stop(args) => stop::run(context, &client, &args).await,
        ContainerCommand::Destroy(args) => destroy::run(context, &client, &args).await,
    };
    match result {
        // No fence to start where there is no node.
        Err(error) if error.kind() == Kind::Unreachable && !context.paths.garden_socket().exists() => {
            NodeFile::load(&context.paths)?;
            Err(error)
        }
        result => result,
    }
}

/// Wait a moment for a fence that the agent is just starting, as in a restart. What does not come is told by the verb.
async fn wait_for_fence(paths: &Paths) {
    let Ok(report) = client::ask(paths, Action::List).await else {
        return;
    };
    let is_coming = report
        .processes
        .iter()
        .any(|seen| seen.process == Process::Fence && seen.wanted == Wanted::Running && seen.state != State::Fatal);
    if is_coming {
        let ready = Action::Ready {
            processes: vec![Process::Fence],
            within_ms: Some(COMING_MS),
        };
        let _ = client::ask(paths, ready).await;
    }
}
