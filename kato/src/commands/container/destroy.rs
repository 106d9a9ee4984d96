//! `kato container destroy`: removes containers with everything in them.

use std::io::{self, BufRead, IsTerminal};

use clap::Args;

use super::problem::{self, Tally};
use crate::commands::Context;
use crate::error::{Error, Exit, Result};
use crate::fence_api::Client;

/// Destroy containers and everything in them
///
/// Prints the handles of those that are gone. `--all` asks first at a terminal, and elsewhere needs `--yes`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container destroy web worker
  kato container destroy --all --yes")]
pub struct DestroyArgs {
    /// All containers of this node
    #[arg(long, conflicts_with = "handles")]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// The containers
    #[arg(required_unless_present = "all", value_name = "HANDLE")]
    handles: Vec<String>,
}

/// Destroy them, one after the other.
pub async fn run(context: &Context, client: &Client, args: &DestroyArgs) -> Result<Exit> {
    let handles = if args.all {
        all(context, client, args.yes).await?
    } else {
        args.handles.clone()
    };
    let mut tally = Tally::default();
    for handle in &handles {
        let result = {
            let _progress = context.ui.progress(&format!("destroying {handle}"));
            client.destroy(handle).await
        };
        let result = match result {
            Ok(()) => Ok(()),
            Err(error) => Err(problem::explain(client, handle, error).await),
        };
        tally.add(context, handle, result)?;
    }
    tally.finish(context, "destroyed")
}

async fn all(context: &Context, client: &Client, yes: bool) -> Result<Vec<String>> {
    if !yes && !io::stdin().is_terminal() {
        return Err(
            Error::usage("--all destroys every container, and there is no terminal to ask at")
                .hint("kato container destroy --all --yes"),
        );
    }
    let handles: Vec<String> = client
        .containers()
        .await?
        .into_iter()
        .map(|container| container.handle)
        .collect();
    if handles.is_empty() || yes {
        return Ok(handles);
    }
    context.ui.say(&format!(
        "This destroys {} containers: {}",
        handles.len(),
        handles.join(" ")
    ));
    context.ui.say("Destroy them? [y/N]");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Error::failed("could not read the answer").because(error))?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        Ok(handles)
    } else {
        Err(Error::refused("nothing was destroyed"))
    }
}
