//! How a process is seen: its state, and what is wanted of it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Process;

/// The state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// It does not run.
    Stopped,
    /// It runs and is not ready, or is about to be started.
    Starting,
    /// It runs and answered.
    Running,
    /// It was told to end.
    Stopping,
    /// It died and is started again after a while.
    Backoff,
    /// It died again and again; it is still tried, rarely.
    Fatal,
    /// It runs although no role of the node has it.
    Rogue,
}

impl State {
    /// Its name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            State::Stopped => "STOPPED",
            State::Starting => "STARTING",
            State::Running => "RUNNING",
            State::Stopping => "STOPPING",
            State::Backoff => "BACKOFF",
            State::Fatal => "FATAL",
            State::Rogue => "ROGUE",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// What is wanted of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// It shall run.
    Running,
    /// It shall not run.
    Stopped,
    /// It shall run, but somebody else starts and stops it.
    External,
}

impl Wanted {
    /// Whether it shall run, whoever starts it.
    pub fn is_running(self) -> bool {
        self != Wanted::Stopped
    }
}

/// What is known of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The process.
    pub process: Process,
    /// Its state.
    pub state: State,
    /// Its process id, where it is known.
    pub pid: Option<u32>,
    /// Since when it runs, or is in its state.
    pub since: Option<Timestamp>,
    /// What is wrong with it, or "".
    pub problem: String,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// Which of the wishes for it this answers: each restart that is asked for raises it.
    #[serde(default)]
    pub generation: u64,
}

impl Observed {
    /// A process of which nothing is known but what is wanted.
    pub fn stopped(process: Process, wanted: Wanted) -> Self {
        let (state, generation, problem) = (State::Stopped, 0, String::new());
        Observed {
            process,
            state,
            pid: None,
            since: None,
            problem,
            wanted,
            generation,
        }
    }

    /// Whether it is ready to be used.
    pub fn is_ready(&self) -> bool {
        self.state == State::Running && self.problem.is_empty()
    }

    /// Whether it is as it is wanted.
    pub fn is_in_order(&self) -> bool {
        if self.wanted.is_running() {
            self.is_ready()
        } else {
            self.state == State::Stopped
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_printed_and_serialised_alike() {
        use State::*;
        for state in [Stopped, Starting, Running, Stopping, Backoff, Fatal, Rogue] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }

    #[test]
    fn in_order_is_what_was_wanted() {
        let stopped = Observed::stopped(Process::Fence, Wanted::Stopped);
        assert!(stopped.is_in_order() && !stopped.is_ready());
        let dead = Observed::stopped(Process::Fence, Wanted::Running);
        assert!(!dead.is_in_order());
        let external = Observed {
            state: State::Running,
            ..Observed::stopped(Process::Docker, Wanted::External)
        };
        assert!(external.is_in_order());
        let sick = Observed {
            problem: "it does not answer".into(),
            ..external
        };
        assert!(!sick.is_in_order());
    }
}
