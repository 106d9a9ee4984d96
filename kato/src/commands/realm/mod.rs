//! The family `kato realm`: groups of nodes that share values of the configuration.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use super::cloud::{Cloud, bounded, by, name};
use crate::completing;
use crate::error::{Exit, Result};
use crate::ui::{self, Format, FormatArgs, Table, Tone};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum RealmCommand {
    Create(CreateArgs),
    List(ListArgs),
    Show(ShowArgs),
    Delete(DeleteArgs),
}

/// Make a realm
///
/// Nodes come into it with `kato node realm`, or when they are paired; `kato config set --realm` sets values for them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato realm create eu
  kato realm create eu --owner alice")]
pub struct CreateArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Whose it is; who makes it if nobody is named
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

/// List the realms
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato realm list
  kato realm list -j")]
pub struct ListArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// Show a realm: id, owner, when it was made, its nodes
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato realm show eu")]
pub struct ShowArgs {
    /// Its name
    #[arg(value_name = "NAME", add = completing::realms())]
    name: String,
    #[command(flatten)]
    format: FormatArgs,
}

/// Delete a realm that has no nodes
///
/// The values that are set for it stay in the configuration.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato realm delete eu")]
pub struct DeleteArgs {
    /// Its name
    #[arg(value_name = "NAME", add = completing::realms())]
    name: String,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    realm: cluster::realms::Realm,
    nodes: Vec<String>,
}

/// Run one verb.
pub async fn run(context: &Context, command: RealmCommand) -> Result<Exit> {
    let cloud = Cloud::open(context).await?;
    match command {
        RealmCommand::Create(args) => create(context, &cloud, &args).await,
        RealmCommand::List(args) => list(context, &cloud, &args).await,
        RealmCommand::Show(args) => show(context, &cloud, &args).await,
        RealmCommand::Delete(args) => {
            bounded(cloud.realms().delete(&name(&args.name)?)).await?;
            context.ui.say(&format!("realm {} deleted", args.name));
            Ok(Exit::Done)
        }
    }
}

async fn create(context: &Context, cloud: &Cloud, args: &CreateArgs) -> Result<Exit> {
    let by = by();
    let owner = args.owner.as_deref().unwrap_or(&by);
    let realm = bounded(cloud.realms().create(&name(&args.name)?, owner, &by)).await?;
    context.ui.say(&format!("realm {} created ({})", realm.name, realm.id));
    Ok(Exit::Done)
}

async fn list(context: &Context, cloud: &Cloud, args: &ListArgs) -> Result<Exit> {
    let (realms, nodes) = (
        bounded(cloud.realms().list()).await?,
        bounded(cloud.nodes().list()).await?,
    );
    let shown = realms.into_iter().map(|realm| Shown {
        nodes: names(nodes.iter().filter(|node| node.realm == realm.name)),
        realm,
    });
    let shown: Vec<Shown> = shown.collect();
    if args.format.format() != Format::Text {
        context.ui.document(args.format.format(), &shown)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["realm", "owner", "created", "nodes"]);
    for Shown { realm, nodes } in &shown {
        let (created, nodes) = (ui::time(realm.created), nodes.join(", "));
        table.row(Tone::Plain, [realm.name.as_str(), &realm.owner, &created, &nodes]);
    }
    context.ui.table(&table)?;
    Ok(Exit::Done)
}

async fn show(context: &Context, cloud: &Cloud, args: &ShowArgs) -> Result<Exit> {
    let (realm, nodes) = bounded(cloud.realms().show(&name(&args.name)?)).await?;
    let nodes = names(nodes.iter());
    context.ui.document(args.format.format(), &Shown { realm, nodes })?;
    Ok(Exit::Done)
}

fn names<'a>(nodes: impl Iterator<Item = &'a cluster::nodes::Record>) -> Vec<String> {
    nodes.map(|node| node.name.to_string()).collect()
}
