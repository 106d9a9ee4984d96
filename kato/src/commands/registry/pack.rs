//! `kato registry pack`: an image of a registry that is run by hand.

use clap::Args;
use registry_bootstrap::by_hand;

use super::{problem, shared};
use crate::commands::Context;
use crate::error::{Exit, Result};

/// Pack an image of a registry that is then run by hand
///
/// Its containers (docker run -d -p 5000 NAME) serve by TLS of the cluster's CA under the name of its endpoint, and know the
/// cluster's accounts; kato registry login ENDPOINT:PORT makes one of them the cluster's registry. The image has a key: keep it on
/// the core. Its certificate ends with cluster certificates/lifetime; pack it anew then. For every day: kato registry setup.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato registry pack fence/registry:by-hand")]
pub struct PackArgs {
    /// What the image is called
    #[arg(value_name = "NAME")]
    name: String,
}

/// Pack it.
pub async fn run(context: &Context, args: &PackArgs) -> Result<Exit> {
    let core = shared::core(context).await?;
    let name = by_hand::pack(&core, &args.name).await.map_err(problem::registry)?;
    context.ui.text(&name)?;
    Ok(Exit::Done)
}
