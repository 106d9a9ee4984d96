//! `kato container stats`: what containers use, once or again and again.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use super::problem;
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::fence_api::wire::Metrics;
use crate::fence_api::{Client, RefusalKind};
use crate::ui::{Format, FormatArgs, Table, Tone};

/// Over how long the use of processors is measured.
const APART: Duration = Duration::from_millis(500);
/// How often a view that is followed is drawn anew.
const AGAIN: Duration = Duration::from_secs(1);
/// Clears a terminal and goes to its beginning.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Show what containers use
///
/// All that run, unless some are named. CPU is in per cent of one processor, measured over half a second; DISK is what is
/// not the image's.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container stats
  kato container stats --follow web
  kato container stats -j web")]
pub struct StatsArgs {
    /// Show them again and again, until interrupted
    #[arg(short, long, conflicts_with_all = ["json", "yaml"])]
    follow: bool,
    /// The containers
    #[arg(value_name = "HANDLE")]
    handles: Vec<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// What each container uses, by handle.
type Measured = BTreeMap<String, Metrics>;

/// Show them.
pub async fn run(context: &Context, client: &Client, args: &StatsArgs) -> Result<Exit> {
    let format = args.format.format();
    let mut before = measure(client, args).await?;
    if format != Format::Text {
        context.ui.document(format, &before)?;
        return Ok(Exit::Done);
    }
    let mut apart = APART;
    loop {
        tokio::time::sleep(apart).await;
        let now = measure(client, args).await?;
        if args.follow && std::io::stdout().is_terminal() {
            context.ui.bytes(CLEAR.as_bytes())?;
        }
        context.ui.table(&table(&before, &now))?;
        if !args.follow {
            return Ok(Exit::Done);
        }
        (before, apart) = (now, AGAIN);
    }
}

async fn measure(client: &Client, args: &StatsArgs) -> Result<Measured> {
    let mut measured = Measured::new();
    if args.handles.is_empty() {
        for container in client.containers().await? {
            match client.metrics(&container.handle).await {
                Ok(metrics) => {
                    measured.insert(container.handle, metrics);
                }
                // It ended since the list was made, or does not run.
                Err(error)
                    if matches!(
                        error.refusal(),
                        Some(RefusalKind::ContainerNotFound | RefusalKind::Conflict)
                    ) => {}
                Err(error) => return Err(problem::explain(client, &container.handle, error).await),
            }
        }
    }
    for handle in &args.handles {
        match client.metrics(handle).await {
            Ok(metrics) => {
                measured.insert(handle.clone(), metrics);
            }
            Err(error) => return Err(problem::explain(client, handle, error).await),
        }
    }
    Ok(measured)
}

fn table(before: &Measured, now: &Measured) -> Table {
    let mut table = Table::new(["handle", "cpu", "memory", "limit", "pids", "disk", "net in", "net out"]);
    for (handle, metrics) in now {
        let limit = metrics.memory.limit_bytes.map_or_else(|| "-".into(), size);
        let network = |of: fn(&crate::fence_api::wire::NetworkUse) -> u64| {
            let network = metrics.network.as_ref();
            network.map_or_else(|| "-".into(), |network| size(of(network)))
        };
        let cells = [
            handle,
            &before
                .get(handle)
                .map_or_else(|| "-".into(), |before| percent(before, metrics)),
            &size(metrics.memory.usage_bytes),
            &limit,
            &metrics.pids.current.to_string(),
            &size(metrics.disk.exclusive_bytes),
            &network(|network| network.rx_bytes),
            &network(|network| network.tx_bytes),
        ];
        table.row(Tone::Plain, cells.map(String::as_str));
    }
    table
}

/// Of one processor, by the container's own clock.
fn percent(before: &Metrics, now: &Metrics) -> String {
    let used = now.cpu.usage_ns.saturating_sub(before.cpu.usage_ns);
    let passed = now.age_ns.saturating_sub(before.age_ns);
    match passed {
        0 => "-".into(),
        _ => format!("{:.1} %", used as f64 * 100.0 / passed as f64),
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_use_of_processors_is_of_the_time_that_passed() {
        let at = |age_ns, usage_ns| {
            let mut metrics = Metrics {
                age_ns,
                ..Metrics::default()
            };
            metrics.cpu.usage_ns = usage_ns;
            metrics
        };
        assert_eq!(percent(&at(0, 0), &at(1000, 500)), "50.0 %");
        assert_eq!(percent(&at(0, 0), &at(1000, 2500)), "250.0 %");
        assert_eq!(percent(&at(5, 9), &at(5, 9)), "-");
        // Started anew in between.
        assert_eq!(percent(&at(0, 900), &at(1000, 100)), "0.0 %");
    }
}
