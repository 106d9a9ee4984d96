//! `kato node pair`, `pending` and `unpair`: who is let in, who waits, who is put out.

use std::io::Read;
use std::path::Path;

use clap::Args;
use cluster::config::Name;
use cluster::identity::{Fingerprint, MAX_PEM};
use cluster::nodes::Role;
use cluster::pairing::{Approved, Outcome, Pairing, Pending, Terms};
use serde::Serialize;

use super::{problem, shared};
use crate::commands::config::problem::key;
use crate::commands::{Context, cloud};
use crate::completing;
use crate::error::{Error, Exit, Result};
use crate::ui::{Format, FormatArgs, Table, Tone, time};

/// The fewest digits of a fingerprint that stand for it among those that wait.
const FEWEST: usize = 8;

/// Let a node in that asks to be attached
///
/// Compare the fingerprint with the one that the node shows. A node that has not asked yet is let in when it does
/// within a day. A node that asks for the role config, whose members hold all secrets, gets it by -e alone.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node pair 3f9ac1…                  As shown by kato node attach, and by kato node pending
  kato node pair -e dea,config 3f9ac1…    With these roles, whatever it asks for
  kato node pair key.pub europe edge1     From the node's /var/lib/kato/pki/key.pub, into a realm, by a name")]
pub struct PairArgs {
    /// What the node does, with commas between; what it asks for but config if none is given
    #[arg(short = 'e', long, value_name = "ROLES", value_delimiter = ',')]
    roles: Vec<String>,
    /// The fingerprint of the node's key, its first 8 digits or more if it waits, a file with the public key, or - for one
    /// on the standard input
    #[arg(value_name = "FINGERPRINT|KEY.PUB", add = completing::waiting())]
    key: String,
    /// The realm it comes into; default if none is given
    #[arg(value_name = "REALM", add = completing::realms())]
    realm: Option<String>,
    /// How it is called; as it calls itself if no name is given
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Show the nodes that wait to be paired, and those that were paired before they asked
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node pending
  kato node pending -j")]
pub struct PendingArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// Put a node out of the cluster; it may ask again
///
/// What it has open is cut. Its containers go on, with the configuration that it saw last.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato node unpair edge1")]
pub struct UnpairArgs {
    /// The node: its name or its id
    #[arg(value_name = "NODE", add = completing::nodes())]
    node: String,
}

/// Let one in.
pub async fn pair(context: &Context, args: &PairArgs) -> Result<Exit> {
    let name = |text: &Option<String>| text.as_deref().map(Name::new).transpose().map_err(key);
    let terms = Terms {
        realm: name(&args.realm)?,
        name: name(&args.name)?,
        roles: shared::roles(&args.roles)?,
        administrator: shared::administrator(context),
    };
    let pairing = shared::pairing(context).await?;
    let fingerprint = meant(&pairing, &args.key).await?;
    let waiting = pairing
        .find_pending(fingerprint.as_str())
        .await
        .map_err(problem::pairing)?;
    let outcome = pairing.pair(&fingerprint, terms, &cloud::by()).await;
    match (outcome.map_err(problem::pairing)?, args.format.format()) {
        (Outcome::Paired(record), Format::Text) => {
            let roles: Vec<&str> = record.roles.iter().map(|role| role.name()).collect();
            let (name, realm) = (&record.name, &record.realm);
            let text = format!(
                "Node {name} is paired in realm {realm}, with roles {}.",
                roles.join(", ")
            );
            context.ui.line(&text)?;
            if !record.roles.contains(&Role::Config) && waiting.iter().any(|node| node.roles.contains(&Role::Config)) {
                context.ui.say(&format!(
                    "It asks for config too, and holds all secrets with that: kato role add -n {name} config"
                ));
            }
        }
        (Outcome::Approved(approved), Format::Text) => {
            let (key, realm) = (&approved.fingerprint, &approved.realm);
            let text = format!(
                "No node with the key {key} has asked yet; it is let into realm {realm} when it does, within a day."
            );
            context.ui.line(&text)?;
        }
        (Outcome::Paired(record), format) => context.ui.document(format, &record)?,
        (Outcome::Approved(approved), format) => context.ui.document(format, &approved)?,
    }
    Ok(Exit::Done)
}

/// The key that is meant.
async fn meant(pairing: &Pairing, word: &str) -> Result<Fingerprint> {
    if word == "-" || Path::new(word).is_file() {
        return Fingerprint::of_public_key(&read(word)?).map_err(|error| Error::usage(error.to_string()));
    }
    if let Ok(fingerprint) = word.parse() {
        return Ok(fingerprint);
    }
    if word.len() < FEWEST || !word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!("{word:?} is neither a fingerprint nor a file with a public key");
        return Err(Error::usage(message).hint("kato node pending"));
    }
    let waiting = pairing.find_pending(word).await.map_err(problem::pairing)?;
    match waiting.as_slice() {
        [one] => Ok(one.fingerprint.clone()),
        [] => Err(
            Error::not_found(format!("no node waits whose fingerprint begins with {word}")).hint("kato node pending"),
        ),
        _ => Err(
            Error::refused(format!("several nodes wait whose fingerprint begins with {word}"))
                .hint("kato node pending"),
        ),
    }
}

