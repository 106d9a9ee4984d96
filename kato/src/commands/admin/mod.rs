//! The family `kato admin`: who may administer the cluster.

pub mod credential;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use cluster::config::Name;
use cluster::identity::{Ca, Pki};
use cluster::nodes::Role;
use cluster::pairing::Administrators;
use cluster::store::Store;
use cluster::store::etcd::EndpointsFile;

use super::config::problem::key;
use super::node::{problem, shared};
use super::{Context, cloud};
use crate::agent::core::root_store;
use crate::error::{Error, Exit, Result};
use crate::ui::{Format, FormatArgs, Table, Tone, time};

/// The longest that a credential may be good.
const MOST_DAYS: i64 = 3660;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make an administrator and the credential to be one; on the core
///
/// The credential is a file with a private key, for its owner alone. Carry it to where it is used, as
/// /etc/kato/credential.yml or named with --credential, over a way that nobody else reads.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato admin create alice
  kato admin create alice -o /root/alice.yml --days 90")]
pub struct CreateArgs {
    /// The administrator's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Where the credential is written; NAME.yml here if no file is given
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// For how many days it is good
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=MOST_DAYS))]
    days: u32,
}

/// Show the administrators
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato admin list")]
pub struct ListArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// Make an administrator's credential useless, at once
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato admin revoke alice")]
pub struct RevokeArgs {
    /// The administrator's name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Run one verb.
pub async fn run(context: &Context, command: AdminCommand) -> Result<Exit> {
    match command {
        AdminCommand::Create(args) => create(context, &args).await,
        AdminCommand::List(args) => list(context, &args).await,
        AdminCommand::Revoke(args) => revoke(context, &args).await,
    }
}

async fn create(context: &Context, args: &CreateArgs) -> Result<Exit> {
    let name = Name::new(&args.name).map_err(key)?;
    let (node, membership) = shared::of(context)?;
    if !node.roles.contains(&Role::Core) {
        let message = format!("administrators are made on the core, {}", membership.core);
        return Err(Error::refused(message).hint("on the core: kato admin create NAME"));
    }
    let paths = &context.paths;
    let ca = Ca::load(Pki::new(paths.pki()).directory()).map_err(problem::identity)?;
    let store: Arc<dyn Store> = Arc::new(root_store(paths));
    let endpoints = EndpointsFile::read(&paths.endpoints_file())
        .map_err(|error| Error::failed("could not read where the config store answers").because(error))?
        .endpoints;
    let file = args
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{name}.yml")));
    let file = std::path::absolute(&file).map_err(|error| Error::failed("the file has no place").because(error))?;
    let new = credential::New {
        name: &name,
        lifetime: Duration::from_secs(u64::from(args.days) * 24 * 60 * 60),
        endpoints,
        by: cloud::by(),
    };
    let administrator = credential::make(&store, &ca, new, &file).await?;
    context.ui.line(&format!(
        "Administrator {name} has the credential {}, good until {}.",
        shown(&file),
        time(administrator.expires)
    ))?;
    Ok(Exit::Done)
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

async fn list(context: &Context, args: &ListArgs) -> Result<Exit> {
    let (_, _, store) = shared::tree(context).await?;
    let all = Administrators::new(store).list().await.map_err(problem::pairing)?;
    if args.format.format() != Format::Text {
        context.ui.document(args.format.format(), &all)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["name", "made by", "made", "expires"]);
    for one in &all {
        let expired = one.expires <= jiff::Timestamp::now();
        let tone = if expired { Tone::Bad } else { Tone::Plain };
        table.row(
            tone,
            [one.name.as_str(), &one.by, &time(one.created), &time(one.expires)],
        );
    }
    context.ui.table(&table)?;
    Ok(Exit::Done)
}

async fn revoke(context: &Context, args: &RevokeArgs) -> Result<Exit> {
    let name = Name::new(&args.name).map_err(key)?;
    let (_, _, store) = shared::tree(context).await?;
    let revoked = Administrators::new(store)
        .revoke(&name)
        .await
        .map_err(problem::pairing)?;
    context
        .ui
        .line(&format!("Administrator {} is revoked.", revoked.name))?;
    Ok(Exit::Done)
}
