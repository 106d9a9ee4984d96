//! `kato registry login` and `logout`: root's Docker on this machine at the cluster's registry, and all nodes at another.

use std::collections::BTreeMap;
use std::io::Read;

use std::time::Duration;

use clap::Args;
use cluster::config::schema::registry::{Account, accounts};
use cluster::config::{Config, KeyPath, Name, Secrets, Target};
use registry_bootstrap::trust::{self, For};
use registry_bootstrap::{RegistryAuth, by_hand};
use serde_json::Value;
use tokio::time::sleep;

use super::{problem, shared};
use crate::agent::member::registry as agents;
use crate::commands::Context;
use crate::commands::config::{change, open_store, problem as tree};
use crate::error::{Error, Exit, Result};

/// The longest password that is read.
const MAX_PASSWORD: u64 = 4096;
/// How often a change is tried again when others come in between, and the pause after that, which grows with each.
const TRIES: u32 = 32;
const PAUSE: Duration = Duration::from_millis(5);

/// Log in at the cluster's image registry, or have all nodes log in at another
///
/// Without REGISTRY, root's Docker on this machine gets the administrator's account at the cluster's registry, which pushes. With
/// one and -u, name and password are kept as a secret of the cluster, and each node's Docker is logged in there. With one alone, that
/// is a registry which kato registry pack made and which runs on the core by hand: it becomes the cluster's. Other accounts stay,
/// also one at the same registry that root's Docker on this machine has and the cluster did not give it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato registry login
  kato registry login --force
  kato registry login api.paas.example.com:49153
  kato registry login registry.example.com -u robot < password")]
pub struct LoginArgs {
    /// Another registry: its host, or host:port; without -u the one that is run by hand on the core
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
    /// The account there; its password is read from the standard input
    #[arg(short, long, value_name = "NAME", requires = "registry")]
    username: Option<String>,
    /// Replace an account there that the cluster did not give
    #[arg(long)]
    force: bool,
}

/// Log out at the cluster's image registry, or have all nodes log out at another
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato registry logout
  kato registry logout registry.example.com")]
pub struct LogoutArgs {
    /// Another registry
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
}

/// Log in.
pub async fn log_in(context: &Context, args: &LoginArgs) -> Result<Exit> {
    let (Some(registry), Some(username)) = (&args.registry, &args.username) else {
        if let Some(by_hand) = &args.registry {
            adopt(context, by_hand).await?;
        }
        let registry = own(context, args.force).await?;
        context.ui.line(&format!("root's Docker is logged in at {registry}"))?;
        return Ok(Exit::Done);
    };
    let account = Account {
        username: username.clone(),
        password: password()?,
    };
    change(context, "login", |all| {
        // What the cluster has or had there is its own to change.
        let is_ours = all.contains_key(registry) || agents::is_written(&context.paths, registry);
        if !args.force && !is_ours {
            check_foreign(context, registry)?;
        }
        all.insert(registry.clone(), account.clone());
        Ok(())
    })
    .await?;
    warn_of_store(context, registry);
    context
        .ui
        .line(&format!("All nodes log in at {registry} as {username}"))?;
    Ok(Exit::Done)
}

/// Make a registry that is run by hand the cluster's, where it is not yet.
async fn adopt(context: &Context, registry: &str) -> Result<()> {
    if location(context).await? == *registry {
        return Ok(());
    }
    let core = shared::core(context).await?;
    let author = change::author_of(format!("kato registry login {registry}"));
    by_hand::adopt(&core, registry, &author)
        .await
        .map_err(problem::registry)
}

/// Log out.
pub async fn log_out(context: &Context, args: &LogoutArgs) -> Result<Exit> {
    let Some(registry) = &args.registry else {
        let location = location(context).await?;
        let logged_out = trust::log_in(&context.paths, For::Administrator, &BTreeMap::new(), &[location]);
        logged_out.map_err(problem::registry)?;
        context
            .ui
            .line("root's Docker is logged out; the node's own account, which pulls, follows.")?;
        return Ok(Exit::Done);
    };
    change(context, "logout", |all| match all.remove(registry) {
        Some(_) => Ok(()),
        None => Err(Error::not_found(format!("the cluster has no account at {registry}"))),
    })
    .await?;
    context.ui.line(&format!("All nodes log out at {registry}"))?;
    Ok(Exit::Done)
}

