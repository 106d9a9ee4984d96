//! `kato node token`: tokens that let one node in each, without an administrator at hand.

use std::time::Duration;

use clap::{Args, Subcommand};
use cluster::config::Name;
use cluster::identity::JoinToken;
use cluster::nodes::default_realm;
use cluster::pairing::{NewToken, Pairing, Token};
use serde::Serialize;

use super::{problem, shared};
use crate::commands::config::problem::key;
use crate::commands::{Context, cloud};
use crate::completing;
use crate::error::{Exit, Result};
use crate::ui::{Format, FormatArgs, Table, Tone, time};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make a token that lets one node in, once
///
/// The token is printed on the standard output and kept nowhere: it is a secret.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato node token create > token
  kato node token create --realm europe -e dea --minutes 10")]
pub struct CreateArgs {
    /// The realm the node comes into
    #[arg(long, value_name = "REALM", add = completing::realms())]
    realm: Option<String>,
    /// What the node does, with commas between; what it asks for but config if none is given
    #[arg(short = 'e', long, value_name = "ROLES", value_delimiter = ',')]
    roles: Vec<String>,
    /// How the node is called
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// For how long it is good
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=527_040))]
    minutes: u32,
    #[command(flatten)]
    format: FormatArgs,
}

/// Show the tokens that are still good; not their secrets
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato node token list")]
pub struct ListArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// Make a token useless
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato node token revoke 1f2e3d4c")]
pub struct RevokeArgs {
    /// The token's id, or its beginning
    #[arg(value_name = "ID")]
    id: String,
}

/// Run one.
pub async fn run(context: &Context, command: TokenCommand) -> Result<Exit> {
    match command {
        TokenCommand::Create(args) => create(context, &args).await,
        TokenCommand::List(args) => list(context, &args).await,
        TokenCommand::Revoke(args) => revoke(context, &args).await,
    }
}

async fn create(context: &Context, args: &CreateArgs) -> Result<Exit> {
    let (_, membership, store) = shared::tree(context).await?;
    let name = |text: &Option<String>| text.as_deref().map(Name::new).transpose().map_err(key);
    let new = NewToken {
        realm: name(&args.realm)?.unwrap_or_else(default_realm),
        roles: shared::roles(&args.roles)?,
        name: name(&args.name)?,
        administrator: shared::administrator(context),
        good_for: Duration::from_secs(u64::from(args.minutes) * 60),
    };
    let (secret, token) = Pairing::new(store)
        .create_token(new, &cloud::by())
        .await
        .map_err(problem::pairing)?;
    let text = JoinToken {
        core: membership.core.parse().map_err(problem::identity)?,
        ca: membership.ca.parse().map_err(problem::identity)?,
        secret,
    }
    .text()
    .map_err(problem::identity)?;
    match args.format.format() {
        Format::Text => context.ui.line(&text)?,
        format => {
            #[derive(Serialize)]
            struct Shown<'a> {
                token: &'a str,
                #[serde(flatten)]
                facts: &'a Token,
            }
            let (token, facts) = (text.as_str(), &token);
            context.ui.document(format, &Shown { token, facts })?;
        }
    }
    context.ui.say(&format!(
        "Good once, until {}. On the new node: kato node attach --token-file FILE",
        time(token.expires)
    ));
    Ok(Exit::Done)
}

async fn list(context: &Context, args: &ListArgs) -> Result<Exit> {
    let all = shared::pairing(context)
        .await?
        .tokens()
        .await
        .map_err(problem::pairing)?;
    if args.format.format() != Format::Text {
        context.ui.document(args.format.format(), &all)?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["id", "realm", "roles", "name", "made by", "expires"]);
    for token in &all {
        let roles: Vec<&str> = token.roles.iter().map(|role| role.name()).collect();
        let name = token.name.as_ref().map(Name::as_str).unwrap_or_default();
        let expires = time(token.expires);
        let cells = [
            token.id.short(),
            token.realm.as_str(),
            &roles.join(","),
            name,
            &token.made_by,
            &expires,
        ];
        table.row(Tone::Plain, cells);
    }
    context.ui.table(&table)?;
    Ok(Exit::Done)
}

async fn revoke(context: &Context, args: &RevokeArgs) -> Result<Exit> {
    let pairing = shared::pairing(context).await?;
    let token = pairing.revoke_token(&args.id).await.map_err(problem::pairing)?;
    context.ui.line(&format!("Token {} is revoked.", token.id.short()))?;
    Ok(Exit::Done)
}
