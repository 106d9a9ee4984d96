//! `kato node retire`: take a node out of service, and show how it empties.
//!
//! The wish is in the node's layer of the configuration, so that it is checked, recorded and followed like any other
//! setting; what it does is fence's matter. How far it is says fence where the node is this one, else its last report.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cluster::config::schema::fence::MAX_RETIRE_TIMEOUT;
use cluster::config::{Config, KeyPath, Name, Scope, Target, Tree};
use cluster::nodes::{NodeFile, Nodes, Role, report};
use cluster::store::Store;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::problem as nodes;
use crate::commands::Context;
use crate::commands::config::{change, open_store, problem};
use crate::completing;
use crate::error::{Error, Exit, Kind, Result, chain};
use crate::fence_api::Client;
use crate::fence_api::wire::Retiring;

/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(500);
/// How long nothing may be heard or happen beyond what a container has to be stopped.
const SILENCE: Duration = Duration::from_secs(60);
/// What a shell calls an end by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Take a node out of service: nothing new is started on it, and what runs is stopped after a while
///
/// Containers go on for the time given, and so do processes in them; then they are stopped, and none is destroyed. It waits
/// until nothing runs there any more. The node stays so, also when it is started anew, until that is cancelled.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node retire                              This node, after 10 minutes
  kato node retire -n edge1 --timeout 3600
  kato node retire -n edge1 --timeout 0         Stop all at once
  kato node retire -n edge1 --cancel            In service again")]
pub struct RetireArgs {
    /// The node: its name or id; this one if it is not given
    #[arg(short, long, value_name = "NODE", add = completing::nodes())]
    node: Option<String>,
    /// Stop what runs after so many seconds; fence retire/timeout if it is not given
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(i64).range(0..=MAX_RETIRE_TIMEOUT))]
    timeout: Option<i64>,
    /// Have the node in service again; what was stopped is not started
    #[arg(long, conflicts_with_all = ["timeout", "no_wait"])]
    cancel: bool,
    /// Do not wait until nothing runs
    #[arg(long)]
    no_wait: bool,
}

/// The node that is meant.
struct Chosen {
    name: Name,
    id: Uuid,
    is_this: bool,
    roles: Vec<Role>,
}

/// Retire it, or cancel that.
pub async fn run(context: &Context, args: &RetireArgs) -> Result<Exit> {
    let (this, store) = open_store(context).await?;
    let config = Config::new(Arc::clone(&store), this.name.clone());
    let node = choose(this, args.node.as_deref(), &store).await?;
    if args.cancel {
        return cancel(context, &config, &node).await;
    }
    if !node.roles.contains(&Role::Dea) {
        let message = format!("node {} has no containers: it does not have the role dea", node.name);
        return Err(Error::refused(message));
    }
    let (address, value) = match args.timeout {
        Some(timeout) => ("fence/retire", json!({"wanted": true, "timeout": timeout})),
        None => ("fence/retire/wanted", json!(true)),
    };
    set(&config, &node.name, address, value).await?;
    let name = &node.name;
    let failed = |error| Error::failed("could not wait for signals").because(error);
    // From here on Ctrl-C ends the wait, and what was begun is said.
    let interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    context
        .ui
        .line(&format!("Node {name} is being retired: it takes nothing new."))?;
    if args.no_wait {
        return Ok(Exit::Done);
    }
    let stop_timeout = number(&effective(&config, name).await?, "fence/stop_timeout");
    let patience = SILENCE + Duration::from_secs(stop_timeout.unwrap_or_default());
    let wait = wait(context, &node, &store, patience);
    interruptible(context, name, interrupted, wait).await
}

async fn choose(this: NodeFile, word: Option<&str>, store: &Arc<dyn Store>) -> Result<Chosen> {
    let is_this = word.is_none_or(|word| word == this.name.as_str());
    if is_this {
        let NodeFile { name, id, roles, .. } = this;
        return Ok(Chosen {
            name,
            id,
            is_this,
            roles,
        });
    }
    let found = Nodes::new(Arc::clone(store))
        .find_surely(word.unwrap_or_default())
        .await;
    let found = found.map_err(nodes::registry)?;
    Ok(Chosen {
        is_this: found.id == this.id,
        name: found.name,
        id: found.id,
        roles: found.roles,
    })
}

/// Take the wish back, or put another one before the cluster's.
async fn cancel(context: &Context, config: &Config, node: &Chosen) -> Result<Exit> {
    let name = &node.name;
    let address = path("fence/retire")?;
    let layers = config.layers().await.map_err(problem::tree)?;
    let is_own = layers.own(&Scope::Node(name.clone())).within(&address).next().is_some();
    let mut was_wanted = is_wanted(&effective(config, name).await?);
    let wanted_before = was_wanted;
    if is_own {
        let author = change::author_of(format!("kato node retire --node {name} --cancel"));
        config
            .del(&target(name, address), &author)
            .await
            .map_err(problem::tree)?;
        was_wanted = is_wanted(&effective(config, name).await?);
    }
    if was_wanted {
        set(config, name, "fence/retire/wanted", json!(false)).await?;
    }
    context.ui.line(&match wanted_before {
        true => format!("Node {name} is in service again."),
        false => format!("Node {name} is not being retired."),
    })?;
    Ok(Exit::Done)
}

