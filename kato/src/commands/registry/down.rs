//! `kato registry down`: take the registry down.

use clap::Args;
use registry_bootstrap::apply::{self, Was};

use super::{problem, shared};
use crate::commands::Context;
use crate::commands::config::change;
use crate::error::{Exit, Result};

/// Take the image registry down
///
/// Its images stay on the core's disk for the next `kato registry setup`. The nodes' Dockers are logged out and believe it no more;
/// images that they have pulled stay there.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato registry down
  kato registry down --purge     Delete its images as well")]
pub struct DownArgs {
    /// Delete its images as well
    #[arg(long)]
    purge: bool,
}

/// Take it down.
pub async fn run(context: &Context, args: &DownArgs) -> Result<Exit> {
    let core = shared::core(context).await?;
    let author = change::author_of("kato registry down".to_owned());
    let was = apply::down(&core, args.purge, &author)
        .await
        .map_err(problem::registry)?;
    context.ui.line(match (was, args.purge) {
        (Was::SetUp, true) => "The registry is down, its images are deleted.",
        (Was::SetUp, false) => "The registry is down, its images stay.",
        (Was::ByHand, _) => {
            "All nodes forget the registry, which is run by hand and runs on (docker rm -fv CONTAINER)."
        }
        (Was::Nothing, _) => "There was no registry.",
    })?;
    Ok(Exit::Done)
}
