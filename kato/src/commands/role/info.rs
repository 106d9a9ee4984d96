//! `kato role info`: which roles there are, their processes, and which nodes have them.

use std::collections::BTreeMap;

use clap::Args;
use cluster::nodes::Role;
use cluster::process::{Process, of_roles};
use serde::Serialize;

use super::super::cloud::Cloud;
use super::super::roles;
use super::Context;
use crate::error::{Exit, Result};
use crate::ui::{Format, FormatArgs, Table, Tone};

/// Show the roles, their processes, and which nodes have them
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato role info
  kato role info -j dea")]
pub struct InfoArgs {
    /// The roles; all if none is named
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Serialize)]
struct Info {
    /// The processes of each role.
    available: BTreeMap<Role, Vec<Process>>,
    /// The roles of each node, by its name.
    nodes: BTreeMap<String, Vec<Role>>,
    /// Those that every node has.
    required: Vec<Role>,
}

/// Show.
pub async fn run(context: &Context, args: &InfoArgs) -> Result<Exit> {
    let mut asked = roles::named(&args.roles)?;
    if asked.is_empty() {
        asked = Role::ALL.to_vec();
    }
    let nodes = Cloud::open(context).await?.seen().await?;
    let info = Info {
        available: asked.iter().map(|role| (*role, of_roles(&[*role]))).collect(),
        nodes: nodes
            .into_iter()
            .map(|node| (node.record.name.to_string(), node.record.roles))
            .collect(),
        required: vec![Role::Base],
    };
    if args.format.format() != Format::Text {
        context.ui.document(args.format.format(), &info)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["role", "processes", "nodes"]);
    for (role, processes) in &info.available {
        let processes: Vec<&str> = processes.iter().map(|process| process.name()).collect();
        let having = info.nodes.iter().filter(|(_, roles)| roles.contains(role));
        let having: Vec<&str> = having.map(|(name, _)| name.as_str()).collect();
        table.row(Tone::Plain, [role.name(), &processes.join(", "), &having.join(", ")]);
    }
    context.ui.table(&table)?;
    Ok(Exit::Done)
}
