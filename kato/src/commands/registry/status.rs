//! `kato registry status`: whether the registry answers, what it has, and which nodes cannot use it.

use bytesize::ByteSize;
use clap::Args;
use cluster::nodes::Role;
use registry_bootstrap::status::{self, Status};
use serde::Serialize;

use super::{problem, shared};
use crate::commands::Context;
use crate::commands::cloud::{Cloud, Seen};
use crate::error::{Exit, Result};
use crate::ui::{Format, FormatArgs, Table, Tone, time};

/// What the agents' words of it begin with.
const TOLD: &str = "the image registry ";

/// Show the image registry: where it answers, what it has, who cannot use it
///
/// On the core everything, elsewhere what the nodes say. The exit code is 1 where something is not in order.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato registry status
  kato registry status -j")]
pub struct StatusArgs {
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Serialize)]
struct Shown {
    registry: Option<Status>,
    nodes: Vec<Node>,
}

#[derive(Serialize)]
struct Node {
    name: String,
    state: String,
    problem: String,
}

/// Show it.
pub async fn run(context: &Context, args: &StatusArgs) -> Result<Exit> {
    let cloud = Cloud::open(context).await?;
    let registry = match cloud.node.roles.contains(&Role::Core) {
        true => Some(
            status::status(&shared::core(context).await?)
                .await
                .map_err(problem::registry)?,
        ),
        false => None,
    };
    let shown = Shown {
        registry,
        nodes: cloud.seen().await?.iter().map(node).collect(),
    };
    let is_bad = shown
        .registry
        .as_ref()
        .is_some_and(|registry| !registry.problem.is_empty())
        || shown.nodes.iter().any(|node| !node.problem.is_empty());
    match args.format.format() {
        Format::Text => print(context, &shown)?,
        format => context.ui.document(format, &shown)?,
    }
    Ok(if is_bad { Exit::NotInOrder } else { Exit::Done })
}

fn node(seen: &Seen) -> Node {
    let report = seen.state.report.as_ref();
    let said = report.and_then(|report| report.problems.iter().find(|said| said.starts_with(TOLD)));
    Node {
        name: seen.record.name.to_string(),
        state: seen.state(),
        problem: said.cloned().unwrap_or_default(),
    }
}

fn print(context: &Context, shown: &Shown) -> Result<()> {
    if let Some(registry) = &shown.registry {
        registry_lines(context, registry)?;
    }
    let mut table = Table::new(["node", "state", "problem"]);
    for node in &shown.nodes {
        let tone = if node.problem.is_empty() { Tone::Good } else { Tone::Bad };
        table.row(tone, [node.name.as_str(), &node.state, &node.problem]);
    }
    context.ui.table(&table)
}

fn registry_lines(context: &Context, registry: &Status) -> Result<()> {
    let ports: Vec<String> = registry.ports.iter().map(u16::to_string).collect();
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let container: String = text(&registry.container).chars().take(12).collect();
    let location = match registry.location.as_str() {
        "" => "-",
        location => location,
    };
    for (name, value) in [
        ("location", location.to_owned()),
        ("container", container),
        ("image", text(&registry.image)),
        ("port", ports.join(", ")),
        (
            "certificate",
            registry
                .certificate_until
                .map_or_else(|| "-".to_owned(), |until| format!("until {}", time(until))),
        ),
        (
            "images",
            format!(
                "{} on the disk, {} free",
                ByteSize::b(registry.bytes),
                ByteSize::b(registry.free_bytes)
            ),
        ),
    ] {
        context.ui.text(&format!("{name:<12}{value}"))?;
    }
    match registry.problem.as_str() {
        "" => context.ui.tinted(Tone::Good, "It answers."),
        problem => context
            .ui
            .tinted(Tone::Bad, &crate::ui::plain(&format!("It is not in order: {problem}"))),
    }?;
    context.ui.line("")
}
