//! The family `kato config`: read and change the config tree.
//!
//! A file per verb. Which values are good, what a change does and what is recorded is the tree's matter (`cluster`);
//! here are the arguments, what is printed, and how the tree's errors end the command.

use clap::{Args, Subcommand};
use cluster::config::{Component, Config, KeyPath, Name, Scope, Target};
use cluster::nodes::{Nodes, default_realm};
use cluster::realms::Realms;

use super::Context;
use super::cloud::bounded;
use crate::completing;
use crate::error::{Error, Exit, Result};

pub mod change;
mod del;
mod diff;
mod get;
mod history;
mod open;
mod part;
mod pop;
pub mod problem;
mod push;
mod rollback;
mod schema;
mod set;
mod show;
pub mod words;

pub use open::{open, open_store};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    Get(get::GetArgs),
    Set(set::SetArgs),
    Del(del::DelArgs),
    Push(push::PushArgs),
    Pop(pop::PopArgs),
    Schema(schema::SchemaArgs),
    History(history::HistoryArgs),
    Diff(diff::DiffArgs),
    Rollback(rollback::RollbackArgs),
}

/// Run one verb.
pub async fn run(context: &Context, command: ConfigCommand) -> Result<Exit> {
    match command {
        ConfigCommand::Get(args) => get::run(context, &args).await,
        ConfigCommand::Set(args) => set::run(context, &args).await,
        ConfigCommand::Del(args) => del::run(context, &args).await,
        ConfigCommand::Push(args) => push::run(context, &args).await,
        ConfigCommand::Pop(args) => pop::run(context, &args).await,
        ConfigCommand::Schema(args) => schema::run(context, &args),
        ConfigCommand::History(args) => history::run(context, &args).await,
        ConfigCommand::Diff(args) => diff::run(context, &args).await,
        ConfigCommand::Rollback(args) => rollback::run(context, &args).await,
    }
}

/// Whose values are meant.
#[derive(Args, Debug)]
struct ScopeArgs {
    /// The values of this node
    #[arg(short = 'n', long, value_name = "NODE", conflicts_with = "realm", add = completing::nodes())]
    node: Option<String>,
    /// The values of this realm's nodes
    #[arg(long, value_name = "REALM", add = completing::realms())]
    realm: Option<String>,
}

impl ScopeArgs {
    fn scope(&self) -> Result<Option<Scope>> {
        let name = |name: &String| Name::new(name).map_err(problem::key);
        match (&self.node, &self.realm) {
            (Some(node), _) => Ok(Some(Scope::Node(name(node)?))),
            (_, Some(realm)) => Ok(Some(Scope::Realm(name(realm)?))),
            _ => Ok(None),
        }
    }

    /// Warn where a node or realm is meant that is not there: values can be set for it, and nobody uses them yet.
    async fn warn_if_absent(&self, context: &Context, config: &Config) {
        let known = async {
            let (_, store) = open_store(context).await?;
            match (&self.node, &self.realm) {
                (Some(node), _) => {
                    let all = bounded(Nodes::new(store).list()).await?;
                    Ok::<_, Error>(all.iter().any(|record| record.name.as_str() == node))
                }
                (_, Some(realm)) => {
                    let all = bounded(Realms::new(store).list()).await?;
                    Ok(all.iter().any(|known| known.name.as_str() == realm))
                }
                _ => Ok(true),
            }
        };
        // This node and the first realm are there, whether anybody has written so yet or not.
        let surely = |node: &Option<String>, name: &Name| node.as_deref() == Some(name.as_str());
        if surely(&self.node, config.node()) || surely(&self.realm, &default_realm()) {
            return;
        }
        // Where it cannot be told, the command itself says why.
        if known.await.unwrap_or(true) {
            return;
        }
        match (&self.node, &self.realm) {
            (Some(node), _) => context
                .ui
                .warn(&format!("There is no node {node}; see: kato node list")),
            (_, Some(realm)) => context
                .ui
                .warn(&format!("There is no realm {realm}; see: kato realm list")),
            _ => {}
        }
    }

    /// As they were given, for the record of a change.
    fn given(&self) -> String {
        let option = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!(" {name} {value}"));
        [option("--node", &self.node), option("--realm", &self.realm)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The key that is meant.
#[derive(Args, Debug)]
struct KeyArgs {
    /// cluster, local (this node's own values), or a process such as fence
    #[arg(value_name = "COMPONENT")]
    component: String,
    /// The key, with / between its parts; / alone is the whole component
    #[arg(value_name = "KEY-PATH")]
    path: String,
}

impl KeyArgs {
    fn target(&self, here: &Name, scope: Option<Scope>) -> Result<Target> {
        target(here, scope, &self.component, &self.path)
    }

    /// As it was given with a verb, for the record of a change. The value is left out: it is recorded by itself,
    /// unless it is secret.
    fn given(&self, verb: &str, scope: &ScopeArgs) -> String {
        format!("{verb}{} {} {}", scope.given(), self.component, self.path)
    }
}

fn target(here: &Name, scope: Option<Scope>, component: &str, path: &str) -> Result<Target> {
    let component = Component::new(component).map_err(problem::key)?;
    let path = KeyPath::parse(path).map_err(problem::key)?;
    Target::resolve(here, scope, &component, &path).map_err(problem::key)
}
