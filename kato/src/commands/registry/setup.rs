//! `kato registry setup`: bring the registry up on the core, and have all nodes use it.

use clap::Args;
use registry_bootstrap::apply;

use super::{login, problem, shared};
use crate::commands::Context;
use crate::commands::config::change;
use crate::error::{Exit, Result};

/// Give the cluster an image registry on this core
///
/// A container of the image `cluster registry/image` runs it; where that is not in reach, Debian's docker-registry is packed
/// into one. It answers at the cluster's endpoint and one port, by TLS of the cluster's CA. Every node's Docker believes it and
/// has an account that pulls; administrators have one that pushes. Safe to run again; what is as it should be stays.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato registry setup
  kato registry setup --port 5001")]
pub struct SetupArgs {
    /// The port at which it answers from now on; the one that is recorded if it is not given
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

/// Bring it up.
pub async fn run(context: &Context, args: &SetupArgs) -> Result<Exit> {
    let core = shared::core(context).await?;
    let author = change::author_of("kato registry setup".to_owned());
    let progress = context.ui.progress("looking for the registry");
    let done = apply::up(&core, args.port, &author, |news| progress.update(news)).await;
    let done = done.map_err(problem::registry)?;
    drop(progress);
    let news = if done.changed { "answers" } else { "answers as before" };
    context.ui.line(&format!("The registry {news} at {}", done.location))?;
    // Not all who may set it up are to push.
    match login::own(context, false).await {
        Ok(registry) => context.ui.detail(&format!("root's Docker is logged in at {registry}")),
        Err(error) => context.ui.warn(&format!(
            "root's Docker is not logged in (kato registry login): {error}"
        )),
    }
    Ok(Exit::Done)
}
