//! `kato container logs`: what a container's processes said, and what they say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::following::{self, Follow};
use super::values;
use crate::commands::Context;
use crate::error::{Error, Exit, Result};
use crate::fence_api::follow::Lines;
use crate::fence_api::wire::LogEntry;
use crate::fence_api::{self, Client};

/// Show what a container's main process has said
///
/// Also what other processes have said that were run with --log. It is kept on the node, a part of it where there is much, and
/// goes with the container. What it says to standard error is printed there. With -f it goes on with what comes, over
/// restarts of fence too.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container logs web
  kato container logs web -f --tail 20
  kato container logs web --since 10m --stream stderr
  kato container logs web --json --since 2026-01-02T03:04:05Z")]
pub struct LogsArgs {
    /// The container
    #[arg(value_name = "HANDLE")]
    handle: String,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Only so many lines from the end
    #[arg(long, value_name = "NUMBER")]
    tail: Option<u32>,
    /// Only what was said since a time, or for so long
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Only what was said to one of the two
    #[arg(long, value_name = "STREAM")]
    stream: Option<Which>,
    /// Only what this process said
    #[arg(long, value_name = "ID")]
    process: Option<String>,
    /// Say before each line when it was said
    #[arg(short, long)]
    times: bool,
    /// Print a line of JSON for each entry
    #[arg(short, long)]
    json: bool,
}

/// One of a process's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Which {
    Stdout,
    Stderr,
}

/// A time, or how long ago it was.
fn since(text: &str) -> std::result::Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = values::duration(text).ok();
    let time = ago.and_then(|ago: SignedDuration| Timestamp::now().checked_sub(ago).ok());
    time.ok_or_else(|| "a time is such as 2026-01-02T03:04:05Z, or so long ago: 90, 10m, 2h".into())
}

struct Logs<'a> {
    args: &'a LogsArgs,
    /// The number of the last entry; 0 = none came.
    at: u64,
    /// Whether the last line printed has not ended.
    open: bool,
}

/// What is no entry.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mark {
    end: bool,
    missed: u64,
}

/// Show it.
pub async fn run(context: &Context, client: &Client, args: &LogsArgs) -> Result<Exit> {
    let logs = Logs {
        args,
        at: 0,
        open: false,
    };
    following::to_the_end(context, client, &args.handle, args.follow, logs).await?;
    Ok(Exit::Done)
}

impl Follow for Logs<'_> {
    async fn ask(&self, client: &Client) -> fence_api::Result<Lines> {
        let args = self.args;
        let mut query = vec![("follow", args.follow.to_string())];
        match (self.at, args.tail) {
            (0, Some(tail)) => query.push(("tail", tail.to_string())),
            (0, None) => {}
            (at, _) => query.push(("after", at.to_string())),
        }
        query.extend(args.since.map(|since| ("since", since.to_string())));
        query.extend(args.process.clone().map(|process| ("process", process)));
        query.extend(args.stream.map(|stream| {
            let name = match stream {
                Which::Stdout => "stdout",
                Which::Stderr => "stderr",
            };
            ("stream", name.to_owned())
        }));
        client.logs(&args.handle, &query).await
    }

    fn take(&mut self, context: &Context, line: &str) -> Result<bool> {
        if line.is_empty() {
            return Ok(true);
        }
        let wrong = |error| Error::failed("fence told of output that makes no sense").because(error);
        let mark: Mark = serde_json::from_str(line).map_err(wrong)?;
        if mark.end {
            return Ok(false);
        }
        if mark.missed > 0 {
            self.note(context, &format!("{} entries are no longer kept", mark.missed));
            return Ok(true);
        }
        let entry: LogEntry = serde_json::from_str(line).map_err(wrong)?;
        self.at = entry.number;
        if self.args.json {
            context.ui.text(line)?;
            return Ok(true);
        }
        if let Some(bytes) = entry.dropped {
            self.note(context, &format!("{bytes} bytes are missing here: {}", entry.reason));
            return Ok(true);
        }
        self.print(context, &entry)?;
        Ok(true)
    }
}

impl Logs<'_> {
    fn print(&mut self, context: &Context, entry: &LogEntry) -> Result<()> {
        let mut out = Vec::new();
        if self.args.times && !self.open {
            let time = entry.time.map_or_else(|| "-".into(), |time| time.to_string());
            out.extend(format!("{time} ").bytes());
        }
        match (&entry.text, &entry.base64) {
            (Some(text), _) => out.extend(text.bytes()),
            (None, Some(text)) => out.extend(STANDARD.decode(text).unwrap_or_default()),
            (None, None) => {}
        }
        if !entry.partial {
            out.push(b'\n');
        }
        self.open = entry.partial;
        context.ui.output(&out, entry.stream == "stderr")
    }

    /// Say something in between, on a line of its own.
    fn note(&self, context: &Context, text: &str) {
        context.ui.warn(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        assert_eq!(
            since("2026-01-02T03:04:05Z").unwrap().to_string(),
            "2026-01-02T03:04:05Z"
        );
        let ago = Timestamp::now().duration_since(since("10m").unwrap()).as_secs();
        assert!((599..660).contains(&ago), "{ago}");
        assert!(since("yesterday").is_err());
    }
}
