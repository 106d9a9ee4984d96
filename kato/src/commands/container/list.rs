//! `kato container list`: this node's containers, a line each.

use std::cmp::Reverse;

use clap::Args;
use jiff::Timestamp;

use super::values;
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::fence_api::Client;
use crate::fence_api::wire::{Container, PortMapping};
use crate::ui::{Format, FormatArgs, Table, Tone};

/// List the containers of this node, newest first
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container list
  kato container list -j
  kato container stop $(kato container list -q --property app=web)")]
pub struct ListArgs {
    /// Print the handles alone
    #[arg(short, long, conflicts_with_all = ["json", "yaml"])]
    quiet: bool,
    /// Only those with this property; given several times, only those with all of them
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    property: Vec<(String, String)>,
    #[command(flatten)]
    format: FormatArgs,
}

/// List them.
pub async fn run(context: &Context, client: &Client, args: &ListArgs) -> Result<Exit> {
    let mut containers = client.containers().await?;
    containers.retain(|container| {
        args.property
            .iter()
            .all(|(key, value)| container.properties.get(key) == Some(value))
    });
    containers.sort_by_key(|container| Reverse(container.created));
    match args.format.format() {
        Format::Text if args.quiet => {
            containers
                .iter()
                .try_for_each(|container| context.ui.line(&container.handle))?;
        }
        Format::Text => context.ui.table(&table(&containers, Timestamp::now()))?,
        format => context.ui.document(format, &containers)?,
    }
    Ok(Exit::Done)
}

fn table(containers: &[Container], now: Timestamp) -> Table {
    let mut table = Table::new(["handle", "image", "state", "created", "ports", "node"]);
    for container in containers {
        let created = container
            .created
            .map_or_else(|| "-".into(), |created| ago(created, now));
        let ports = ports(&container.ports);
        let cells = [
            &container.handle,
            &container.image,
            &state(container),
            &created,
            &ports,
            &container.node,
        ];
        table.row(tone(container), cells.map(String::as_str));
    }
    table
}

/// What a container does, in one word or two.
pub fn state(container: &Container) -> String {
    match container.state.as_str() {
        _ if container.paused => "paused".into(),
        "active" if container.started => "active, started".into(),
        state => state.into(),
    }
}

fn tone(container: &Container) -> Tone {
    match container.state.as_str() {
        _ if container.paused => Tone::Waiting,
        "active" => Tone::Good,
        "creating" | "destroying" => Tone::Waiting,
        "lost" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// Ports as `61001->8080`, or `-`.
pub fn ports(ports: &[PortMapping]) -> String {
    if ports.is_empty() {
        return "-".into();
    }
    let shown: Vec<String> = ports
        .iter()
        .map(|port| format!("{}->{}", port.host_port, port.container_port))
        .collect();
    shown.join(" ")
}

/// How long ago, in the largest unit that fits.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_the_largest_unit_that_fits() {
        let then: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let after = |seconds: i64| ago(then, Timestamp::from_second(then.as_second() + seconds).unwrap());
        assert_eq!(after(-5), "0 s ago");
        assert_eq!(after(59), "59 s ago");
        assert_eq!(after(3_599), "59 min ago");
        assert_eq!(after(86_399), "23 h ago");
        assert_eq!(after(200_000), "2 d ago");
    }
}
