//! The whole cluster in the status: its age and uptime, and every node as it last said. Read within a bound, with the
//! node's own rights.

use std::net::IpAddr;
use std::sync::Arc;

use cluster::config::{Config, KeyPath, Name, Scope};
use cluster::nodes::{Access, Kind, NodeFile, Nodes, Paths, Role, States, default_realm, open_tree};
use cluster::pairing::Pairing;
use cluster::process::{Observed, Process};
use cluster::realms::Realms;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::model::Problem;
use crate::commands::cloud::{Seen, WITHIN};
use crate::error::chain;
use crate::ui::{Table, Tone, time};

/// The cluster.
#[derive(Debug, Serialize)]
pub struct Cluster {
    /// What kind of cloud it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The time of this node.
    pub now: Timestamp,
    /// When its first node was let in.
    pub created: Option<Timestamp>,
    /// Since when the core's agent runs, or that of a micro cloud's one node; `None` where it does not.
    pub started: Option<Timestamp>,
    /// How long that is, in words, or "".
    pub uptime: String,
    /// Why the nodes cannot be told, or "".
    pub problem: String,
    /// How many nodes ask to be let in; `None` where this node has no right to know, and on a micro cloud.
    pub pending: Option<usize>,
    /// All nodes, by name.
    pub nodes: Vec<Line>,
}

/// A node, as the cluster sees it.
#[derive(Debug, Serialize)]
pub struct Line {
    pub node: String,
    pub id: String,
    pub address: Option<IpAddr>,
    pub roles: Vec<Role>,
    pub realm: String,
    pub zone: String,
    /// `alive`, `retiring`, `dead`, or `new` where it was never heard of.
    pub state: &'static str,
    /// When a dead node was last heard of.
    pub dead_since: Option<Timestamp>,
    /// Its processes that are not as they are wanted.
    pub in_trouble: Vec<Observed>,
    /// What else it says is not in order.
    pub problems: Vec<String>,
    /// The revision of the configuration that it goes by.
    pub config_revision: Option<u64>,
    /// Whether that is not the latest.
    pub is_behind: bool,
    #[serde(skip)]
    life: String,
}

/// What is read of the cluster, or why it cannot be.
pub async fn look(paths: &Paths, node: &NodeFile) -> Cluster {
    let read = timeout(WITHIN, read(paths, node)).await;
    let late = || Err(format!("the config tree gave no answer within {} s", WITHIN.as_secs()));
    read.unwrap_or_else(|_| late()).unwrap_or_else(|problem| Cluster {
        kind: node.kind,
        now: Timestamp::now(),
        created: None,
        started: None,
        uptime: String::new(),
        problem,
        pending: None,
        nodes: Vec::new(),
    })
}

async fn read(paths: &Paths, node: &NodeFile) -> Result<Cluster, String> {
    let told = |error: &dyn std::error::Error| chain(error);
    let store = open_tree(paths, node, Access::Node)
        .await
        .map_err(|error| told(&error))?;
    let config = Config::for_node(Arc::clone(&store), node.name.clone());
    let (nodes, realms) = (Nodes::new(Arc::clone(&store)), Realms::new(Arc::clone(&store)));
    let (records, realms, states, layers, pending) = tokio::join!(
        nodes.list(),
        realms.list(),
        States::read(store.as_ref()),
        config.layers(),
        pending(paths, node)
    );
    let (records, realms) = (
        records.map_err(|error| told(&error))?,
        realms.map_err(|error| told(&error))?,
    );
    let (states, layers) = (
        states.map_err(|error| told(&error))?,
        layers.map_err(|error| told(&error))?,
    );
    let retire = KeyPath::parse("fence/retire/wanted").map_err(|error| told(&error))?;
    let is_retiring = |name: &Name| {
        let merged = layers.merged(&Scope::Node(name.clone()));
        merged.nest(&retire) == Some(Value::Bool(true))
    };
    let now = Timestamp::now();
    let is_first = |roles: &[Role]| node.kind == Kind::Micro || roles.contains(&Role::Core);
    let mut started = None;
    let lines = records.into_iter().map(|record| {
        let state = states.of(record.id);
        if is_first(&record.roles) {
            started = state.alive.as_ref().map(|alive| alive.since);
        }
        let retiring = is_retiring(&record.name);
        line(Seen { record, state }, retiring, layers.revision)
    });
    let nodes = lines.collect();
    let created = realms.iter().find(|realm| realm.name == default_realm());
    Ok(Cluster {
        kind: node.kind,
        now,
        created: created.map(|realm| realm.created),
        started,
        uptime: started.map(|since| in_words(since, now)).unwrap_or_default(),
        problem: String::new(),
        pending,
        nodes,
    })
}

/// How many nodes ask to be let in, where an administrator's credential allows to know.
async fn pending(paths: &Paths, node: &NodeFile) -> Option<usize> {
    if node.kind == Kind::Micro {
        return None;
    }
    let store = open_tree(paths, node, Access::Administrator).await.ok()?;
    let pending = Pairing::new(store).pending().await.ok()?;
    Some(pending.len())
}

