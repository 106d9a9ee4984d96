//! `kato image list`: what the cluster's registry has.

use clap::Args;
use registry_bootstrap::remote::Remote;
use registry_bootstrap::{Kind, names};
use serde::Serialize;

use super::{on_nodes, shared};
use crate::commands::Context;
use crate::commands::cloud::NodeArgs;
use crate::error::{Error, Exit, Result, chain};
use crate::ui::{Format, FormatArgs, Table, Tone};

/// List the images at the cluster's registry with their platforms, or those that nodes have
///
/// All of them takes an administrator's credential; the tags of one name every node may read. What cannot be read is shown with
/// its problem, and the exit code is 6.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image list
  kato image list exampleco/newimg -j
  kato image list --nodes
  kato image list -n dea1")]
pub struct ListArgs {
    /// The tags of this name alone
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// What the nodes have instead, who uses it, and how full their disks are
    #[arg(long, conflicts_with = "name")]
    nodes: bool,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    tag: String,
    digest: String,
    platforms: Vec<String>,
    /// Why the rest of it is not known; "" where it is.
    problem: String,
}

/// List them.
pub async fn run(context: &Context, args: &ListArgs) -> Result<Exit> {
    if args.nodes || args.node.node.is_some() {
        return on_nodes::run(context, &args.node, args.format).await;
    }
    let remote = shared::remote(context).await?;
    let repositories = match &args.name {
        Some(name) => {
            let name = shared::full(name, remote.location())?;
            vec![names::repository(&name).to_owned()]
        }
        None => remote.repositories().await?,
    };
    remote.will_read(&repositories);
    let mut all = Vec::new();
    for repository in repositories {
        match remote.tags(&repository).await {
            Ok(tags) => {
                if tags.is_empty() && args.name.is_some() {
                    let message = format!("there is no image {}/{repository}", remote.location());
                    return Err(Error::not_found(message).hint("kato image list"));
                }
                for tag in tags {
                    all.push(shown(&remote, &repository, tag).await?);
                }
            }
            Err(error) if args.name.is_some() || error.kind() == Kind::Unreachable => return Err(error.into()),
            Err(error) => all.push(Shown::odd(&remote, &repository, String::new(), &error)),
        }
    }
    print(context, args, &all)?;
    match all.iter().filter(|one| !one.problem.is_empty()).count() {
        0 => Ok(Exit::Done),
        odd => {
            context.ui.warn(&format!(
                "{odd} of {} could not be read, and are shown with why",
                all.len()
            ));
            Ok(Exit::Partly)
        }
    }
}

/// A tag with what is under it. What is odd is no reason to leave out the others; a registry that does not answer is.
async fn shown(remote: &Remote, repository: &str, tag: String) -> Result<Shown> {
    let read = match names::parse(&format!("{}/{repository}:{tag}", remote.location())) {
        Ok(name) => shared::entries(remote, &name).await,
        Err(error) => Err(error),
    };
    match read {
        Ok((held, entries)) => Ok(Shown {
            name: format!("{}/{repository}", remote.location()),
            tag,
            digest: held.digest,
            platforms: entries.iter().map(|entry| entry.platform.to_string()).collect(),
            problem: String::new(),
        }),
        Err(error) if error.kind() == Kind::Unreachable => Err(error.into()),
        Err(error) => Ok(Shown::odd(remote, repository, tag, &error)),
    }
}

impl Shown {
    fn odd(remote: &Remote, repository: &str, tag: String, error: &registry_bootstrap::Error) -> Shown {
        Shown {
            name: format!("{}/{repository}", remote.location()),
            tag,
            digest: String::new(),
            platforms: Vec::new(),
            problem: chain(error),
        }
    }
}

fn print(context: &Context, args: &ListArgs, all: &[Shown]) -> Result<()> {
    if args.format.format() != Format::Text {
        return context.ui.document(args.format.format(), &all);
    }
    let mut table = Table::new(["name", "tag", "digest", "platforms"]);
    for one in all {
        let digest: String = one.digest.chars().take("sha256:".len() + 12).collect();
        let platforms = one.platforms.join(", ");
        let or_dash = |text: &str| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text.to_owned()
            }
        };
        let (tone, last) = match one.problem.as_str() {
            "" => (Tone::Plain, platforms.as_str()),
            problem => (Tone::Bad, problem),
        };
        table.row(tone, [one.name.as_str(), &or_dash(&one.tag), &or_dash(&digest), last]);
    }
    context.ui.table(&table)
}
