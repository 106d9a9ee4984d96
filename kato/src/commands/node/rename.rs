//! `kato node rename`: another name for a node. Its own values of the configuration go with it.

use clap::Args;
use cluster::config::{Config, KeyPath, Name, Scope, Target};

use super::super::cloud::{Cloud, NodeArgs, bounded, name};
use super::super::config::{change, problem};
use super::super::order;
use super::super::role::reported;
use super::Context;
use crate::error::{Error, Exit, Kind, Result};

/// Give a node another name
///
/// The values that are set for the node alone go with it, unless there are some for the new name already; then those
/// are its own. Its fence is restarted, its containers go on.
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
    let node = cloud.meant(&args.node).await?;
    let old = node.record.name.clone();
    if old == new {
        context.ui.say(&format!("the node is called {new} already"));
        return Ok(Exit::Done);
    }
    let config = Config::new(cloud.store.clone(), cloud.node.name.clone());
    let taken_along = copy_values(context, &config, &old, &new).await?;
    let nodes = cloud.nodes();
    let renamed = nodes.change(node.record.id, |record| {
        record.name = new.clone();
        Ok(())
    });
    if let Err(error) = bounded(renamed).await {
        if taken_along {
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

/// Set for the new name what is set for the old one; whether there was something, and nothing in its place.
async fn copy_values(context: &Context, config: &Config, old: &Name, new: &Name) -> Result<bool> {
    let layers = config.layers().await.map_err(problem::tree)?;
    let values = layers.own(&Scope::Node(old.clone()));
    if values.is_empty() {
        return Ok(false);
    }
    if !layers.own(&Scope::Node(new.clone())).is_empty() {
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
fn components(values: &cluster::config::Tree, node: &Name) -> Result<Vec<(Target, serde_json::Value)>> {
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
