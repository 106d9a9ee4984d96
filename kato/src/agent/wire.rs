//! What kato and the agent say to each other: one line of JSON there, one line back, then the connection ends.
//!
//! The agent may be older or newer than the kato that asks, after an upgrade: unknown members are passed over, and a
//! question the agent does not know is answered with [`FailureKind::Refused`].

use std::time::Duration;

use cluster::process::{Observed, Process};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::joining::Standing;
use crate::fence_api::wire::Status as FenceStatus;

/// The version of this language.
pub const VERSION: u32 = 1;
/// The longest question, in bytes.
pub const MAX_QUESTION: u64 = 16 * 1024;
/// The longest answer, in bytes.
pub const MAX_ANSWER: u64 = 1024 * 1024;
/// The longest that anything is waited for with a bound: a year.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A question with the version of its language.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// [`VERSION`] of who asks.
    pub version: u32,
    /// What is asked.
    #[serde(flatten)]
    pub action: Action,
}

/// What may be asked of the agent. No processes = all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Tell about itself and the processes.
    List,
    /// The same, and what fence says of itself now.
    Status,
    /// Wait until they are ready; without a bound for ever.
    Ready {
        processes: Vec<Process>,
        within_ms: Option<u64>,
    },
    /// Start them and wait until they are ready.
    Start { processes: Vec<Process>, within_ms: u64 },
    /// Stop them and wait until they have ended.
    Stop { processes: Vec<Process>, within_ms: u64 },
    /// Restart them and wait until the new ones are ready.
    Restart { processes: Vec<Process>, within_ms: u64 },
    /// End; the processes stay as they are.
    Leave,
}

impl Action {
    /// How long the agent may take for it, apart from answering; `None` = for ever.
    pub fn within(&self) -> Option<Duration> {
        let within = match self {
            Action::List | Action::Status | Action::Leave => Some(Duration::ZERO),
            Action::Ready { within_ms, .. } => within_ms.map(Duration::from_millis),
            Action::Start { within_ms, .. } | Action::Stop { within_ms, .. } | Action::Restart { within_ms, .. } => {
                Some(Duration::from_millis(*within_ms))
            }
        };
        within.map(|within| within.min(LONGEST))
    }
}

/// The answer to any question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was done; this is how things are.
    Done(Box<Report>),
    /// It was not done, or not wholly.
    Failed(Failure),
}

/// How things are on the node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The agent itself.
    pub agent: AgentInfo,
    /// All processes, the agent first; of a later agent's those that this kato knows.
    #[serde(deserialize_with = "known")]
    pub processes: Vec<Observed>,
    /// What fence said, where it was asked.
    #[serde(default)]
    pub fence: Option<FenceStatus>,
    /// Why fence said nothing, or "".
    #[serde(default)]
    pub fence_problem: String,
    /// How the node stands with its cluster, where that is a question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Observed>, D::Error> {
    let all = Vec::<serde_json::Value>::deserialize(deserializer)?.into_iter();
    let is_unknown = |name: &str| name.parse::<Process>().is_err();
    let known = all.filter(|observed| !observed["process"].as_str().is_some_and(is_unknown));
    known
        .map(|observed| serde_json::from_value(observed).map_err(de::Error::custom))
        .collect()
}

/// The agent itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Since when it runs.
    pub since: Timestamp,
    /// The operating system it was built for.
    pub os: String,
    /// The architecture it was built for.
    pub architecture: String,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// What happened, in words.
    pub message: String,
    /// What to do next, or "".
    #[serde(default)]
    pub hint: String,
    /// The last lines of the failing process's log.
    #[serde(default)]
    pub log: Vec<String>,
}

/// The kinds of failure that kato tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It was tried and failed.
    Failed,
    /// It is not for the agent to do.
    Refused,
    /// There is no such process on this node.
    NotFound,
    /// A process was not as it was to be in time.
    TimedOut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_one_line_of_json() {
        let action = Action::Restart {
            processes: vec![Process::Fence],
            within_ms: 60_000,
        };
        let text = serde_json::to_string(&Question {
            version: VERSION,
            action,
        })
        .unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"action":"restart","processes":["fence"],"within_ms":60000}"#
        );
        let read: Question = serde_json::from_str(&text).unwrap();
        assert_eq!(read.action.within(), Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_bound_beyond_all_reason_is_a_year() {
        let action = Action::Ready {
            processes: Vec::new(),
            within_ms: Some(u64::MAX),
        };
        assert_eq!(action.within(), Some(LONGEST));
        assert_eq!(
            Action::Ready {
                processes: Vec::new(),
                within_ms: None
            }
            .within(),
            None
        );
    }

    #[test]
    fn members_of_a_later_version_are_passed_over() {
        let text = r#"{"version":2,"action":"list","colour":"red"}"#;
        assert_eq!(serde_json::from_str::<Question>(text).unwrap().action, Action::List);
    }
}
