//! `kato image save` and `kato image load`: images from the registry into a file, and back.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use registry_bootstrap::archive::{self, File};

use super::{pull, shared};
use crate::commands::Context;
use crate::commands::registry::problem;
use crate::error::{Error, Exit, Result};
use crate::ui::{Format, FormatArgs};

/// Write images of the cluster's registry to a file, with all their architectures
///
/// An OCI layout in a tar file that `docker load` takes as well (of an index the image for this machine). Content is checked
/// against its digest on the way; where that fails, the exit code says so and what was written is of no use.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image save exampleco/newimg:1.0.0 > newimg.tar
  kato image save dockercat crossbarfx:latest -o images.tar")]
pub struct SaveArgs {
    /// The images
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// The file; the standard output if it is not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Bring the images in a file to the cluster's registry
///
/// What `kato image save` or `docker save` wrote, or an OCI layout in a tar file. They keep their names, at this cluster's registry;
/// content is checked against its digest before anything gets a name.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image load newimg.tar
  kato image load newimg.tar --all-nodes")]
pub struct LoadArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Have all nodes pull them as well
    #[arg(long)]
    all_nodes: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Write them.
pub async fn save(context: &Context, args: &SaveArgs) -> Result<Exit> {
    if args.output.is_none() && std::io::stdout().is_terminal() {
        return Err(Error::usage("a terminal is no place for images").hint("kato image save NAME > FILE"));
    }
    let remote = shared::remote(context).await?;
    let names = args.names.iter().map(|name| shared::full(name, remote.location()));
    let names = names.collect::<Result<Vec<_>>>()?;
    let progress = context.ui.progress("looking for the images");
    let tell = |step: &str| progress.update(step);
    let saved = match &args.output {
        None => archive::save(&remote, &names, tokio::io::stdout(), tell).await,
        Some(path) => {
            let file = tokio::fs::File::create(path).await;
            let file =
                file.map_err(|error| Error::failed(format!("could not write {}", path.display())).because(error))?;
            archive::save(&remote, &names, file, tell).await
        }
    };
    saved.map_err(problem::registry)?;
    Ok(Exit::Done)
}

/// Bring them there.
pub async fn load(context: &Context, args: &LoadArgs) -> Result<Exit> {
    if !args.file.is_file() {
        return Err(Error::not_found(format!("there is no file {}", args.file.display())));
    }
    let remote = shared::remote(context).await?;
    let progress = context.ui.progress("reading the file");
    let file = File::open(&args.file).await.map_err(problem::registry)?;
    let loaded = archive::load(&remote, &file, |step| progress.update(step)).await;
    let loaded = loaded.map_err(problem::registry)?;
    drop(progress);
    match args.format.format() {
        Format::Text => {
            for one in &loaded {
                context.ui.line(&format!("{} {}", one.name, one.digest))?;
            }
        }
        format => context.ui.document(format, &loaded)?,
    }
    if !args.all_nodes {
        return Ok(Exit::Done);
    }
    let names: Vec<String> = loaded.iter().map(|one| one.name.to_string()).collect();
    pull::on_all(context, &names).await
}
