//! `kato image index create`: images for several architectures under one name.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use cluster::files;
use registry_bootstrap::index::{self, Source, Spec};
use registry_bootstrap::platform::Platform;

use super::shared;
use crate::commands::Context;
use crate::commands::registry::problem;
use crate::error::{Error, Exit, Result};
use crate::ui::{Format, FormatArgs};

/// The largest description that is read.
const MAX_SPEC: u64 = 1 << 20;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum IndexCommand {
    Create(CreateArgs),
}

/// Put images that are at the cluster's registry under one name, each for its platform
///
/// From their names, or from a description as manifest-tool has it (`image:` and `manifests:`, each with `image:` and
/// `platform:`). An image is for what it says itself, unless a platform is given; a name that says something else is refused.
/// Nodes that pull the name take their own.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image index create crossbarfx:latest --from crossbarfx:cpy-amd64 --from crossbarfx:cpy-slim-arm64
  kato image index create dockercat:latest --from dockercat:amd64 --from dockercat:arm32v7=linux/arm/v7
  kato image index create --spec dockercat-multi.yml")]
pub struct CreateArgs {
    /// The name
    #[arg(value_name = "NAME", required_unless_present = "spec", conflicts_with = "spec")]
    name: Option<String>,
    /// An image, and where it does not say so itself for what it is
    #[arg(
        long,
        value_name = "NAME[=PLATFORM]",
        required_unless_present = "spec",
        conflicts_with = "spec"
    )]
    from: Vec<String>,
    /// A description in YAML
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Run one verb.
pub async fn run(context: &Context, command: IndexCommand) -> Result<Exit> {
    match command {
        IndexCommand::Create(args) => create(context, &args).await,
    }
}

async fn create(context: &Context, args: &CreateArgs) -> Result<Exit> {
    let remote = shared::remote(context).await?;
    let full = |name: &str| shared::full(name, remote.location());
    let (targets, sources) = match (&args.spec, &args.name) {
        (Some(file), _) => of_spec(read(file)?, full)?,
        (None, Some(name)) => {
            let sources = args
                .from
                .iter()
                .map(|from| source(from, &full))
                .collect::<Result<Vec<_>>>()?;
            (vec![full(name)?], sources)
        }
        (None, None) => return Err(Error::usage("the index needs a name, or --spec")),
    };
    let progress = context.ui.progress("putting the index together");
    let created = index::create(&remote, &targets, &sources)
        .await
        .map_err(problem::registry)?;
    drop(progress);
    for warning in &created.warnings {
        context.ui.warn(warning);
    }
    if args.format.format() != Format::Text {
        context.ui.document(args.format.format(), &created)?;
        return Ok(Exit::Done);
    }
    context.ui.line(&format!("{} {}", created.name, created.digest))?;
    Ok(Exit::Done)
}

fn source(from: &str, full: &impl Fn(&str) -> Result<registry_bootstrap::ImageName>) -> Result<Source> {
    let (name, platform) = match from.split_once('=') {
        Some((name, platform)) => (name, Some(platform)),
        None => (from, None),
    };
    let platform = platform.map(str::parse::<Platform>).transpose();
    Ok(Source {
        name: full(name)?,
        platform: platform.map_err(|error| Error::usage(error.to_string()))?,
    })
}

type Parts = (Vec<registry_bootstrap::ImageName>, Vec<Source>);

fn of_spec(spec: Spec, full: impl Fn(&str) -> Result<registry_bootstrap::ImageName>) -> Result<Parts> {
    let name = full(&spec.image)?;
    let mut targets = vec![name.clone()];
    for tag in &spec.tags {
        targets.push(full(&format!("{}:{tag}", name.repository()))?);
    }
    let sources = spec.manifests.into_iter().map(|entry| {
        Ok(Source {
            name: full(&entry.image)?,
            platform: entry.platform.map(Platform::from),
        })
    });
    Ok((targets, sources.collect::<Result<Vec<_>>>()?))
}

fn read(file: &std::path::Path) -> Result<Spec> {
    let shown = file.display();
    let bytes = files::read_limited(file, MAX_SPEC).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is no {shown}")),
        _ => Error::failed(format!("could not read {shown}")).because(error),
    })?;
    yaml_serde::from_slice(&bytes).map_err(|error| Error::usage(format!("{shown} describes no index")).because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_manifest_tools() {
        let text = "image: landswellsong/dockercat:latest\ntags: ['1', two]\nmanifests:\n    -\n        \
                    image: landswellsong/dockercat:amd64\n        platform:\n            architecture: amd64\n            \
                    os: linux\n    -\n        image: landswellsong/dockercat:arm32v7\n        platform:\n            \
                    architecture: arm\n            variant: v7\n    - image: other:1\n";
        let spec: Spec = yaml_serde::from_str(text).unwrap();
        let (targets, sources) = of_spec(spec, |name| shared::full(name, "core:5000")).unwrap();
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let name = |tag: &str| format!("core:5000/landswellsong/dockercat:{tag}");
        assert_eq!(targets, [name("latest"), name("1"), name("two")]);
        let platforms: Vec<Option<String>> = sources
            .iter()
            .map(|source| source.platform.as_ref().map(ToString::to_string))
            .collect();
        assert_eq!(
            platforms,
            [Some("linux/amd64".to_owned()), Some("linux/arm/v7".to_owned()), None]
        );
    }
}
