//! `kato node rename`: another name for a node. Its own values of the configuration go with it.
//!
//! ```text
//!  values copied to the new name ─▶ record, by name, in one transaction ─▶ values of the old name removed ─▶ the node confirms
//! ```
//!
//! Broken off at any point, or with an answer that was lost, it is run again and goes on.

use clap::Args;
use cluster::config::{Config, KeyPath, Name, Scope, Target, Tree};

use super::super::cloud::{Cloud, NodeArgs, Seen, bounded, name};
use super::super::config::{change, problem};
use super::super::order;
use super::super::role::reported;
use super::Context;
use crate::error::{Error, Exit, Kind, Result};

/// Give a node another name
///
/// The values that are set for the node alone go with it, unless there are others for the new name already; then those
/// are its own. Its fence is restarted, its containers go on. A node that has the name already is done with.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node rename one.example
  kato node rename -n two three")]
pub struct RenameArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The new name
    #[arg(value_name = "NEW")]
    new: String,
    #[command(flatten)]
    within: order::WithinArgs,
}

/// Rename.
pub async fn run(context: &Context, args: &RenameArgs) -> Result<Exit> {
    let new = name(&args.new)?;
    let cloud = Cloud::open(context).await?;
    let node = meant(&cloud, &args.node, &new).await?;
    let old = node.record.name.clone();
    let config = Config::new(cloud.store.clone(), cloud.node.name.clone());
    if old == new {
        tidy(&config, &args.node, &new).await?;
        context.ui.say(&format!("the node is called {new} already"));
        return Ok(Exit::Done);
    }
    let taken_along = copy_values(context, &config, &old, &new).await?;
    let nodes = cloud.nodes();
    let renamed = nodes.change(node.record.id, |record| {
        record.name = new.clone();
        Ok(())
    });
    if let Err(error) = bounded(renamed).await {
        // Where it is not known whether it is called so now, the values stay for both names until this is run again.
        if taken_along && error.kind() != Kind::Unreachable {
            remove_values(&config, &new).await?;
        }
        return Err(error);
    }
    if taken_along {
        remove_values(&config, &old).await?;
    }
    if !node.is_alive() {
        let why = format!("{old}: {}; it will be called {new} when it is back", node.life());
        return Err(Error::new(Kind::Partly, why).hint("kato node list"));
    }
    let progress = context.ui.progress(&format!("waiting for {new}"));
    let done = reported(&cloud, &node, args.within.duration(), |report| report.name == new).await;
    drop(progress);
    if !done {
        let why = format!(
            "{new} did not confirm its new name within {} s",
            args.within.duration().as_secs()
        );
        return Err(Error::unreachable(why).hint("kato status"));
    }
    context.ui.say(&format!("node {old} is called {new} now"));
    Ok(Exit::Done)
}

/// The node that is meant by its old name, or that has the new one since this was done before.
async fn meant(cloud: &Cloud, args: &NodeArgs, new: &Name) -> Result<Seen> {
    let error = match cloud.meant(args).await {
        Err(error) if error.kind() == Kind::NotFound => error,
        found => return found,
    };
    let renamed = cloud.seen().await?.into_iter().find(|seen| seen.record.name == *new);
    renamed.ok_or(error)
}

/// Remove what an earlier run may have left of the old name, which no node has any more.
async fn tidy(config: &Config, args: &NodeArgs, new: &Name) -> Result<()> {
    let old = args.node.as_deref().and_then(|word| Name::new(word).ok());
    let Some(old) = old.filter(|old| old != new) else {
        return Ok(());
    };
    let layers = config.layers().await.map_err(problem::tree)?;
    let (left, values) = (
        layers.own(&Scope::Node(old.clone())),
        layers.own(&Scope::Node(new.clone())),
    );
    match !left.is_empty() && is_part_of(&left, &values) {
        true => remove_values(config, &old).await,
        false => Ok(()),
    }
}

/// Whether all these values are among those.
fn is_part_of(some: &Tree, all: &Tree) -> bool {
    some.iter().all(|(path, value)| all.leaf(path) == Some(value))
}

/// Set for the new name what is set for the old one; whether there was something, and nothing else in its place.
async fn copy_values(context: &Context, config: &Config, old: &Name, new: &Name) -> Result<bool> {
    let layers = config.layers().await.map_err(problem::tree)?;
    let values = layers.own(&Scope::Node(old.clone()));
    if values.is_empty() {
        return Ok(false);
    }
    // What an earlier run has copied is no other value.
    if !is_part_of(&layers.own(&Scope::Node(new.clone())), &values) {
        context.ui.warn(&format!(
            "There are values of its own for {new} already; those of {old} stay where they are"
        ));
        return Ok(false);
    }
    let author = change::author_of(format!("kato node rename {new}"));
    for (target, value) in components(&values, new)? {
        config.set(&target, value, true, &author).await.map_err(problem::tree)?;
    }
    Ok(true)
}

async fn remove_values(config: &Config, node: &Name) -> Result<()> {
    let layers = config.layers().await.map_err(problem::tree)?;
    let author = change::author_of(format!("kato node rename (from {node})"));
    for (target, _) in components(&layers.own(&Scope::Node(node.clone())), node)? {
        config.del(&target, &author).await.map_err(problem::tree)?;
    }
    Ok(())
}

/// The components of these values, as targets of a node.
fn components(values: &Tree, node: &Name) -> Result<Vec<(Target, serde_json::Value)>> {
    let mut names: Vec<&str> = values
        .iter()
        .filter_map(|(path, _)| path.split_first().map(|(name, _)| name))
        .collect();
    names.dedup();
    let mut targets = Vec::new();
    for name in names {
        let address = KeyPath::parse(name).map_err(problem::key)?;
        let value = values.nest(&address);
        let target = Target {
            scope: Scope::Node(node.clone()),
            address,
            own: true,
        };
        targets.extend(value.map(|value| (target, value)));
    }
    Ok(targets)
}
