//! `kato node list`: the nodes of the cluster, a line each.

use std::net::IpAddr;

use clap::Args;
use cluster::nodes::Role;
use jiff::Timestamp;
use serde::Serialize;

use super::super::cloud::{Cloud, Seen};
use super::Context;
use crate::error::{Exit, Result};
use crate::ui::{Format, FormatArgs, plain};

/// List the nodes: address, name, roles, realm, availability zone, alive, retiring or dead since
///
/// One line a node, the address first, for scripts: `kato node list | cut -d ' ' -f 1`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node list
  kato node list -j")]
pub struct ListArgs {
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Serialize)]
struct Shown {
    address: Option<IpAddr>,
    name: String,
    id: String,
    roles: Vec<Role>,
    realm: String,
    zone: String,
    alive: bool,
    /// `alive`, `retiring` or `dead`.
    state: &'static str,
    /// Since when it is dead, where it is.
    dead_since: Option<Timestamp>,
    addresses: Vec<IpAddr>,
    /// Of its agent, as it last said.
    version: Option<String>,
}

/// List.
pub async fn run(context: &Context, args: &ListArgs) -> Result<Exit> {
    let nodes = Cloud::open(context).await?.seen().await?;
    match args.format.format() {
        Format::Text => print(context, &nodes)?,
        format => context
            .ui
            .document(format, &nodes.into_iter().map(shown).collect::<Vec<_>>())?,
    }
    Ok(Exit::Done)
}

fn shown(seen: Seen) -> Shown {
    Shown {
        address: seen.record.addresses.first().copied(),
        alive: seen.is_alive(),
        state: match (seen.is_alive(), seen.is_retiring()) {
            (true, false) => "alive",
            (true, true) => "retiring",
            (false, _) => "dead",
        },
        dead_since: seen.dead_since(),
        version: seen.state.report.map(|report| report.version),
        name: seen.record.name.to_string(),
        id: seen.record.id.to_string(),
        roles: seen.record.roles,
        realm: seen.record.realm.to_string(),
        zone: seen.record.zone.to_string(),
        addresses: seen.record.addresses,
    }
}

fn print(context: &Context, nodes: &[Seen]) -> Result<()> {
    let rows: Vec<[String; 5]> = nodes
        .iter()
        .map(|seen| {
            let record = &seen.record;
            let roles: Vec<&str> = record.roles.iter().map(|role| role.name()).collect();
            [
                seen.address(),
                record.name.to_string(),
                roles.join(","),
                record.realm.to_string(),
                record.zone.to_string(),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    for (row, seen) in rows.iter().zip(nodes) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(&format!("{cell:<0$} ", width(column)));
        }
        context.ui.line(&plain(&(line + &seen.state())))?;
    }
    Ok(())
}
