//! The only place where the parts are put together: built once, run until the shutdown, ended in order.
//!
//! Order of ending: stop accepting, finish requests, stop the tasks. Containers are never touched by it.

mod boot;
mod config;
mod engine_watch;
mod lock;

use std::sync::Arc;

use cluster::config::{Config, Live};
use cluster::nodes;
use cluster::service;
use engine::docker::{Docker, Timeouts};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;

use crate::events::Journal;
use crate::http;
use crate::image::Keeper;
use crate::init::InitBinary;
use crate::inventory::Inventory;
use crate::logs;
use crate::network::{Nft, PortPool};
use crate::settings::Settings;
use crate::supervisor::{Parts, RepairTimes, Supervisor};

/// Why the node could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not make the directory {path}")]
    Directory {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("another fence runs on this node already (it holds {path})")]
    AlreadyRunning { path: String },
    #[error("could not read the config tree")]
    Config(#[source] cluster::config::Error),
    #[error("could not name the image's key in the config tree")]
    Key(#[source] cluster::config::key::Error),
    #[error(transparent)]
    Inventory(#[from] crate::inventory::Error),
    #[error(transparent)]
    Init(#[from] crate::init::Error),
    #[error("could not take over the containers that are here")]
    Adopt(#[source] crate::supervisor::Error),
    #[error("could not listen for clients")]
    Listen(#[source] http::BindError),
}

/// Run the daemon until the shutdown.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), Error> {
    let paths = &settings.paths;
    raise_descriptor_limit();
    for (directory, mode) in [(paths.fence_lib(), 0o700), (paths.fence_run(), 0o755)] {
        lock::directory(&directory, mode)?;
    }
    let _only_one = lock::take_soon(&paths.fence_run().join("fence.lock")).await?;

    // Lazy: with the tree gone, what was last seen of it does.
    let store = nodes::lazy_tree(paths, &settings.node);
    let config = Config::for_node(store, settings.node.name.clone());
    let live = config.watch(&paths.fence_config_cache()).await.map_err(Error::Config)?;
    let first = live.current();

    let docker = Arc::new(Docker::connect(&settings.node.docker.socket, timeouts(&first.fence)));
    let wanted = config::ConfiguredImages::new(config, live.clone()).map_err(Error::Key)?;
    let images = Keeper::new(
        docker.clone(),
        Arc::new(wanted),
        paths.fence_lib().join("image-in-use.json"),
        paths.docker_accounts(),
    );
    let policy = config::policy(&live);
    let parts = Parts {
        engine: docker.clone(),
        inventory: Inventory::open(&paths.inventory_db())?,
        events: Journal::open(&paths.fence_lib().join("events")),
        logs: logs::Store::new(&paths.fence_lib().join("logs")),
        images: images.clone(),
        firewall: Arc::new(Nft::new(&settings.node.id.to_string())),
        ports: PortPool::new(first.fence.ports.first, first.fence.ports.count),
        init: InitBinary::store(&settings.init, &paths.fence_lib().join("init"))?,
        run_dir: paths.fence_run().join("c"),
        retiring: paths.fence_lib().join("retiring.json"),
        policy: policy.subscribe(),
        node_name: settings.node.name.to_string(),
        node_id: settings.node.id.to_string(),
        repair_times: RepairTimes::default(),
    };
    let supervisor = Supervisor::new(parts);
    let listen = first
        .fence
        .garden
        .listen
        .map(|address| address.to_string())
        .unwrap_or_default();
    let listeners = http::Listeners::bind(&paths.garden_socket(), &listen)
        .await
        .map_err(Error::Listen)?;
    let adopted = supervisor.adopt().await.map_err(Error::Adopt)?;
    note_boot(&boot::Boot::of(&paths.fence_run()), &supervisor).await;
    tracing::info!(node = %settings.node.name, containers = adopted, "fence {} is ready", env!("CARGO_PKG_VERSION"));
    service::ready();

    let tasks = tokio::spawn(run_tasks(
        live,
        policy,
        docker,
        images,
        supervisor.clone(),
        shutdown.clone(),
    ));
    http::serve(listeners, http::faces(supervisor), http::Options::default(), shutdown).await;
    // The tasks watch the same token; whatever of them still runs changes nothing any more.
    tasks.abort();
    service::stopping();
    tracing::info!("stopped");
    Ok(())
}

/// Have what ended with the machine come back. Where that cannot be noted, the next start tries again.
async fn note_boot(boot: &boot::Boot, supervisor: &Supervisor) {
    if !boot.is_first_start() {
        return;
    }
    if let Err(error) = supervisor.machine_was_started().await {
        return tracing::error!(
            error = error.chain(),
            "could not note which containers are to be started again"
        );
    }
    if let Err(error) = boot.note() {
        tracing::error!(%error, "could not note that the machine was started");
    }
}

/// Everything that runs beside the faces. Ends with the shutdown.
async fn run_tasks(
    live: Live,
    policy: tokio::sync::watch::Sender<Arc<crate::supervisor::Policy>>,
    docker: Arc<Docker>,
    images: Keeper,
    supervisor: Supervisor,
    shutdown: CancellationToken,
) {
    let set_timeouts = {
        let docker = docker.clone();
        move |fence: &cluster::config::FenceConfig| docker.set_timeouts(timeouts(fence))
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = config::follow(live, policy, set_timeouts) => {}
        () = images.run() => {}
        () = service::stay_alive() => {}
        () = supervisor.retire_when_wanted() => {}
        () = engine_watch::run(docker, supervisor.clone()) => {}
    }
}

fn timeouts(fence: &cluster::config::FenceConfig) -> Timeouts {
    Timeouts {
        call: fence.docker.timeout,
        transfer: fence.docker.pull_timeout,
        ..Timeouts::default()
    }
}

/// Every container has a socket and every client up to three connections: more than the usual soft limit allows.
fn raise_descriptor_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "could not raise the limit of open files; many clients at a time may be refused");
    }
}
