//! `kato image list`: what the cluster's registry has.

use clap::Args;
use serde::Serialize;

use super::{on_nodes, shared};
use crate::commands::Context;
use crate::commands::cloud::NodeArgs;
use crate::commands::registry::problem;
use crate::error::{Exit, Result};
use crate::ui::{Format, FormatArgs, Table, Tone};

/// List the images at the cluster's registry with their platforms, or those that nodes have
///
/// All of them takes an administrator's credential; the tags of one name every node may read.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image list
  kato image list exampleco/newimg -j
  kato image list --nodes
  kato image list -n dea1")]
pub struct ListArgs {
    /// The tags of this name alone
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// What the nodes have instead, who uses it, and how full their disks are
    #[arg(long, conflicts_with = "name")]
    nodes: bool,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    tag: String,
    digest: String,
    platforms: Vec<String>,
}

/// List them.
pub async fn run(context: &Context, args: &ListArgs) -> Result<Exit> {
    if args.nodes || args.node.node.is_some() {
        return on_nodes::run(context, &args.node, args.format).await;
    }
    let remote = shared::remote(context).await?;
    let repositories = match &args.name {
        Some(name) => {
            let name = shared::full(name, remote.location())?;
            vec![registry_bootstrap::names::repository(&name).to_owned()]
        }
        None => remote.repositories().await.map_err(problem::registry)?,
    };
    remote.will_read(&repositories);
    let mut all = Vec::new();
    for repository in repositories {
        for tag in remote.tags(&repository).await.map_err(problem::registry)? {
            let name = shared::full(&format!("{repository}:{tag}"), remote.location())?;
            let (held, entries) = shared::entries(&remote, &name).await?;
            all.push(Shown {
                name: format!("{}/{repository}", remote.location()),
                tag,
                digest: held.digest,
                platforms: entries.iter().map(|entry| entry.platform.to_string()).collect(),
            });
        }
    }
    if args.format.format() != Format::Text {
        context.ui.document(args.format.format(), &all)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["name", "tag", "digest", "platforms"]);
    for one in &all {
        let digest: String = one.digest.chars().take("sha256:".len() + 12).collect();
        table.row(
            Tone::Plain,
            [one.name.as_str(), &one.tag, &digest, &one.platforms.join(", ")],
        );
    }
    context.ui.table(&table)?;
    Ok(Exit::Done)
}
