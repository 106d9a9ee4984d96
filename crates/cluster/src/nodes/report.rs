//! What a node says of itself: that it is alive, and how it is.
//!
//! ```text
//! state/ID/alive    with a lease: there for as long as the node's agent says again and again that it is
//! state/ID/report   how the node is, written when something changes and every [`REPORT_EVERY`]
//! ```
//!
//! The node's agent alone writes both; everybody reads them. A node without `alive` is dead, or cut off, since about
//! the time of its last report.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use uuid::Uuid;

use super::Role;
use super::record::known_roles;
use crate::config::Name;
use crate::process::{Answered, Observed, Process};
use crate::store::{Changes, Event, Page, Result, Revision, Store, Watch};

/// Where the states of nodes are.
pub const STATE: &str = "state/";
/// Where it is said which images nodes have.
pub const STOCK: &str = "stock/";
/// How long a node that says nothing more is held for alive.
pub const ALIVE_FOR: Duration = Duration::from_secs(10);
/// How often a node says that it is alive.
pub const ALIVE_EVERY: Duration = Duration::from_secs(3);
/// How often a node reports although nothing has changed.
pub const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The key of a node's sign of life.
pub fn alive_key(id: Uuid) -> String {
    format!("{}alive", state_prefix(id))
}

/// The key of a node's report.
pub fn report_key(id: Uuid) -> String {
    format!("{}report", state_prefix(id))
}

/// The key under which a node says which images it has: apart from what is read of all nodes at once, since it is large.
pub fn stock_key(id: Uuid) -> String {
    format!("{STOCK}{id}")
}

/// The keys of all that a node says of itself start with this.
pub fn state_prefix(id: Uuid) -> String {
    format!("{STATE}{id}/")
}

/// A node's sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Since when its agent runs.
    pub since: Timestamp,
    /// Which start of its system that was.
    pub boot: String,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its name as it goes by it now.
    pub name: Name,
    /// When it said so.
    pub at: Timestamp,
    /// The version of its agent.
    pub version: String,
    /// Of which architecture it is, in the words of images (`amd64`); "" where its agent does not say so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub architecture: String,
    /// What it does now; of a later version's roles those that this version knows.
    #[serde(deserialize_with = "known_roles")]
    pub roles: Vec<Role>,
    /// Its addresses, those that only it can use left out.
    pub addresses: Vec<IpAddr>,
    /// Its processes, the agent first; of a later version's those that this version knows.
    #[serde(deserialize_with = "known_processes")]
    pub processes: Vec<Observed>,
    /// What became of the last order for each process.
    #[serde(default, deserialize_with = "known_answers")]
    pub orders: BTreeMap<Process, Answered>,
    /// The revision of the configuration that it goes by: the agent, and fence where that runs.
    pub config_revision: Option<u64>,
    /// How many containers it has, where its fence said so.
    #[serde(default)]
    pub containers: Option<Containers>,
    /// Where it is being retired: how far that is.
    #[serde(default)]
    pub retiring: Option<Retiring>,
    /// What else is not in order there, in words.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// How many containers a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    /// Those whose processes may run.
    pub active: u64,
    /// Those that were stopped.
    pub stopped: u64,
    /// Those that are gone from the engine.
    pub lost: u64,
    /// The most it may have.
    pub max: u64,
}

/// How far a node is being retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retiring {
    /// Since when, where it says so.
    pub since: Option<Timestamp>,
    /// Until the containers that run are stopped.
    pub seconds_left: u64,
    /// Containers that still run.
    pub active: u64,
    /// Those that do not.
    pub stopped: u64,
}

impl Report {
    /// Whether it says the same, whenever it was said.
    pub fn says_the_same(&self, other: &Report) -> bool {
        let untimed = |report: &Report| Report {
            at: Timestamp::UNIX_EPOCH,
            retiring: report.retiring.map(|retiring| Retiring {
                // Of a wait that goes on nothing is news but its end.
                seconds_left: retiring.seconds_left.min(1),
                ..retiring
            }),
            ..report.clone()
        };
        untimed(self) == untimed(other)
    }

