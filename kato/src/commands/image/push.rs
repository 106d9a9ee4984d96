//! `kato image tag` and `kato image push`: a further name for an image of this node's Docker, and the way to the registry.

use clap::Args;
use registry_bootstrap::local::Local;
use registry_bootstrap::names;

use super::shared;
use crate::commands::Context;
use crate::commands::registry::problem;
use crate::error::{Error, Exit, Result};

/// Give an image of this node's Docker a further name
///
/// A new name without a registry is the cluster's; the present one is looked for as it is, and then as the cluster's.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image tag arm32v7/dockercat landswellsong/dockercat:arm32v7
  kato image tag fence/base:0.1.0 exampleco/newimg:1.0.0")]
pub struct TagArgs {
    /// A present name, or an id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The further name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Bring images of this node's Docker to their registry
///
/// A name without a registry is the cluster's, where it takes an administrator's credential; nothing has to be logged in.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image push exampleco/newimg:1.0.0
  kato image push dockercat:amd64 dockercat:arm32v7")]
pub struct PushArgs {
    /// The images
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Name it.
pub async fn tag(context: &Context, args: &TagArgs) -> Result<Exit> {
    let location = shared::location(context).await?;
    let name = shared::full(&args.name, &location)?.to_string();
    let local = Local::of(&shared::node(context)?);
    let tagged = match local.tag(&args.image, &name).await {
        // What `kato image build` made is the cluster's by its name.
        Err(error) if error.kind() == registry_bootstrap::Kind::NotFound => {
            let known = shared::full(&args.image, &location).ok().map(|known| known.to_string());
            match known {
                Some(known) => local.tag(&known, &name).await,
                None => Err(error),
            }
        }
        done => done,
    };
    tagged.map_err(problem::registry)?;
    context.ui.line(&name)?;
    Ok(Exit::Done)
}

/// Bring them there.
pub async fn run(context: &Context, args: &PushArgs) -> Result<Exit> {
    let location = shared::location(context).await?;
    let local = Local::of(&shared::node(context)?);
    let all = args.names.iter().map(|name| shared::full(name, &location));
    for name in all.collect::<Result<Vec<_>>>()? {
        let Some(registry) = name.registry() else {
            return Err(
                Error::refused(format!("{name} names no registry, and the cluster has none"))
                    .hint("kato registry setup"),
            );
        };
        let (account, whole) = (shared::account(context, registry, &location).await?, name.to_string());
        let progress = context.ui.progress(&format!("bringing {name} to its registry"));
        let pushed = local.push(&whole, account.as_ref(), |step| {
            progress.update(&format!("{name}: {step}"))
        });
        pushed.await.map_err(problem::registry)?;
        drop(progress);
        let digest = match registry == location {
            true => {
                let remote = shared::remote(context).await?;
                let held = remote.manifest(names::repository(&name), names::reference(&name)).await;
                format!(" {}", held.map_err(problem::registry)?.digest)
            }
            false => String::new(),
        };
        context.ui.line(&format!("{name}{digest}"))?;
    }
    Ok(Exit::Done)
}
