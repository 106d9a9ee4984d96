//! `kato config history`: who changed what, and when.

use clap::Args;
use cluster::config::history::{History, Query, Record};
use jiff::{Span, Timestamp, Zoned};

use super::part::PartArgs;
use super::{open, problem, words};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::ui::{self, Format, FormatArgs};

/// How many changes are listed unless it is said how many.
const LISTED: &str = "20";
/// The most that can be listed: as many as are kept at most.
const MOST: u64 = 100_000;

/// Show who changed what, newest first
///
/// Each change has its revision, time, user, command, and the keys with old and new value; secrets are redacted. How
/// many changes are remembered is set with cluster history/keep.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato config history                           The latest 20 changes
  kato config history fence docker/image        Those of one key, in all layers
  kato config history local                     Those of this node's own values
  kato config history --since 2h                Those of the last two hours
  kato config history --since 2026-11-21 -j     Those since a day, as JSON")]
pub struct HistoryArgs {
    /// At most so many changes
    #[arg(short = 'l', long, value_name = "N", default_value = LISTED, value_parser = clap::value_parser!(u64).range(1..=MOST))]
    limit: u64,
    /// Only those after a time (2026-11-21, "2026-11-21 15:30") or not longer ago than that (90m, 2h, 3d)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    part: PartArgs,
}

/// List them.
pub async fn run(context: &Context, args: &HistoryArgs) -> Result<Exit> {
    let config = open(context).await?;
    let query = Query {
        part: args.part.part(context, &config).await?,
        since: args.since,
        limit: usize::try_from(args.limit).unwrap_or(usize::MAX),
    };
    let history = config.history(&query).await.map_err(problem::tree)?;
    match args.format.format() {
        Format::Text => context.ui.bytes(text(&history.records).as_bytes())?,
        format => context.ui.document(format, &history.records)?,
    }
    say_what_is_not_listed(context, args, &history);
    words::unreadable(&context.ui, &history.unreadable);
    Ok(match history.unreadable.is_empty() {
        true => Exit::Done,
        false => Exit::Partly,
    })
}

fn text(records: &[Record]) -> String {
    let mut text = String::new();
    let mut told = None;
    for record in records {
        // A change of several layers at once is one change with a record for each of them.
        if told.replace(record.revision) != Some(record.revision) {
            let head = [&ui::time(record.at), &record.who, &record.command];
            let head = head.map(|word| word.replace(char::is_control, " "));
            text.push_str(&format!("revision {}  {}\n", record.revision, head.join("  ")));
        }
        for change in &record.changes {
            text.push_str(&format!("    {}\n", words::change(&record.scope, change)));
        }
    }
    text
}

fn say_what_is_not_listed(context: &Context, args: &HistoryArgs, history: &History) {
    if history.records.is_empty() && history.unreadable.is_empty() {
        context.ui.say("No such change is remembered");
    }
    if history.more {
        context.ui.say(&format!(
            "There are older changes; see more with --limit {}",
            args.limit.saturating_mul(10).min(MOST)
        ));
    }
    // Changes that are too old to be asked for are not missed.
    let reaches_the_oldest = !history.more && args.since.is_none();
    if reaches_the_oldest && history.forgotten > 0 {
        context.ui.say(&format!(
            "Forgotten changes before these: {}; how many are kept is set with cluster history/keep",
            history.forgotten
        ));
    }
}

/// A point in time: a date, a date and a time of this machine's zone, a whole timestamp, or how long ago.
fn since(text: &str) -> std::result::Result<Timestamp, String> {
    let now = Zoned::now();
    let then = if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    } else if let Ok(time) = text.parse::<jiff::civil::DateTime>() {
        time.to_zoned(now.time_zone().clone())
    } else {
        let span: Span = text
            .parse()
            .map_err(|_| "neither a time such as 2026-11-21 nor one such as 2h ago".to_owned())?;
        now.checked_sub(span.abs())
    };
    then.map(|then| then.timestamp()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_many_forms() {
        let now = Timestamp::now();
        let ago = |text: &str| now.duration_since(since(text).unwrap()).as_secs();
        assert!((7198..=7201).contains(&ago("2h")), "{}", ago("2h"));
        assert!((7198..=7201).contains(&ago("120 minutes")));
        assert_eq!(
            since("2026-11-21T15:30:00Z").unwrap(),
            "2026-11-21T15:30:00Z".parse().unwrap()
        );
        let day = since("2026-11-21").unwrap();
        assert_eq!(since("2026-11-21 15:30").unwrap().duration_since(day).as_secs(), 55_800);
        for text in ["", "yesterday", "2026-13-01", "-", "999999999y"] {
            assert!(since(text).is_err(), "{text:?}");
        }
    }
}
