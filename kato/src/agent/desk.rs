//! Answers questions to the agent: the way from the wire to the supervisor and back.

use std::time::Duration;

use cluster::process::{Observed, Process, State, Wanted};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::error::{self, Error};
use super::joining::Standing;
use super::supervisor::Supervisor;
use super::wire::{Action, AgentInfo, Answer, Failure, FailureKind, LONGEST, Report};
use crate::error::chain;
use crate::fence_api::{self, wire::Status};

/// How long fence may take to tell its status: an administrator waits for it.
pub const FENCE_WITHIN: Duration = Duration::from_secs(2);

/// Who answers.
pub struct Desk {
    /// The node's processes.
    pub supervisor: Supervisor,
    /// The agent itself.
    pub agent: AgentInfo,
    /// This node's fence.
    pub fence: fence_api::Client,
    /// How the node stands with its cluster; `None` on a micro cloud and on the core.
    pub standing: tokio::sync::watch::Sender<Option<Standing>>,
    /// Cancelled to end the agent.
    pub shutdown: CancellationToken,
}

impl Desk {
    /// Do what is asked, and tell.
    pub async fn answer(&self, action: Action) -> Answer {
        let with_fence = action == Action::Status;
        match self.act(action).await {
            Ok(()) => Answer::Done(Box::new(self.report(with_fence).await)),
            Err(error) => Answer::Failed(failure(error)),
        }
    }

    async fn act(&self, action: Action) -> error::Result<()> {
        let within = action.within();
        let bound = within.unwrap_or(LONGEST);
        match action {
            Action::List | Action::Status => Ok(()),
            Action::Ready { processes, .. } if !processes.is_empty() && without_agent(&processes).is_empty() => Ok(()),
            Action::Ready { processes, .. } => self.supervisor.ready(&without_agent(&processes), within).await,
            Action::Start { processes, .. } => self.supervisor.start(&processes, bound).await,
            Action::Stop { processes, .. } => self.supervisor.stop(&processes, bound).await,
            Action::Restart { processes, .. } => self.supervisor.restart(&processes, bound).await,
            Action::Leave => {
                self.shutdown.cancel();
                Ok(())
            }
        }
    }

    async fn report(&self, with_fence: bool) -> Report {
        let mut processes = vec![Observed {
            state: State::Running,
            pid: Some(self.agent.pid),
            since: Some(self.agent.since),
            ..Observed::stopped(Process::Agent, Wanted::Running)
        }];
        processes.extend(self.supervisor.list().await);
        let (fence, fence_problem) = match with_fence {
            true => ask_fence(&self.fence).await,
            false => (None, String::new()),
        };
        Report {
            agent: self.agent.clone(),
            processes,
            fence,
            fence_problem,
            standing: self.standing.borrow().clone(),
        }
    }
}

/// The agent answers, so that it is ready.
fn without_agent(processes: &[Process]) -> Vec<Process> {
    processes
        .iter()
        .copied()
        .filter(|process| *process != Process::Agent)
        .collect()
}

/// What fence says of itself, or why it says nothing.
pub async fn ask_fence(fence: &fence_api::Client) -> (Option<Status>, String) {
    match timeout(FENCE_WITHIN, fence.status()).await {
        Ok(Ok(status)) => (Some(status), String::new()),
        Ok(Err(error)) => (None, chain(&error)),
        Err(_) => (
            None,
            format!("fence gave no answer within {} s", FENCE_WITHIN.as_secs_f32()),
        ),
    }
}

fn failure(error: Error) -> Failure {
    let message = chain(&error);
    let (kind, hint, log) = match error {
        Error::NotHere { .. } => (FailureKind::NotFound, "kato process list".to_owned(), Vec::new()),
        Error::External { .. } => (FailureKind::Refused, String::new(), Vec::new()),
        Error::Memory { .. } => (FailureKind::Failed, String::new(), Vec::new()),
        Error::NotAsWanted { seen, log, .. } => {
            let hint = match (seen.state, seen.wanted) {
                (State::Stopped, Wanted::Stopped) => format!("kato process start {}", seen.process),
                _ => String::new(),
            };
            (FailureKind::TimedOut, hint, log)
        }
    };
    Failure {
        kind,
        message,
        hint,
        log,
    }
}
