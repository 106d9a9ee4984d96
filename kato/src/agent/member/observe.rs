//! What the node says of itself: everybody asked, each with a bound.

use cluster::nodes::{Containers, Report, Retiring};
use cluster::process::{Observed, Process};
use jiff::Timestamp;
use registry_bootstrap::platform::Platform;

use super::Member;
use crate::addresses;
use crate::agent::wire::{Action, Answer};
use crate::fence_api::wire::Status as FenceStatus;

/// The most problems that are told; who wants all of them asks the node itself.
const MAX_PROBLEMS: usize = 8;
/// The longest text of a problem, in characters.
pub const MAX_PROBLEM: usize = 500;

/// How the node is now.
pub async fn report(member: &Member) -> Report {
    let supervisor = &member.desk.supervisor;
    let runs_fence = |seen: &Observed| seen.process == Process::Fence && seen.is_ready();
    let ask = match supervisor.list().await.iter().any(runs_fence) {
        true => Action::Status,
        false => Action::List,
    };
    let (processes, fence, silence) = match member.desk.answer(ask).await {
        Answer::Done(report) => (report.processes, report.fence, report.fence_problem),
        // Neither question can fail.
        Answer::Failed(failure) => (Vec::new(), None, failure.message),
    };
    let node = member.node.borrow().clone();
    let seen = *member.config_revision.borrow();
    let orders = Process::ALL.into_iter();
    Report {
        name: node.name,
        at: Timestamp::now(),
        version: member.desk.agent.version.clone(),
        architecture: architecture(),
        roles: node.roles,
        addresses: addresses::of_this_machine().unwrap_or_default(),
        orders: orders
            .filter_map(|process| Some((process, supervisor.memory().order(process)?)))
            .collect(),
        processes: processes.into_iter().map(shortened).collect(),
        config_revision: match &fence {
            Some(fence) => seen.map(|seen| seen.min(fence.config.revision)),
            None => seen,
        },
        containers: fence.as_ref().map(containers),
        retiring: fence.as_ref().and_then(retiring),
        problems: {
            let registry = member.registry_problem.borrow().clone();
            let own = [silence, registry].into_iter().filter(|said| !said.is_empty());
            problems(own.chain(fence.iter().flat_map(of_fence)))
        },
    }
}

fn shortened(seen: Observed) -> Observed {
    let problem = seen.problem.chars().take(MAX_PROBLEM).collect();
    Observed { problem, ..seen }
}

fn containers(fence: &FenceStatus) -> Containers {
    let counts = &fence.containers;
    Containers {
        active: counts.active.into(),
        stopped: counts.stopped.into(),
        lost: counts.lost.into(),
        max: counts.max.into(),
    }
}

fn retiring(fence: &FenceStatus) -> Option<Retiring> {
    let told = fence.retiring.as_ref()?;
    Some(Retiring {
        since: told.since,
        seconds_left: told.seconds_left,
        active: told.active,
        stopped: told.stopped,
    })
}

/// This machine's architecture, as images call it.
fn architecture() -> String {
    Platform::of_word(std::env::consts::ARCH).map_or_else(String::new, |platform| platform.architecture)
}

/// As many as are told, each as long as it may be.
fn problems(all: impl Iterator<Item = String>) -> Vec<String> {
    let short = |text: String| text.chars().take(MAX_PROBLEM).collect();
    all.take(MAX_PROBLEMS).map(short).collect()
}

/// What fence cannot do as it should.
fn of_fence(fence: &FenceStatus) -> Vec<String> {
    let mut problems = Vec::new();
    if fence.engine.state != "ok" {
        problems.push(format!("fence cannot use Docker: {}", fence.engine.problem));
    }
    if !matches!(fence.image.state.as_str(), "ok" | "pulling") {
        problems.push(match fence.image.problem.as_str() {
            "" => format!(
                "the image {} is {}",
                fence.image.configured.join(", "),
                fence.image.state
            ),
            said => said.to_owned(),
        });
    }
    if fence.config.stale {
        problems.push("fence cannot read the config tree and goes by its last copy".to_owned());
    }
    problems.extend(fence.config.problems.iter().cloned());
    problems.extend(
        fence
            .problems
            .iter()
            .map(|repair| format!("{}: {}", repair.what, repair.why)),
    );
    problems
}
