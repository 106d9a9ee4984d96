//! `kato node setup`: make this machine a node. A second run changes nothing and goes on with what broke off.
//!
//! It makes the node's places and file, the config tree and the agent. Installing programs is somebody else's job. Here is
//! `micro`, a cloud of one node, and what it shares with [`core`].

pub mod core;
mod finish;
mod foreign;
mod store;
mod unfinished;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use cluster::config::Name;
use cluster::files;
use cluster::nodes::{DockerSettings, Kind, NodeFile, Paths, host_name};
use cluster::store::sqlite::SqliteStore;

use super::Context;
use crate::agent::process_control::systemd;
use crate::agent::wire::Action;
use crate::agent::{client, detach, table};
use crate::commands::process;
use crate::docker_api;
use crate::error::{Error, Exit, Result};

/// How long an engine may take to show that it is there.
const ENGINE_WITHIN: Duration = Duration::from_secs(5);

/// The kinds of node.
#[derive(Debug, Subcommand)]
pub enum SetupCommand {
    Micro(MicroArgs),
    Core(core::CoreArgs),
}

/// Make this machine a cloud of one node
///
/// Makes the node's directories, its id and the config tree, starts the agent and the roles base and dea. A Docker
/// engine that answers is used and never started or stopped; where none does, the agent runs dockerd. On a machine that
/// is a micro cloud already it makes what is missing and starts what does not run.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node setup micro
  kato node setup micro --name one.example --no-start")]
pub struct MicroArgs {
    /// The node's name; the host name if it is not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Do not start the agent and the roles
    #[arg(short = 's', long)]
    no_start: bool,
    /// The socket of the Docker engine
    #[arg(long, value_name = "SOCKET")]
    docker: Option<PathBuf>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,
}

/// Run one.
pub async fn run(context: &Context, command: SetupCommand) -> Result<Exit> {
    match command {
        SetupCommand::Micro(args) => micro(context, &args).await,
        SetupCommand::Core(args) => core::run(context, &args).await,
    }
}

async fn micro(context: &Context, args: &MicroArgs) -> Result<Exit> {
    let paths = &context.paths;
    let node = match NodeFile::load(paths) {
        Ok(node) => present(node, args)?,
        Err(error) if error.is_missing() => new(context, args).await?,
        Err(error) => return Err(error.into()),
    };
    make_places(paths)?;
    configure_engine(context, &node)?;
    let tree = SqliteStore::create(&paths.tree_db()).await;
    tree.map_err(|error| Error::failed("could not make the config tree").because(error))?;
    // Last, so that a set-up that broke off is no node yet.
    node.save(paths)?;
    context.ui.detail(&format!(
        "node {} ({}) is set up in {}",
        node.name,
        node.id,
        paths.etc().display()
    ));
    if args.no_start {
        context
            .ui
            .line(&format!("Node {} is set up.\n\nNext: kato start", node.name))?;
        return Ok(Exit::Done);
    }
    start(context, args, &node).await
}

/// A node that was set up before.
fn present(node: NodeFile, args: &MicroArgs) -> Result<NodeFile> {
    if node.kind == Kind::Cluster {
        return Err(Error::refused("this machine is a node of a cluster already").hint("kato node detach"));
    }
    let other = |what: &str, is: &str, given: &str| {
        Err(Error::refused(format!(
            "this machine is a node already, with the {what} {is} and not {given}"
        ))
        .hint("kato node setup micro, without that option, makes what is missing"))
    };
    match (&args.name, &args.docker) {
        (Some(name), _) if name != node.name.as_str() => other("name", node.name.as_str(), name),
        (_, Some(socket)) if *socket != node.docker.socket => other(
            "Docker socket",
            &node.docker.socket.display().to_string(),
            &socket.display().to_string(),
        ),
        _ => Ok(node),
    }
}

async fn new(context: &Context, args: &MicroArgs) -> Result<NodeFile> {
    let name = chosen_name(args.name.as_deref())?;
    let docker = engine(context, args.docker.as_deref()).await?;
    Ok(NodeFile::micro(&name, docker))
}

/// The node's name: the one that was given, else the host name.
pub fn chosen_name(given: Option<&str>) -> Result<Name> {
    match given {
        Some(name) => Name::new(name).map_err(|error| Error::usage(error.to_string())),
        None => Name::new(&host_name()?).map_err(|error| {
            Error::refused("the host name cannot be the node's name")
                .because(error)
                .hint("--name NAME")
        }),
    }
}

