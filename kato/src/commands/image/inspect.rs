//! `kato image inspect`: what is under a name at the cluster's registry, and who cannot use it.

use bytesize::ByteSize;
use clap::Args;
use serde::Serialize;

use super::check;
use super::shared::{self, Entry};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::ui::{Format, FormatArgs};

/// Show what is under a name at the cluster's registry: digest, platform and layers of each image
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image inspect exampleco/newimg:1.0.0
  kato image inspect dockercat -j")]
pub struct InspectArgs {
    /// The name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    digest: String,
    media_type: String,
    images: Vec<Entry>,
    /// The nodes for which there is nothing under the name.
    lacking: Vec<String>,
}

/// Show it.
pub async fn run(context: &Context, args: &InspectArgs) -> Result<Exit> {
    let remote = shared::remote(context).await?;
    let name = shared::full(&args.name, remote.location())?;
    let (held, images) = shared::entries(&remote, &name).await?;
    let shown = Shown {
        lacking: check::lacking(context, &images, &|_| true).await?,
        name: name.to_string(),
        digest: held.digest,
        media_type: held.media_type,
        images,
    };
    if args.format.format() != Format::Text {
        context.ui.document(args.format.format(), &shown)?;
        return Ok(Exit::Done);
    }
    context.ui.text(&format!("name      {}", shown.name))?;
    context.ui.text(&format!("digest    {}", shown.digest))?;
    context.ui.text(&format!("type      {}", shown.media_type))?;
    for image in &shown.images {
        context.ui.text(&format!("\nplatform  {}", image.platform))?;
        context.ui.text(&format!("digest    {}", image.digest))?;
        context.ui.text(&format!("size      {}", ByteSize::b(image.bytes)))?;
        for layer in &image.layers {
            context.ui.text(&format!("layer     {layer}"))?;
        }
    }
    if !shown.lacking.is_empty() {
        context.ui.warn(&format!(
            "There is nothing in it for the architecture of: {}",
            shown.lacking.join(", ")
        ));
    }
    Ok(Exit::Done)
}
