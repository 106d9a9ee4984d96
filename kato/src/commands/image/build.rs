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
/// `kato image push` brings it there. The image's name is printed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image build -t exampleco/newimg:1.0.0 .
  kato image build -f Dockerfile.armv7 -t arm32v7/dockercat .")]
pub struct BuildArgs {
    /// The Dockerfile, by its path in the directory
    #[arg(short, long, value_name = "FILE", default_value = "Dockerfile")]
    file: String,
    /// What it is called; more of them are further names
    #[arg(short, long = "tag", value_name = "NAME", required = true)]
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
    let location = shared::location(context).await?;
    let names = args.tags.iter().map(|name| shared::full(name, &location));
    let names = names.collect::<Result<Vec<_>>>()?;
    // There is one: clap asks for it.
    let Some((first, others)) = names.split_first() else {
        return Err(Error::usage("the image needs a name").hint("kato image build -t NAME DIR"));
    };
    let given = |arg: &String| match arg.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::usage(format!("{arg:?} is not NAME=VALUE"))),
    };
    let spec = BuildSpec {
        name: first.to_string(),
        dockerfile: args.file.trim_start_matches("./").to_owned(),
        target: args.target.clone(),
        args: args.args.iter().map(given).collect::<Result<Vec<_>>>()?,
        platform: args.platform.as_ref().map(ToString::to_string).unwrap_or_default(),
        anew: args.no_cache,
    };
    let local = Local::of(&shared::node(context)?);
    let built = local.build(&spec, &args.directory, |line| context.ui.say(line));
    built.await.map_err(problem::registry)?;
    for other in others {
        local
            .tag(&spec.name, &other.to_string())
            .await
            .map_err(problem::registry)?;
    }
    for name in &names {
        context.ui.line(&name.to_string())?;
    }
    Ok(Exit::Done)
}