    /// What is seen of one process.
    pub fn process(&self, process: Process) -> Option<&Observed> {
        self.processes.iter().find(|seen| seen.process == process)
    }
}

/// What the store has of a node's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Its sign of life, where it is alive.
    pub alive: Option<Alive>,
    /// Its last report, where it ever made one that can be read.
    pub report: Option<Report>,
}

/// The states of nodes as of one revision of the store; kept up by its changes.
#[derive(Clone, Debug, Default)]
pub struct States {
    revision: Revision,
    nodes: HashMap<Uuid, State>,
}

impl States {
    /// Read the states of all nodes.
    pub async fn read(store: &dyn Store) -> Result<Self> {
        States::below(store, STATE).await
    }

    /// The state of one node.
    pub fn of(&self, id: Uuid) -> State {
        self.nodes.get(&id).cloned().unwrap_or_default()
    }

    /// Every change after these, to be taken up with [`States::apply`].
    pub async fn watch(&self, store: &dyn Store) -> Result<Watch> {
        store.watch(STATE, self.revision).await
    }

    /// Take up what has changed.
    pub fn apply(&mut self, changes: Changes) {
        self.revision = changes.revision;
        for event in changes.events {
            match event {
                Event::Put { key, value } => self.set(&key, Some(&value)),
                Event::Delete { key } => self.set(&key, None),
            }
        }
    }

    async fn below(store: &dyn Store, prefix: &str) -> Result<Self> {
        let range = store.range(prefix, Page::ALL).await?;
        let mut states = States {
            revision: range.revision,
            nodes: HashMap::new(),
        };
        for entry in &range.entries {
            states.set(&entry.key, Some(&entry.value));
        }
        Ok(states)
    }

    fn set(&mut self, key: &str, value: Option<&[u8]>) {
        let words = key.strip_prefix(STATE).and_then(|rest| rest.split_once('/'));
        let Some((Ok(id), what)) = words.map(|(id, what)| (Uuid::parse_str(id), what)) else {
            return;
        };
        let state = self.nodes.entry(id).or_default();
        match what {
            "alive" => state.alive = value.and_then(|value| json(key, value)),
            "report" => state.report = value.and_then(|value| json(key, value)),
            _ => {}
        }
    }
}

/// The state of one node.
pub async fn state(store: &dyn Store, id: Uuid) -> Result<State> {
    Ok(States::below(store, &state_prefix(id)).await?.of(id))
}

/// What a node wrote, unless it cannot be read: one node must not hide the others.
fn json<T: DeserializeOwned>(key: &str, value: &[u8]) -> Option<T> {
    serde_json::from_slice(value)
        .inspect_err(|error| tracing::warn!(key, %error, "what a node said of itself cannot be read"))
        .ok()
}

fn known_processes<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<Observed>, D::Error> {
    let all = Vec::<Value>::deserialize(deserializer)?.into_iter();
    let is_unknown = |name: &str| name.parse::<Process>().is_err();
    all.filter(|seen| !seen["process"].as_str().is_some_and(is_unknown))
        .map(|seen| serde_json::from_value(seen).map_err(de::Error::custom))
        .collect()
}

fn known_answers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<Process, Answered>, D::Error> {
    let all = BTreeMap::<String, Answered>::deserialize(deserializer)?.into_iter();
    Ok(all
        .filter_map(|(name, answer)| Some((name.parse().ok()?, answer)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_node_that_is_being_retired_its_containers_are_news_and_its_seconds_are_not() {
        let retiring = |seconds_left, active| Report {
            name: Name::new("one").unwrap(),
            at: Timestamp::now(),
            version: String::new(),
            architecture: String::new(),
            roles: Vec::new(),
            addresses: Vec::new(),
            processes: Vec::new(),
            orders: BTreeMap::new(),
            config_revision: None,
            containers: None,
            retiring: Some(Retiring {
                since: None,
                seconds_left,
                active,
                stopped: 0,
            }),
            problems: Vec::new(),
        };
        assert!(retiring(500, 2).says_the_same(&retiring(499, 2)));
        assert!(!retiring(500, 2).says_the_same(&retiring(499, 1)));
        assert!(!retiring(1, 2).says_the_same(&retiring(0, 2)), "its end is news");
    }
}
