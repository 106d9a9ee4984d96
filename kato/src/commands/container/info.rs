//! `kato container info`: everything fence knows about one container.

use bytesize::ByteSize;
use clap::Args;
use jiff::Timestamp;

use super::{list, problem};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::fence_api::Client;
use crate::fence_api::wire::{Container, MainProcess, Process};
use crate::ui::{Format, FormatArgs};

/// Show everything about a container
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container info web
  kato container info web -j")]
pub struct InfoArgs {
    /// The container
    #[arg(value_name = "HANDLE")]
    handle: String,
    #[command(flatten)]
    format: FormatArgs,
}

/// Show it.
pub async fn run(context: &Context, client: &Client, args: &InfoArgs) -> Result<Exit> {
    let container = match client.container(&args.handle).await {
        Ok(container) => container,
        Err(error) => return Err(problem::explain(client, &args.handle, error).await),
    };
    match args.format.format() {
        Format::Text => context.ui.bytes(text(&container, Timestamp::now()).as_bytes())?,
        format => context.ui.document(format, &container)?,
    }
    Ok(Exit::Done)
}

fn text(container: &Container, now: Timestamp) -> String {
    let mut page = Page::default();
    head(&mut page, container, now);
    limits(&mut page, container);
    page.list(
        "Ports",
        container
            .ports
            .iter()
            .map(|port| list::ports(std::slice::from_ref(port))),
    );
    page.list(
        "Mounts",
        container.mounts.iter().map(|mount| {
            format!(
                "{} at {}{}",
                mount.source,
                mount.target,
                if mount.read_only { ", read-only" } else { "" }
            )
        }),
    );
    page.list("Processes", container.processes.iter().map(process));
    page.list("Environment", container.env.iter().cloned());
    page.list(
        "Properties",
        container.properties.iter().map(|(key, value)| format!("{key}={value}")),
    );
    page.list("Events", container.events.iter().cloned());
    page.text
}

fn head(page: &mut Page, container: &Container, now: Timestamp) {
    page.field("Handle", &container.handle);
    page.field("Instance", &container.instance);
    page.field("State", &list::state(container));
    page.field("Image", &container.image);
    page.field("Image id", &container.image_id);
    page.field("Node", &container.node);
    page.field("Address", &container.ip);
    page.field("Engine id", &container.engine_id);
    if let Some(created) = container.created {
        page.field(
            "Created",
            &format!("{}, {}", created.strftime("%F %T UTC"), list::ago(created, now)),
        );
    }
    if let Some(main) = container.main.as_ref().filter(|main| !main.command.is_empty()) {
        page.field("Main", &main_process(main, container.started));
    }
    if container.privileged {
        page.field("Privileged", "yes");
    }
    if container.grace_time_s > 0.0 {
        page.field(
            "Destroyed",
            &format!("after {} s without a client", container.grace_time_s),
        );
    }
}

fn limits(page: &mut Page, container: &Container) {
    let limits = &container.limits;
    let or_none = |number: Option<u64>, shown: fn(u64) -> String| number.map_or("no limit".into(), shown);
    let bytes = |bytes| ByteSize(bytes).display().iec().to_string();
    page.list(
        "Limits",
        [
            format!("memory      {}", or_none(limits.memory_bytes, bytes)),
            format!("processes   {}", or_none(limits.pids, |number| number.to_string())),
            format!(
                "CPU shares  {}",
                or_none(limits.cpu_shares, |number| number.to_string())
            ),
        ],
    );
}

fn main_process(main: &MainProcess, started: bool) -> String {
    let command = main.command.join(" ");
    match main.exit_status {
        Some(status) => format!("{command} (ended with {status})"),
        None if started => command,
        None => format!("{command} (not started)"),
    }
}

fn process(process: &Process) -> String {
    match process.exit_status {
        Some(status) => format!("{} ended with {status}", process.id),
        None => {
            let tty = if process.tty { ", on a terminal" } else { "" };
            format!("{} {}, pid {}{tty}", process.id, process.state, process.pid)
        }
    }
}

/// Fields first, then sections; what is empty is left out.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn field(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.line(&format!("{:<12}{value}", format!("{name}:")));
        }
    }

    fn list(&mut self, name: &str, items: impl IntoIterator<Item = String>) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_some() {
            self.line(&format!("{name}:"));
            items.for_each(|item| self.line(&format!("  {item}")));
        }
    }

    /// What came from a container must not steer the terminal.
    fn line(&mut self, text: &str) {
        self.text.push_str(&text.replace(char::is_control, " "));
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_without_content_are_left_out() {
        let container = Container {
            handle: "web".into(),
            instance: "0190".into(),
            state: "active".into(),
            env: vec!["A=1".into(), "B=\u{1b}[2J".into()],
            processes: vec![Process {
                id: "top".into(),
                pid: 7,
                tty: true,
                state: "running".into(),
                exit_status: None,
            }],
            ..Container::default()
        };
        insta::assert_snapshot!(text(&container, Timestamp::UNIX_EPOCH), @r"
        Handle:     web
        Instance:   0190
        State:      active
        Limits:
          memory      no limit
          processes   no limit
          CPU shares  no limit
        Processes:
          top running, pid 7, on a terminal
        Environment:
          A=1
          B= [2J
        ");
    }
}
