//! `kato image list --nodes`: which images nodes have, who uses them, and how full their disks are.

use bytesize::ByteSize;
use cluster::nodes::{Role, report};
use jiff::Timestamp;
use registry_bootstrap::distribute::told::{Disk, Image, Stock};
use serde::Serialize;

use crate::commands::Context;
use crate::commands::cloud::{self, Cloud, NodeArgs, Seen};
use crate::error::{Error, Exit, Result};
use crate::ui::{self, Format, FormatArgs, Table, Tone};

#[derive(Serialize)]
struct Shown {
    node: String,
    alive: bool,
    /// When it said so.
    at: Option<Timestamp>,
    disk: Option<Disk>,
    problem: String,
    images: Vec<Image>,
    /// How many more there are.
    more: usize,
}

/// List them.
pub async fn run(context: &Context, which: &NodeArgs, format: FormatArgs) -> Result<Exit> {
    let cloud = Cloud::open(context).await?;
    let mut nodes = match &which.node {
        Some(word) => vec![cloud.find(word).await?],
        None => cloud.seen().await?,
    };
    nodes.retain(|seen| seen.record.roles.contains(&Role::Dea));
    if nodes.is_empty() {
        return Err(Error::not_found("no node with containers is meant").hint("kato node list"));
    }
    let mut all = Vec::new();
    for seen in nodes {
        all.push(of(&cloud, &seen).await?);
    }
    let exit = match all.iter().all(|shown| shown.problem.is_empty()) {
        true => Exit::Done,
        false => Exit::Partly,
    };
    if format.format() != Format::Text {
        context.ui.document(format.format(), &all)?;
        return Ok(exit);
    }
    for shown in all.iter().filter(|shown| !shown.problem.is_empty()) {
        context.ui.warn(&format!("{}: {}", shown.node, shown.problem));
    }
    context.ui.table(&table(&all))?;
    for shown in &all {
        if shown.more > 0 {
            context
                .ui
                .say(&format!("{}: and {} smaller ones", shown.node, shown.more));
        }
        if let Some(disk) = shown.disk {
            let (free, size) = (ByteSize::b(disk.free), ByteSize::b(disk.size));
            let at = shown
                .at
                .map(|at| format!(", as of {}", ui::time(at)))
                .unwrap_or_default();
            context.ui.say(&format!(
                "{}: {free} of {size} free for images and containers{at}",
                shown.node
            ));
        }
    }
    Ok(exit)
}

/// A name as people read it: of a digest its beginning.
fn short(name: &str) -> String {
    const DIGITS: usize = 12;
    match name.split_once("@sha256:") {
        Some((name, digest)) => format!("{name}@sha256:{}…", digest.chars().take(DIGITS).collect::<String>()),
        None => name.to_owned(),
    }
}

async fn of(cloud: &Cloud, seen: &Seen) -> Result<Shown> {
    let entry = cloud.store.get(&report::stock_key(seen.record.id)).await;
    let entry = entry.map_err(|error| cloud::store(error, "the nodes' images could not be read".to_owned()))?;
    let told: Option<Stock> = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
    let problem = match &told {
        _ if !seen.is_alive() => format!("{}; this is what it had", seen.life()),
        None => "it has not said yet which images it has".to_owned(),
        Some(told) => told.problem.clone(),
    };
    let told = told.unwrap_or_default();
    Ok(Shown {
        node: seen.record.name.to_string(),
        alive: seen.is_alive(),
        at: (told.at != Timestamp::UNIX_EPOCH).then_some(told.at),
        disk: told.disk,
        problem,
        images: told.images,
        more: told.more,
    })
}

fn table(all: &[Shown]) -> Table {
    let mut table = Table::new(["node", "name", "id", "size", "containers", "use"]);
    for shown in all {
        for image in &shown.images {
            let id = image.id.trim_start_matches("sha256:");
            let id: String = id.chars().take(12).collect();
            let usage = match (image.configured, image.containers, image.kept_house) {
                (true, ..) => "configured",
                (_, 1.., _) => "used",
                (_, 0, true) => "unused",
                (_, 0, false) => "not the cluster's",
            };
            let tone = if shown.alive { Tone::Plain } else { Tone::Bad };
            let (names, size) = (
                image
                    .names
                    .iter()
                    .map(|name| short(name))
                    .collect::<Vec<_>>()
                    .join(", "),
                ByteSize::b(image.bytes).to_string(),
            );
            table.row(
                tone,
                [&shown.node, &names, &id, &size, &image.containers.to_string(), usage],
            );
        }
    }
    table
}
