//! A look at the node's processes where no agent tells of them: what runs all the same, and whether it answers.
//!
//! Nothing is started, ended or remembered.

use std::time::Duration;

use cluster::nodes::{NodeFile, Paths};
use cluster::process::{Observed, State, Wanted};
use futures_util::future::join_all;

use super::desk::FENCE_WITHIN;
use super::memory::{Memory, Wish};
use super::process_control::ProcessControl;
use super::process_control::own::OwnProcesses;
use super::table::{self, Entry};
use super::worker::ask_after;

/// What is seen of the node's processes, the agent apart.
pub async fn look(paths: &Paths, node: &NodeFile) -> Vec<Observed> {
    let memory = Memory::load(&paths.agent_state()).ok();
    join_all(
        table::of_node(paths, node)
            .into_iter()
            .map(|entry| look_at(entry, memory.as_ref())),
    )
    .await
}

async fn look_at(entry: Entry, memory: Option<&Memory>) -> Observed {
    let process = entry.process;
    let wish = memory.map_or_else(Wish::default, |memory| memory.wish(process));
    let wanted = match (entry.launch.is_some(), wish.run) {
        (false, _) => Wanted::External,
        (true, true) => Wanted::Running,
        (true, false) => Wanted::Stopped,
    };
    let running = match memory.and_then(|memory| memory.running(process)) {
        Some(running)
            if OwnProcesses::default()
                .is_alive(&running.identity)
                .await
                .unwrap_or(false) =>
        {
            Some(running)
        }
        _ => None,
    };
    let answer = ask_after(Duration::ZERO, &*entry.probe, FENCE_WITHIN).await;
    let state = match (answer.problem.is_empty(), &running) {
        (true, _) => State::Running,
        (false, Some(_)) => State::Starting,
        (false, None) => State::Stopped,
    };
    // That nothing answers of what shall not run is no problem.
    let problem = if wanted == Wanted::Stopped && state == State::Stopped {
        String::new()
    } else {
        answer.problem
    };
    let pid = running.as_ref().map(|running| running.identity.pid).or(answer.pid);
    Observed {
        state,
        pid,
        since: running.map(|running| running.since),
        problem,
        ..Observed::stopped(process, wanted)
    }
}