/// Give root's Docker the administrator's account at the cluster's registry, also where it has another one and `force` is given;
/// where that registry is.
pub async fn own(context: &Context, force: bool) -> Result<String> {
    let given = shared::account(context).await?;
    if !force {
        check_foreign(context, &given.location)?;
    }
    let auth = RegistryAuth {
        username: given.account.username,
        password: given.account.password,
    };
    let all = BTreeMap::from([(given.location.clone(), auth)]);
    trust::log_in(&context.paths, For::Administrator, &all, &[]).map_err(problem::registry)?;
    warn_of_store(context, &given.location);
    Ok(given.location)
}

/// Refuse to take the place of an account that somebody else gave root's Docker.
fn check_foreign(context: &Context, registry: &str) -> Result<()> {
    match trust::foreign(&context.paths, registry) {
        None => Ok(()),
        Some(name) => Err(Error::refused(format!(
            "root's Docker on this machine has an account of its own at {registry}, as {name}, which would be lost"
        ))
        .hint("replace it with --force")),
    }
}

/// Say it where Docker does not look at what is written here.
fn warn_of_store(context: &Context, registry: &str) {
    if let Some(store) = trust::credential_store(&context.paths, registry) {
        context.ui.warn(&format!(
            "root's Docker on this machine does not look at this account: {} has {store} for {registry}. \
             Images for containers are pulled with it all the same",
            context.paths.docker_accounts().display()
        ));
    }
}

async fn change(
    context: &Context,
    verb: &str,
    change: impl Fn(&mut BTreeMap<String, Account>) -> Result<()>,
) -> Result<()> {
    let (node, store) = open_store(context).await?;
    let config = Config::new(store, node.name);
    let unusable = |reason: String| Error::failed(format!("the accounts at other registries are not usable: {reason}"));
    let author = change::author_of(format!("kato registry {verb}"));
    let target = target("registry/credentials")?;
    let own = Target {
        own: true,
        ..target.clone()
    };
    for tried in 0..TRIES {
        let present = config.get_with(&own, Secrets::Revealed).await.map_err(tree::tree)?;
        let mut all = accounts(present.as_ref().and_then(Value::as_str).unwrap_or_default()).map_err(unusable)?;
        change(&mut all)?;
        let value = serde_json::to_string(&all).map_err(|error| unusable(error.to_string()))?;
        let replaced = config.replace(&target, present.as_ref(), value.into(), &author).await;
        if replaced.map_err(tree::tree)?.is_some() {
            return Ok(());
        }
        sleep(PAUSE * tried).await;
    }
    Err(Error::failed(format!("others changed the accounts {TRIES} times meanwhile")).hint("try again"))
}

async fn location(context: &Context) -> Result<String> {
    let (node, store) = open_store(context).await?;
    let config = Config::new(store, node.name);
    let value = config.get(&target("registry/location")?).await.map_err(tree::tree)?;
    Ok(value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned())
}

fn target(path: &str) -> Result<Target> {
    let component = Name::new("cluster").map_err(tree::key)?;
    let path = KeyPath::parse(path).map_err(tree::key)?;
    Target::key(&component, &path).map_err(tree::key)
}

fn password() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_PASSWORD + 1).read_to_string(&mut text);
    read.map_err(|error| Error::failed("could not read the password from the standard input").because(error))?;
    let password = text.trim_end_matches(['\n', '\r']);
    match password.is_empty() {
        true => {
            Err(Error::usage("the standard input has no password").hint("kato registry login REGISTRY -u NAME < FILE"))
        }
        false => Ok(password.to_owned()),
    }
}
