//! The agent: the base role of every node, the one process that looks after the others.
//!
//! It starts the processes of the node's roles, keeps them as they are wanted, and answers kato on its socket. An agent
//! that ends, however it ends, leaves them running; the next one knows them by pid and start time and goes on. Which
//! role has which process is in [`cluster::process`].
//!
//! | module | its job |
//! | --- | --- |
//! | [`table`] | how each process is started and asked |
//! | [`worker`] | keeps one process as it is wanted; [`external`] only looks at one |
//! | [`supervisor`] | all of them: orders and their effect; [`processes`] has those that are looked after, [`rogues`] those that no role wants |
//! | [`member`] | the node in its cluster: says how it is, does what is wanted of it from elsewhere |
//! | [`gateway`] | stands before the node's member of the config store |
//! | [`joining`] | asks the core to be let in, renews certificates; [`core`] is the core's side of it |
//! | [`registry`] | keeps the core's image registry in order |
//! | [`leading`] | leads what is done with images on many nodes |
//! | [`memory`] | what is wanted and what runs, on disk |
//! | [`process_control`] | starting, watching and ending processes |
//! | [`probe`], [`backoff`], [`logs`] | whether a process is ready, when it is tried again, its log |
//! | [`wire`], [`server`], [`desk`], [`client`] | questions and answers between kato and the agent |
//! | [`detach`], [`lock`] | starting the agent itself, once |
//! | [`glance`] | what runs where no agent tells of it |

pub mod backoff;
pub mod client;
pub mod core;
pub mod desk;
pub mod detach;
mod error;
mod external;
#[cfg(test)]
mod fixture_tests;
pub mod gateway;
pub mod glance;
pub mod joining;
mod leading;
mod lock;
pub mod logs;
pub mod member;
mod memory;
mod probe;
pub mod process_control;
mod processes;
mod registry;
mod rogues;
mod server;
mod supervisor;
#[cfg(test)]
mod supervisor_tests;
pub mod table;
pub mod wire;
mod worker;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use cluster::nodes::{NodeFile, Paths};
use cluster::process::Process;
use cluster::service;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use self::backoff::Timing;
use self::desk::Desk;
use self::lock::Lock;
use self::member::Member;
use self::memory::{Memory, Wish};
use self::supervisor::Supervisor;
use self::wire::AgentInfo;
use crate::error::{Error, Result};
use crate::fence_api;

/// How long answers under way may take when the agent ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Be the agent of this node until told to end. The processes stay.
pub async fn run(paths: &Paths) -> Result<()> {
    let node = NodeFile::load(paths)?;
    let _lock = Lock::take(paths).await?;
    let memory = open_memory(paths)?;
    let table = table::of_node(paths, &node);
    let shutdown = CancellationToken::new();
    let desk = Arc::new(Desk {
        supervisor: Supervisor::start_up(table, process_control::of_node(paths), memory, Timing::default()),
        agent: own_info(),
        fence: fence_api::Client::new(paths),
        shutdown: shutdown.clone(),
        standing: tokio::sync::watch::Sender::new(None),
    });
    let socket = paths.agent_socket();
    let failed = |error| Error::failed(format!("could not listen at {}", socket.display())).because(error);
    let listener = server::bind(&socket).map_err(failed)?;
    info!(version = env!("CARGO_PKG_VERSION"), node = %node.name, "the agent answers");
    service::ready();
    // Roles come and go.
    let logs = Process::ALL.map(|process| table::log_file(paths, process)).to_vec();
    let cluster_node = node.clone();
    let member = Member::new(paths, node, Arc::clone(&desk));
    let answers = TaskTracker::new();
    let joining_desk = Arc::clone(&desk);
    tokio::select! {
        () = server::serve(listener, Arc::clone(&desk), answers.clone()) => {}
        () = logs::keep_small(logs) => {}
        () = member.run() => {}
        () = gateway::serve(paths, &cluster_node) => {}
        () = core::serve(paths, &cluster_node) => {}
        () = registry::keep(paths, &cluster_node) => {}
        () = leading::keep(paths, &cluster_node) => {}
        () = joining::keep(paths, &cluster_node, &joining_desk) => {}
        () = service::stay_alive() => {}
        () = shutdown.cancelled() => {}
        ended = signalled() => ended.map_err(|error| Error::failed("could not wait for signals").because(error))?,
    }
    service::stopping();
    answers.close();
    // Questions that wait longer are cut off; who asked sees that the agent ended.
    let _ = timeout(LAST_ANSWERS, answers.wait()).await;
    info!("the agent ends; processes stay as they are");
    // Only a courtesy to who would connect: the next agent replaces it.
    let _ = std::fs::remove_file(&socket);
    Ok(())
}

/// Stop all processes where no agent runs, for instance since it was killed.
pub async fn stop_without_agent(paths: &Paths, within: Duration) -> Result<()> {
    let node = NodeFile::load(paths)?;
    let _lock = Lock::take(paths).await?;
    let memory = open_memory(paths)?;
    let table = table::of_node(paths, &node);
    for entry in table.iter().filter(|entry| entry.launch.is_some()) {
        let wish = Wish {
            run: false,
            ..memory.wish(entry.process)
        };
        let failed = |error| Error::failed("could not remember what is wanted").because(error);
        memory.set_wish(entry.process, wish).map_err(failed)?;
    }
    let supervisor = Supervisor::start_up(table, process_control::of_node(paths), memory, Timing::default());
    let stopped = supervisor.stop(&[], within).await;
    stopped.map_err(|error| Error::unreachable("could not stop all processes").because(error))
}

/// What this program says of itself.
pub fn own_info() -> AgentInfo {
    AgentInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        since: Timestamp::now(),
        os: std::env::consts::OS.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
    }
}

fn open_memory(paths: &Paths) -> Result<Memory> {
    let failed = |error| Error::failed("could not read what the agent remembers").because(error);
    Memory::load(&paths.agent_state()).map_err(failed)
}

async fn signalled() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