fn read(file: &str) -> Result<String> {
    let failed = |error: std::io::Error| Error::failed(format!("could not read {file}")).because(error);
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin().lock()),
        file => Box::new(std::fs::File::open(file).map_err(failed)?),
    };
    let mut text = String::new();
    source
        .take(MAX_PEM as u64 + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

/// A node that is not in yet.
#[derive(Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Awaited {
    Pending(Pending),
    Approved(Approved),
}

/// Show those who wait, and those who are waited for.
pub async fn pending(context: &Context, args: &PendingArgs) -> Result<Exit> {
    let pairing = shared::pairing(context).await?;
    let pending = pairing.pending().await.map_err(problem::pairing)?;
    let approved = pairing.approved().await.map_err(problem::pairing)?;
    let approved = approved.into_iter().map(Awaited::Approved);
    let all: Vec<Awaited> = pending.into_iter().map(Awaited::Pending).chain(approved).collect();
    if args.format.format() != Format::Text {
        context.ui.document(args.format.format(), &all)?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        context.ui.say("No node waits to be paired");
        return Ok(Exit::Done);
    }
    let headings = [
        "fingerprint",
        "state",
        "name",
        "roles",
        "address",
        "since",
        "asked last",
    ];
    let mut table = Table::new(headings);
    let names = |roles: &[Role]| roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(",");
    for node in &all {
        match node {
            Awaited::Pending(node) => {
                let (key, name, roles) = (node.fingerprint.as_str(), node.name.as_str(), names(&node.roles));
                let address = node.addresses.first().map(ToString::to_string).unwrap_or_default();
                let (first, last) = (time(node.first_asked), time(node.last_asked));
                table.row(Tone::Waiting, [key, "pending", name, &roles, &address, &first, &last]);
            }
            Awaited::Approved(node) => {
                let (key, roles, at) = (node.fingerprint.as_str(), names(&node.roles), time(node.at));
                let name = node.name.as_ref().map(ToString::to_string).unwrap_or_default();
                table.row(Tone::Plain, [key, "approved", &name, &roles, "", &at, ""]);
            }
        }
    }
    context.ui.table(&table)?;
    Ok(Exit::Done)
}

/// Put one out.
pub async fn unpair(context: &Context, args: &UnpairArgs) -> Result<Exit> {
    let store = shared::tree(context).await?.2;
    let id = super::remove::meant(&store, &args.node).await?.id;
    let record = Pairing::new(store).unpair(id).await.map_err(problem::pairing)?;
    context.ui.line(&format!("Node {} is unpaired.", record.name))?;
    Ok(Exit::Done)
}
