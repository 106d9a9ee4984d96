//! What commands that look beyond their own node share: its cluster's records and states, which node is meant, and how
//! the errors of both end a command.
//!
//! A micro cloud is a cluster of one node. Reading is bounded: a store that is gone costs [`WITHIN`].

pub mod orders;
mod problem;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cluster::config::Name;
use cluster::nodes::{Kind, NodeFile, Nodes, Record, State, States};
use cluster::realms::Realms;
use cluster::store::Store;
use jiff::Timestamp;
use tokio::time::timeout;

pub use self::problem::{registry, store};
use super::Context;
use super::config::{change, open_store, problem as tree};
use crate::completing;
use crate::error::{Error, Result};
use crate::ui;

/// How long the store may take to answer.
pub const WITHIN: Duration = Duration::from_secs(3);

/// The option that names another node.
#[derive(Args, Debug)]
pub struct NodeArgs {
    /// The node: its name, id, the beginning of its id, or an address; this node if it is not given
    #[arg(short = 'n', long, value_name = "NODE", add = completing::nodes())]
    pub node: Option<String>,
}

/// The nodes that are meant.
#[derive(Args, Debug)]
pub struct WhereArgs {
    #[command(flatten)]
    pub node: NodeArgs,
    /// All nodes of the cluster
    #[arg(short = 'c', long, conflicts_with = "node")]
    pub cluster: bool,
}

/// The cluster that this node is of, with an administrator's rights where there is a credential, else the node's.
pub struct Cloud {
    /// This node.
    pub node: NodeFile,
    /// What the cluster shares.
    pub store: Arc<dyn Store>,
}

/// A node as the cluster sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the cluster knows of it.
    pub record: Record,
    /// What it says of itself.
    pub state: State,
}

impl WhereArgs {
    /// The nodes that are meant, if it is not simply this one.
    pub async fn elsewhere(&self, context: &Context) -> Result<Option<(Cloud, Vec<Seen>)>> {
        let Some(word) = &self.node.node else {
            if !self.cluster {
                return Ok(None);
            }
            let cloud = Cloud::open(context).await?;
            let all = cloud.seen().await?;
            return Ok(Some((cloud, all)));
        };
        let cloud = Cloud::open(context).await?;
        let meant = cloud.find(word).await?;
        Ok((meant.record.id != cloud.node.id).then(|| (cloud, vec![meant])))
    }
}

impl Cloud {
    /// Open the tree of this node's cluster. The one node of a micro cloud has a record afterwards.
    pub async fn open(context: &Context) -> Result<Self> {
        let (node, store) = open_store(context).await?;
        let cloud = Cloud { node, store };
        if cloud.node.kind == Kind::Micro && bounded(cloud.nodes().get(cloud.node.id)).await?.is_none() {
            let added = bounded(cloud.nodes().add(&Record::of_node(&cloud.node, &by()))).await;
            // The agent may be about to do the same, and knows what to do with a node that was here before.
            added.or_else(|error| match error.kind() {
                crate::error::Kind::Refused => Ok(()),
                _ => Err(error),
            })?;
        }
        Ok(cloud)
    }

    /// The records of nodes.
    pub fn nodes(&self) -> Nodes {
        Nodes::new(Arc::clone(&self.store))
    }

    /// The realms.
    pub fn realms(&self) -> Realms {
        Realms::new(Arc::clone(&self.store))
    }

    /// All nodes, by name.
    pub async fn seen(&self) -> Result<Vec<Seen>> {
        let states = async { States::read(self.store.as_ref()).await.map_err(read_failed) };
        let nodes = self.nodes();
        let (records, states) = tokio::try_join!(bounded(nodes.list()), bounded(states))?;
        let seen = |mut record: Record| {
            let state = states.of(record.id);
            // What it says itself is newer.
            if let Some(report) = state.report.as_ref().filter(|report| !report.addresses.is_empty()) {
                record.addresses.clone_from(&report.addresses);
            }
            Seen { record, state }
        };
        Ok(records.into_iter().map(seen).collect())
    }

    /// The node that is meant.
    pub async fn find(&self, word: &str) -> Result<Seen> {
        let all = self.seen().await?;
        let records: Vec<Record> = all.iter().map(|seen| seen.record.clone()).collect();
        let id = cluster::nodes::registry::find_among(&records, word)
            .map_err(registry)?
            .id;
        let found = all.into_iter().find(|seen| seen.record.id == id);
        found.ok_or_else(|| Error::not_found(format!("there is no node {word:?}")).hint("kato node list"))
    }

    /// The node that an option names, or this one.
    pub async fn meant(&self, args: &NodeArgs) -> Result<Seen> {
        let own = self.node.id.to_string();
        self.find(args.node.as_deref().unwrap_or(&own)).await
    }
}

impl Seen {
    /// Whether its agent says that it is alive.
    pub fn is_alive(&self) -> bool {
        self.state.alive.is_some()
    }

    /// When it was last heard of, where it is dead; `None` also where it never was.
    pub fn dead_since(&self) -> Option<Timestamp> {
        let report = self.state.report.as_ref().filter(|_| !self.is_alive());
        report.map(|report| report.at)
    }

    /// `alive`, or since when it is dead.
    pub fn life(&self) -> String {
        match (self.is_alive(), self.dead_since()) {
            (true, _) => "alive".to_owned(),
            (false, Some(since)) => format!("dead since {}", ui::time(since)),
            (false, None) => "never heard of".to_owned(),
        }
    }

    /// Whether it says that it is being retired.
    pub fn is_retiring(&self) -> bool {
        let report = self.state.report.as_ref();
        report.is_some_and(|report| report.retiring.is_some())
    }

    /// `alive`, `retiring`, or since when it is dead.
    pub fn state(&self) -> String {
        match self.is_alive() && self.is_retiring() {
            true => "retiring".to_owned(),
            false => self.life(),
        }
    }

    /// Its first address, or "-".
    pub fn address(&self) -> String {
        let first = self.record.addresses.first();
        first.map_or_else(|| "-".to_owned(), ToString::to_string)
    }

    /// The error that it is dead.
    pub fn unreachable(&self) -> Error {
        let name = &self.record.name;
        Error::unreachable(format!("the node {name} does not answer: {}", self.life())).hint("kato node list")
    }
}

/// A call to the store or the records within the bound.
pub async fn bounded<T>(call: impl Future<Output = cluster::nodes::registry::Result<T>>) -> Result<T> {
    match timeout(WITHIN, call).await {
        Ok(answered) => answered.map_err(registry),
        Err(_) => Err(
            Error::unreachable(format!("the config tree gave no answer within {} s", WITHIN.as_secs()))
                .hint("kato status"),
        ),
    }
}

/// Reading the states failed.
fn read_failed(source: cluster::store::Error) -> cluster::nodes::registry::Error {
    let attempt = "read how the nodes are";
    cluster::nodes::registry::Error::Store { attempt, source }
}

/// Who gives the command.
pub fn by() -> String {
    change::author_of(String::new()).who
}

/// A name that was typed.
pub fn name(text: &str) -> Result<Name> {
    Name::new(text).map_err(tree::key)
}
