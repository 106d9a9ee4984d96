//! `kato container events`: what happened to containers, and what happens.

use clap::Args;
use serde_json::Value;

use super::following::{self, Follow};
use crate::commands::Context;
use crate::error::{Error, Exit, Result};
use crate::fence_api::follow::Lines;
use crate::fence_api::wire::Event;
use crate::fence_api::{self, Client};
use crate::ui;

/// Show what happened to containers
///
/// Every event has a number that grows over the whole node. The last thousands are kept, also of containers that are
/// destroyed. With -f it goes on with what happens, over restarts of fence too.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container events
  kato container events web -f
  kato container events --since 120 --json")]
pub struct EventsArgs {
    /// Of this container alone
    #[arg(value_name = "HANDLE")]
    handle: Option<String>,
    /// Go on with what happens
    #[arg(short, long)]
    follow: bool,
    /// Only those after the one with this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    since: u64,
    /// Print a line of JSON for each
    #[arg(short, long)]
    json: bool,
}

struct Events<'a> {
    args: &'a EventsArgs,
    at: u64,
    /// The name of the event whose data comes next.
    name: String,
}

/// Show them.
pub async fn run(context: &Context, client: &Client, args: &EventsArgs) -> Result<Exit> {
    let events = Events {
        args,
        at: args.since,
        name: String::new(),
    };
    let handle = args.handle.as_deref().unwrap_or_default();
    following::to_the_end(context, client, handle, args.follow, events).await?;
    Ok(Exit::Done)
}

impl Follow for Events<'_> {
    async fn ask(&self, client: &Client) -> fence_api::Result<Lines> {
        let mut query = vec![("since", self.at.to_string()), ("follow", self.args.follow.to_string())];
        query.extend(self.args.handle.clone().map(|handle| ("container", handle)));
        client.events(&query).await
    }

    fn take(&mut self, context: &Context, line: &str) -> Result<bool> {
        if line == ": end" {
            return Ok(false);
        }
        if let Some(name) = line.strip_prefix("event: ") {
            name.clone_into(&mut self.name);
        }
        let Some(data) = line.strip_prefix("data: ") else {
            return Ok(true);
        };
        if self.name == "missed" {
            context.ui.warn("events are missing here: they are no longer kept");
            return Ok(true);
        }
        let event: Event = serde_json::from_str(data)
            .map_err(|error| Error::failed("fence told of an event that makes no sense").because(error))?;
        self.at = event.number;
        match self.args.json {
            true => context.ui.text(data)?,
            false => context.ui.text(&ui::plain(&told(&event)))?,
        }
        Ok(true)
    }
}

fn told(event: &Event) -> String {
    let time = event.time.map_or_else(|| "-".into(), ui::time);
    let kind = event.kind.replace('_', " ");
    let mut line = format!("{time}  {:>6}  {}  {kind}", event.number, event.container);
    for (name, value) in &event.details {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        };
        if !value.is_empty() {
            line.push_str(&format!("  {}: {value}", name.replace('_', " ")));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_with_all_there_is_to_know_also_of_kinds_to_come() {
        let of = |text: &str| {
            let line = told(&serde_json::from_str(text).unwrap());
            line.trim_start_matches("-").trim().to_owned()
        };
        let ended =
            r#"{"number":7,"container":"web","instance":"i","type":"process_ended","process":"p1","exit_status":1}"#;
        assert_eq!(of(ended), "7  web  process ended  exit status: 1  process: p1");
        let later = r#"{"number":8,"container":"web","type":"of_a_later_fence","words":["a","b"],"none":""}"#;
        assert_eq!(of(later), "8  web  of a later fence  words: a b");
    }
}
