//! `kato image list --nodes`: which images nodes have, who uses them, and how full their disks are.

use bytesize::ByteSize;
use cluster::nodes::{Role, report};
use registry_bootstrap::distribute::told::{Disk, Image, Stock};
use serde::Serialize;

use crate::commands::Context;
use crate::commands::cloud::{self, Cloud, NodeArgs, Seen};
use crate::error::{Error, Exit, Result};
use crate::ui::{Format, FormatArgs, Table, Tone};

#[derive(Serialize)]
struct Shown {
    node: String,
    alive: bool,
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
    if format.format() != Format::Text {
        context.ui.document(format.format(), &all)?;
        return Ok(Exit::Done);
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
            context.ui.say(&format!(
                "{}: {free} of {size} free for images and containers",
                shown.node
            ));
        }
    }
    Ok(Exit::Done)
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
            let (names, size) = (image.names.join(", "), ByteSize::b(image.bytes).to_string());
            table.row(
                tone,
                [&shown.node, &names, &id, &size, &image.containers.to_string(), usage],
            );
        }
    }
    table
}