fn line(seen: Seen, is_retiring: bool, latest: u64) -> Line {
    let is_retiring = is_retiring || seen.is_retiring();
    let (is_alive, dead_since, life) = (seen.is_alive(), seen.dead_since(), seen.life());
    let Seen { record, state } = seen;
    let report = state.report.as_ref();
    let addresses = report.map(|report| &report.addresses).filter(|all| !all.is_empty());
    let in_trouble = |report: &cluster::nodes::Report| {
        let all = report.processes.iter().filter(|seen| !seen.is_in_order());
        all.cloned().collect()
    };
    let config_revision = report.and_then(|report| report.config_revision);
    Line {
        node: record.name.to_string(),
        id: record.id.to_string(),
        address: addresses.unwrap_or(&record.addresses).first().copied(),
        roles: record.roles,
        realm: record.realm.to_string(),
        zone: record.zone.to_string(),
        state: match (is_alive, is_retiring, dead_since) {
            (true, false, _) => "alive",
            (true, true, _) => "retiring",
            (false, _, Some(_)) => "dead",
            (false, _, None) => "new",
        },
        dead_since,
        in_trouble: report.map(in_trouble).unwrap_or_default(),
        problems: report.map(|report| report.problems.clone()).unwrap_or_default(),
        config_revision,
        is_behind: config_revision < Some(latest),
        life: if is_alive && is_retiring {
            "retiring".to_owned()
        } else {
            life
        },
    }
}

impl Cluster {
    /// What is not in order on other nodes than this one, of which more is known.
    pub fn problems(&self, own_id: &str) -> Vec<Problem> {
        let others = self.nodes.iter().filter(|line| line.id != own_id);
        others.flat_map(Line::trouble).collect()
    }

    /// What an administrator should know of those that ask to be let in.
    pub fn note(&self) -> Option<String> {
        let asking = match self.pending.unwrap_or(0) {
            0 => return None,
            1 => "1 node asks".to_owned(),
            more => format!("{more} nodes ask"),
        };
        Some(format!("{asking} to be let in: kato node pending"))
    }

    /// Its own line: kind, time, age, uptime.
    pub fn facts(&self) -> String {
        let kind = match self.kind {
            Kind::Micro => "micro cloud",
            Kind::Cluster => "cluster",
        };
        let mut facts = format!("{kind}, now {}", time(self.now));
        if let Some(created) = self.created {
            facts.push_str(&format!(
                ", created {} ({} ago)",
                time(created),
                in_words(created, self.now)
            ));
        }
        if !self.uptime.is_empty() {
            facts.push_str(&format!(", up {}", self.uptime));
        }
        if !self.problem.is_empty() {
            facts.push_str(&format!(", nodes unknown: {}", self.problem));
        }
        facts
    }

    /// A line for each node.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["node", "address", "roles", "state", "in trouble", "config"]);
        for line in &self.nodes {
            let roles = line.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(",");
            let mut trouble: Vec<String> = line
                .in_trouble
                .iter()
                .map(|seen| format!("{} {}", seen.process, seen.state))
                .collect();
            if trouble.is_empty() {
                trouble.push("none".to_owned());
            }
            let address = line
                .address
                .map_or_else(|| "-".to_owned(), |address| address.to_string());
            let config = match (line.config_revision, line.is_behind) {
                (None, _) => "unknown".to_owned(),
                (Some(revision), false) => revision.to_string(),
                (Some(revision), true) => format!("{revision} (behind)"),
            };
            let trouble = if line.is_dead() {
                "unknown".to_owned()
            } else {
                trouble.join(", ")
            };
            let tone = match (line.is_dead(), line.in_trouble.is_empty() && line.problems.is_empty()) {
                (false, true) => Tone::Good,
                _ => Tone::Bad,
            };
            table.row(tone, [&line.node, &address, &roles, &line.life, &trouble, &config]);
        }
        table
    }
}

impl Line {
    fn is_dead(&self) -> bool {
        matches!(self.state, "dead" | "new")
    }

    fn trouble(&self) -> Vec<Problem> {
        let told = |problem: String, hint: String| Problem { problem, hint };
        let node = &self.node;
        if self.is_dead() {
            let hint = "kato node list".to_owned();
            return vec![told(format!("the node {node} does not answer: {}", self.life), hint)];
        }
        let processes = self.in_trouble.iter().map(|seen| {
            let why = Some(format!(": {}", seen.problem)).filter(|_| !seen.problem.is_empty());
            let hint = match seen.process {
                Process::Agent => String::new(),
                process => format!("kato process start -n {node} {process}"),
            };
            let what = format!("{node}: {} is {}{}", seen.process, seen.state, why.unwrap_or_default());
            told(what, hint)
        });
        let others = self
            .problems
            .iter()
            .map(|problem| told(format!("{node}: {problem}"), String::new()));
        processes.chain(others).collect()
    }
}

/// How long it was from then to now, roughly.
fn in_words(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_largest_unit() {
        let told = |seconds: i64| in_words(Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).unwrap());
        let all = [0, 1, 59, 60, 7199, 7200, 86_400, 200_000].map(told);
        assert_eq!(
            all,
            [
                "0 seconds",
                "1 second",
                "59 seconds",
                "1 minute",
                "1 hour",
                "2 hours",
                "1 day",
                "2 days"
            ]
        );
        // A clock that went back.
        assert_eq!(
            in_words(Timestamp::from_second(9).unwrap(), Timestamp::UNIX_EPOCH),
            "0 seconds"
        );
    }
}
