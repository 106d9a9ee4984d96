//! `kato node availabilityzone` and `kato node realm`: where a node belongs.

use clap::Args;
use cluster::nodes::Record;

use super::super::cloud::{Cloud, NodeArgs, bounded, name};
use super::Context;
use crate::completing;
use crate::error::{Exit, Result};

/// Show or set a node's availability zone, a label
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node availabilityzone
  kato node availabilityzone -n two rack-b")]
pub struct ZoneArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The zone; it is shown if none is given
    #[arg(value_name = "ZONE")]
    zone: Option<String>,
}

/// Show or set the realm a node belongs to
///
/// The values that are set for the realm are in effect at once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node realm
  kato node realm -n two eu")]
pub struct RealmArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The realm; it is shown if none is given
    #[arg(value_name = "REALM", add = completing::realms())]
    realm: Option<String>,
}

/// The zone.
pub async fn zone(context: &Context, args: &ZoneArgs) -> Result<Exit> {
    let zone = args.zone.as_deref().map(name).transpose()?;
    let record = changed(context, &args.node, |record| {
        if let Some(zone) = &zone {
            record.zone = zone.clone();
        }
    })
    .await?;
    let Record { name, zone, .. } = record;
    context
        .ui
        .line(&format!("Availability zone on node {name} is '{zone}'."))?;
    Ok(Exit::Done)
}

/// The realm.
pub async fn realm(context: &Context, args: &RealmArgs) -> Result<Exit> {
    let realm = args.realm.as_deref().map(name).transpose()?;
    let record = changed(context, &args.node, |record| {
        if let Some(realm) = &realm {
            record.realm = realm.clone();
        }
    })
    .await?;
    let Record { name, realm, .. } = record;
    context.ui.line(&format!("Realm of node {name} is '{realm}'."))?;
    Ok(Exit::Done)
}

async fn changed(context: &Context, node: &NodeArgs, change: impl Fn(&mut Record)) -> Result<Record> {
    let cloud = Cloud::open(context).await?;
    let id = cloud.meant(node).await?.record.id;
    let change = |record: &mut Record| {
        change(record);
        Ok(())
    };
    bounded(cloud.nodes().change(id, change)).await
}
