//! `kato container attach`: kato's streams on a process that runs already.

use clap::Args;

use super::session::{Session, Source};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::fence_api::Client;

/// Attach to a process of a container
///
/// Output that nobody has read comes first. As with `run`, signals go to the process and kato ends with its exit code;
/// on a terminal Ctrl-P Ctrl-Q leaves it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container attach web
  kato container attach -n web
  kato container attach web cron")]
pub struct AttachArgs {
    /// Leave the process's input alone, for others
    #[arg(short, long)]
    no_stdin: bool,
    /// The container
    #[arg(value_name = "HANDLE")]
    handle: String,
    /// The process
    #[arg(value_name = "PROCESS", default_value = "main")]
    process: String,
}

/// Attach to it.
pub async fn run(context: &Context, client: Client, args: &AttachArgs) -> Result<Exit> {
    let source = if args.no_stdin {
        Source::Untouched
    } else {
        Source::Stdin { detach_keys: true }
    };
    let begin = client.clone();
    let session = Session {
        context,
        client,
        handle: &args.handle,
        source,
    };
    session.hold(begin.attach(&args.handle, &args.process)).await
}
