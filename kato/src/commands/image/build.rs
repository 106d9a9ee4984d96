//! `kato image build`: make an image of a directory.

use std::path::PathBuf;

use clap::Args;
use registry_bootstrap::BuildSpec;
use registry_bootstrap::local::Local;
use registry_bootstrap::platform::Platform;

use super::shared;
use crate::commands::Context;
use crate::commands::registry::problem;
use crate::error::{Error, Exit, Result};

/// Make an image of a directory with a Dockerfile
///
/// As `docker build`, by this node's Docker; `.dockerignore` is heeded. A name without a registry is the cluster's, so that
/// `kato image push` brings it there. Its names are printed; without one it is known by its id, which is printed then.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image build -t exampleco/newimg:1.0.0 .
  kato image build -f Dockerfile.armv7 -t arm32v7/dockercat .
  kato image build .                                              Made, and known by its id alone")]
pub struct BuildArgs {
    /// The Dockerfile, by its path in the directory
    #[arg(short, long, value_name = "FILE", default_value = "Dockerfile")]
    file: String,
    /// What it is called; more of them are further names
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<String>,
    /// The stage to stop at
    #[arg(long, value_name = "STAGE", default_value = "", hide_default_value = true)]
    target: String,
    /// An argument of the Dockerfile
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    args: Vec<String>,
    /// For which platform, e.g. linux/arm/v7
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Use nothing of an earlier build
    #[arg(long)]
    no_cache: bool,
    /// The directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Make it.
pub async fn run(context: &Context, args: &BuildArgs) -> Result<Exit> {
    let names = match args.tags.as_slice() {
        [] => Vec::new(),
        tags => {
            let location = shared::location(context).await?;
            let names = tags.iter().map(|name| shared::full(name, &location));
            names.collect::<Result<Vec<_>>>()?
        }
    };
    let given = |arg: &String| match arg.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::usage(format!("{arg:?} is not NAME=VALUE"))),
    };
    let spec = BuildSpec {
        name: names.first().map(ToString::to_string).unwrap_or_default(),
        dockerfile: args.file.clone(),
        target: args.target.clone(),
        args: args.args.iter().map(given).collect::<Result<Vec<_>>>()?,
        platform: args.platform.as_ref().map(ToString::to_string).unwrap_or_default(),
        anew: args.no_cache,
    };
    let local = Local::of(&shared::node(context)?);
    let built = local.build(&spec, &args.directory, |line| context.ui.say(line));
    let built = built.await.map_err(problem::registry)?;
    for other in names.iter().skip(1) {
        let tagged = local.tag(&spec.name, &other.to_string()).await;
        tagged.map_err(problem::registry)?;
    }
    if names.is_empty() {
        context.ui.line(&built.id.0)?;
    }
    for name in &names {
        context.ui.line(&name.to_string())?;
    }
    Ok(Exit::Done)
}
