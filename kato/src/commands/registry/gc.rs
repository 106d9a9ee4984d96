//! `kato registry gc`: give back what the registry does not need.

use bytesize::ByteSize;
use clap::Args;
use registry_bootstrap::gc;

use super::{problem, shared};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::ui::{Format, FormatArgs};

/// Free what the image registry does not need
///
/// The content of images that were deleted goes. What has a tag stays, what an index with a tag names, and what the configuration
/// names by its digest. The registry is away for as long as it takes; pulls and pushes fail meanwhile and are to be done again.
/// Where it cannot be told what a tag names, all of that repository stays, and the exit code is 6.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato registry gc
  kato registry gc --untagged    Also images whose tag was given to another")]
pub struct GcArgs {
    /// Also forget images that no tag, index or configuration names any more
    #[arg(long)]
    untagged: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Free it.
pub async fn run(context: &Context, args: &GcArgs) -> Result<Exit> {
    let core = shared::core(context).await?;
    let progress = context.ui.progress("looking for what the registry does not need");
    let freed = gc::collect(&core, args.untagged).await.map_err(problem::registry)?;
    drop(progress);
    let exit = if freed.unclear.is_empty() {
        Exit::Done
    } else {
        Exit::Partly
    };
    for repository in &freed.unclear {
        context.ui.warn(&format!("All of it stays: {repository}"));
    }
    if args.format.format() != Format::Text {
        context.ui.document(args.format.format(), &freed)?;
        return Ok(exit);
    }
    for image in &freed.forgotten {
        context.ui.say(&format!("forgotten: {image}"));
    }
    context.ui.line(&format!(
        "{} bytes freed ({}); the registry has {}.",
        freed.freed,
        ByteSize::b(freed.freed),
        ByteSize::b(freed.after)
    ))?;
    Ok(exit)
}
