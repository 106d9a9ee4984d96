//! `kato debug configwatch`: every change of the tree as it comes.

use clap::Args;
use cluster::config::history::Record;
use cluster::config::tree::Change;
use cluster::config::{Component, Config, KeyPath, LOCAL, News, Part, Scope};
use jiff::Timestamp;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::stdout;
use crate::commands::Context;
use crate::commands::config::{open, problem, words};
use crate::error::{Error, Exit, Result, chain};
use crate::ui;

/// Print every change of the configuration as it comes
///
/// A line for each key that is changed from now on, with time, revision, user, old and new value, until Ctrl-C.
/// Secrets are redacted. While the configuration cannot be read it waits; what was changed meanwhile comes then.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato debug configwatch                        All changes
  kato debug configwatch fence local            Those of fence, and of this node's own values
  kato debug configwatch -j | jq .path          One JSON object a line")]
pub struct ConfigwatchArgs {
    /// Print a JSON object a line
    #[arg(short = 'j', long)]
    json: bool,
    /// Only these components; local is this node's own values; all when left out
    #[arg(value_name = "COMPONENT")]
    components: Vec<String>,
}

/// A line of `-j`.
#[derive(Serialize)]
struct Line<'a> {
    revision: u64,
    at: Timestamp,
    who: &'a str,
    command: &'a str,
    scope: &'a Scope,
    #[serde(flatten)]
    change: &'a Change,
}

/// Print changes until somebody wants no more of them.
pub async fn run(context: &Context, args: &ConfigwatchArgs) -> Result<Exit> {
    let config = open(context).await?;
    let parts = parts(&config, &args.components)?;
    let (mut interrupted, mut terminated) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    let mut follow = config.follow().await.map_err(problem::tree)?;
    context.ui.detail("Following the configuration");
    let mut reader_left = std::pin::pin!(stdout::is_closed());
    loop {
        let news = tokio::select! {
            news = follow.next() => news,
            _ = interrupted.recv() => return Ok(Exit::Done),
            _ = terminated.recv() => return Ok(Exit::Done),
            () = &mut reader_left => return Ok(Exit::Done),
        };
        match news {
            News::Changed(record) => print(context, args, &parts, &record)?,
            News::Unreadable(error) => context.ui.warn(&format!("{}; a change is passed over", chain(&error))),
            News::Lost(error) => context.ui.say(&format!("kato: {}; waiting for it", chain(&error))),
            News::Back => context.ui.say("The configuration can be read again"),
        }
    }
}

/// What is to be printed; everything when nothing was named.
fn parts(config: &Config, components: &[String]) -> Result<Vec<Part>> {
    if components.is_empty() {
        return Ok(vec![Part::default()]);
    }
    let part = |name: &String| {
        let component = Component::new(name).map_err(problem::key)?;
        Ok(if name == LOCAL {
            Part {
                scope: Some(Scope::Node(config.node().clone())),
                address: KeyPath::root(),
            }
        } else {
            Part {
                scope: None,
                address: KeyPath::from(&component),
            }
        })
    };
    components.iter().map(part).collect()
}

fn on(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| Error::failed("could not wait for signals").because(error))
}

fn print(context: &Context, args: &ConfigwatchArgs, parts: &[Part], record: &Record) -> Result<()> {
    let mut lines = String::new();
    let wanted = |change: &&Change| parts.iter().any(|part| part.holds(&record.scope, &change.path));
    for change in record.changes.iter().filter(wanted) {
        if args.json {
            lines.push_str(&json(record, change)?);
        } else {
            let who = record.who.replace(char::is_control, " ");
            let change = words::change(&record.scope, change);
            lines.push_str(&format!(
                "{}  {}  {who}  {change}",
                ui::time(record.at),
                record.revision
            ));
        }
        lines.push('\n');
    }
    context.ui.bytes(lines.as_bytes())
}

fn json(record: &Record, change: &Change) -> Result<String> {
    let line = Line {
        revision: record.revision,
        at: record.at,
        who: &record.who,
        command: &record.command,
        scope: &record.scope,
        change,
    };
    serde_json::to_string(&line).map_err(|error| Error::failed("could not print the change").because(error))
}
