//! `kato status`: whether everything on the node is in order, and what is not.
//!
//! [`gather`] asks everybody at once, each with a bound, so that a part that is down or hangs costs no more than
//! that; [`model`] is what they said, [`judge`] what follows from it, [`disk`] the tree's own room, [`whole`] the other nodes, [`text`] is how people
//! read it.

mod disk;
mod gather;
mod judge;
mod model;
mod text;
mod whole;

use clap::Args;
use serde::Serialize;

use super::Context;
use crate::error::{Exit, Result, with_root};
use crate::ui::{Format, FormatArgs};

/// Show what runs on this node and in its cluster, and whether all is in order
///
/// The exit code is 0 where all is in order, and 1 where it is not: a process that should run does not, or does not
/// answer; Docker is away; the image is missing; the configuration cannot be read or followed; a disk is full; another node
/// is dead or says that something is not in order there. What was stopped on purpose is in order.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato status
  kato status --json")]
pub struct StatusArgs {
    /// Also show the processes of roles that this node does not have
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// The document that `-j` and `-y` print.
#[derive(Serialize)]
struct Document {
    cluster: whole::Cluster,
    nodes: Vec<model::Node>,
}

/// Show the status.
pub async fn run(context: &Context, args: &StatusArgs) -> Result<Exit> {
    let (mut node, cluster) = gather::node(&context.paths).await?;
    node.problems.extend(cluster.problems(&node.id));
    node.warnings.extend(cluster.note());
    node.problems.extend(disk::shortage(&context.paths.kato_lib()));
    if args.all {
        node.add_roles_not_here();
    }
    for problem in &mut node.problems {
        problem.hint = with_root(&problem.hint, context.root.as_deref());
    }
    for warning in &mut node.warnings {
        *warning = with_root(warning, context.root.as_deref());
    }
    let in_order = node.problems.is_empty();
    match args.format.format() {
        Format::Text => text::print(&context.ui, &node, &cluster)?,
        format => {
            let nodes = vec![node];
            context.ui.document(format, &Document { cluster, nodes })?;
        }
    }
    Ok(if in_order { Exit::Done } else { Exit::NotInOrder })
}
