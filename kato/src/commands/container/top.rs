//! `kato container top`: what runs in a container at this moment.

use bytesize::ByteSize;
use clap::Args;

use super::problem;
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::fence_api::Client;
use crate::fence_api::wire::TopProcess;
use crate::ui::{Format, FormatArgs, Table, Tone};

/// List what runs in a container
///
/// With the memory and the processor time that each process has used.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container top web
  kato container top web -j")]
pub struct TopArgs {
    /// The container
    #[arg(value_name = "HANDLE")]
    handle: String,
    #[command(flatten)]
    format: FormatArgs,
}

/// List it.
pub async fn run(context: &Context, client: &Client, args: &TopArgs) -> Result<Exit> {
    let processes = match client.top(&args.handle).await {
        Ok(processes) => processes,
        Err(error) => return Err(problem::explain(client, &args.handle, error).await),
    };
    match args.format.format() {
        Format::Text => context.ui.table(&table(&processes))?,
        format => context.ui.document(format, &processes)?,
    }
    Ok(Exit::Done)
}

fn table(processes: &[TopProcess]) -> Table {
    let mut table = Table::new(["pid", "host pid", "user", "state", "memory", "cpu", "command"]);
    for process in processes {
        let seconds = process.cpu_ns / 1_000_000_000;
        let hundredths = process.cpu_ns / 10_000_000 % 100;
        let cells = [
            process.pid.to_string(),
            process.host_pid.to_string(),
            process.user.to_string(),
            process.state.clone(),
            ByteSize(process.rss_bytes).display().iec().to_string(),
            format!("{}:{:02}.{hundredths:02}", seconds / 60, seconds % 60),
            process.command.clone(),
        ];
        table.row(Tone::Plain, cells.each_ref().map(String::as_str));
    }
    table
}