/// The engine that this node uses: the one that answers, else one that the agent is to run.
pub async fn engine(context: &Context, given: Option<&Path>) -> Result<DockerSettings> {
    let socket = given.map_or_else(|| DockerSettings::default().socket, Path::to_path_buf);
    match docker_api::Engine::new(&socket, ENGINE_WITHIN).ping().await {
        Ok(()) => Ok(DockerSettings { socket, managed: false }),
        Err(error @ docker_api::Error::Unreachable { .. }) => own_engine(context, given.is_some(), socket, error),
        // Whatever is there, a second one beside it would only do harm.
        Err(error) => Err(Error::unreachable("the Docker engine is not usable").because(error)),
    }
}

/// An engine that the agent is to run, since none answers.
fn own_engine(context: &Context, is_given: bool, socket: PathBuf, error: docker_api::Error) -> Result<DockerSettings> {
    if table::installed("dockerd").is_none() {
        let message = "Docker is not installed: there is no dockerd on this machine";
        return Err(Error::refused(message).because(error).hint("apt-get install docker.io"));
    }
    // Nodes below their own roots must not meet at the machine's socket.
    let root = context.paths.root();
    let own = if root == Path::new("/") || is_given {
        socket
    } else {
        root.join("run/docker.sock")
    };
    context.ui.detail(&format!(
        "no Docker engine runs; the agent will run dockerd at {}",
        own.display()
    ));
    Ok(DockerSettings {
        socket: own,
        managed: true,
    })
}

/// Make the node's directories.
pub fn make_places(paths: &Paths) -> Result<()> {
    let places = [
        (paths.etc(), 0o755),
        (paths.kato_lib(), 0o700),
        (paths.fence_lib(), 0o700),
        (paths.kato_run(), 0o755),
        (paths.fence_run(), 0o755),
        (paths.log_dir(), 0o750),
    ];
    for (place, mode) in places {
        make_place(&place, mode).map_err(|error| {
            let hint = if error.kind() == io::ErrorKind::PermissionDenied {
                "run it as root"
            } else {
                ""
            };
            Error::failed(format!("could not make {}", place.display()))
                .because(error)
                .hint(hint)
        })?;
    }
    Ok(())
}

/// Set the engine up that this node's agent is to have systemd run.
pub fn configure_engine(context: &Context, node: &NodeFile) -> Result<()> {
    match node.docker.managed && systemd::manages(&context.paths) {
        true => configure_docker(context),
        false => Ok(()),
    }
}

/// Have containers outlive Docker's own service. What somebody else has configured is left as it is.
fn configure_docker(context: &Context) -> Result<()> {
    let paths = &context.paths;
    let settings = paths.root().join("etc/docker/daemon.json");
    let failed = |error: io::Error| Error::failed(format!("could not write {}", settings.display())).because(error);
    if settings.exists() {
        if !table::configured_keys(&settings)
            .iter()
            .any(|key| key == "live-restore")
        {
            let file = settings.display();
            context.ui.warn(&format!(
                "containers will end when Docker is next restarted: add \"live-restore\": true to {file}"
            ));
        }
        return Ok(());
    }
    make_place(&paths.root().join("etc/docker"), 0o755).map_err(failed)?;
    files::write_atomic(&settings, b"{\n  \"live-restore\": true\n}\n", 0o644).map_err(failed)
}

pub fn make_place(place: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(place)?;
    fs::set_permissions(place, fs::Permissions::from_mode(mode))
}

async fn start(context: &Context, args: &MicroArgs, node: &NodeFile) -> Result<Exit> {
    let paths = &context.paths;
    let progress = context.ui.progress("starting the agent");
    detach::have_agent(paths).await?;
    progress.update("starting Docker and fence");
    let within_ms = u64::from(args.timeout) * 1000;
    let report = client::ask(
        paths,
        Action::Start {
            processes: Vec::new(),
            within_ms,
        },
    )
    .await?;
    drop(progress);
    context.ui.table(&process::table(&report.processes))?;
    context.ui.line(&format!(
        "\nNode {} is a micro cloud.\n\nNext: kato container create --start",
        node.name
    ))?;
    Ok(Exit::Done)
}