async fn set(config: &Config, node: &Name, address: &str, value: Value) -> Result<()> {
    let given = match &value {
        Value::Bool(false) => " --cancel".to_owned(),
        Value::Object(both) => format!(" --timeout {}", both["timeout"]),
        _ => String::new(),
    };
    let author = change::author_of(format!("kato node retire --node {node}{given}"));
    let set = config.set(&target(node, path(address)?), value, true, &author).await;
    set.map(drop).map_err(problem::tree)
}

/// Wait until nothing runs on the node. `patience` is how long nothing may happen.
async fn wait(context: &Context, node: &Chosen, store: &Arc<dyn Store>, patience: Duration) -> Result<Exit> {
    let (name, fence) = (&node.name, Client::new(&context.paths));
    let progress = context.ui.progress("waiting for fence");
    let (mut last, mut silence, mut deadline) = (None::<Retiring>, String::new(), Instant::now() + patience);
    while Instant::now() < deadline {
        match look(node, store, &fence).await {
            Ok(Some(retiring)) if retiring.active == 0 => {
                drop(progress);
                context.ui.line(&format!("Nothing runs on node {name} any more."))?;
                return Ok(Exit::Done);
            }
            Ok(None) if last.is_some() => {
                return Err(Error::failed(format!(
                    "node {name} is in service again: its retirement was cancelled"
                )));
            }
            Ok(None) => silence = "fence has not heard of it yet".to_owned(),
            Ok(Some(retiring)) => {
                progress.update(&retiring.to_string());
                if last.as_ref() != Some(&retiring) {
                    deadline = Instant::now() + patience;
                }
                (last, silence) = (Some(retiring), String::new());
            }
            Err(reason) => silence = reason,
        }
        if !silence.is_empty() {
            progress.update(&silence);
        }
        sleep(LOOK).await;
    }
    Err(late(name, last, &silence))
}

/// How far it is; `None`: fence does not retire the node, or not yet. Else why nothing can be told.
async fn look(node: &Chosen, store: &Arc<dyn Store>, fence: &Client) -> std::result::Result<Option<Retiring>, String> {
    if node.is_this {
        let status = fence.status().await.map_err(|error| chain(&Error::from(error)))?;
        return Ok(status.retiring);
    }
    let state = report::state(store.as_ref(), node.id)
        .await
        .map_err(|error| chain(&error))?;
    if state.alive.is_none() {
        return Err(format!("node {} is not reachable", node.name));
    }
    Ok(state.report.and_then(|report| report.retiring).map(|told| Retiring {
        since: told.since,
        seconds_left: told.seconds_left,
        active: told.active,
        stopped: told.stopped,
    }))
}

/// Wait, or leave the retirement to itself.
async fn interruptible(
    context: &Context,
    name: &Name,
    mut interrupted: Signal,
    wait: impl Future<Output = Result<Exit>>,
) -> Result<Exit> {
    tokio::select! {
        waited = wait => waited,
        _ = interrupted.recv() => {
            context.ui.say(&format!(
                "Node {name} goes on being retired; to have it in service again: kato node retire -n {name} --cancel"
            ));
            Ok(Exit::Process(INTERRUPTED))
        }
    }
}

fn late(name: &Name, last: Option<Retiring>, silence: &str) -> Error {
    let how_far = match (last, silence) {
        (Some(last), "") => last.to_string(),
        (Some(last), silence) => format!("{last}, when last heard of: {silence}"),
        (None, silence) => silence.to_owned(),
    };
    Error::new(Kind::Partly, format!("node {name} is not empty yet: {how_far}"))
        .hint("kato node retire again goes on waiting; kato status says what is in the way")
}

fn target(node: &Name, address: KeyPath) -> Target {
    Target {
        scope: Scope::Node(node.clone()),
        address,
        own: true,
    }
}

fn path(address: &str) -> Result<KeyPath> {
    KeyPath::parse(address).map_err(problem::key)
}

/// What is in force on the node.
async fn effective(config: &Config, node: &Name) -> Result<Tree> {
    let layers = config.layers().await.map_err(problem::tree)?;
    Ok(layers.effective(config.schema(), &Scope::Node(node.clone())))
}

fn is_wanted(tree: &Tree) -> bool {
    let wanted = KeyPath::parse("fence/retire/wanted").ok();
    let value = wanted.and_then(|wanted| tree.leaf(&wanted).cloned());
    value.as_ref().and_then(Value::as_bool).unwrap_or(false)
}

fn number(tree: &Tree, address: &str) -> Option<u64> {
    let address = KeyPath::parse(address).ok()?;
    tree.leaf(&address).and_then(Value::as_u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retiring(seconds_left: u64) -> Retiring {
        Retiring {
            since: None,
            seconds_left,
            active: 5,
            stopped: 2,
        }
    }

    #[test]
    fn a_wait_that_came_to_no_end_says_how_far_it_was() {
        let name = Name::new("one").unwrap();
        let late = |last, silence| late(&name, last, silence);
        let stuck = late(Some(retiring(0)), "");
        assert_eq!(stuck.kind(), Kind::Partly);
        assert!(
            stuck
                .report()
                .starts_with("kato: node one is not empty yet: 5 of 7 are being stopped\n")
        );
        let silent = late(Some(retiring(9)), "node one is not reachable").report();
        assert!(silent.contains("5 of 7 still run, 9 s left, when last heard of: node one is not reachable"));
        let never = late(None, "fence has not heard of it yet").report();
        assert!(
            never.contains("not empty yet: fence has not heard of it yet"),
            "{never}"
        );
    }
}
