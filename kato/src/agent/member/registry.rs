//! This node's Docker can use the cluster's image registry, and others that the cluster has accounts at: whom to believe and
//! who it is there. Written when the registry's place changes and every so often, without a restart of Docker.
//!
//! The state is in Docker's own files and in `registries.json`, which has what was written, so that it can be taken back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cluster::config::schema::registry::Account;
use cluster::files;
use cluster::identity::{Key, Pki};
use cluster::nodes::{Kind, Membership, Paths};
use registry_bootstrap::RegistryAuth;
use registry_bootstrap::trust::{self, For};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::Member;
use crate::agent::core::wire::{Accounts, AskAccount};
use crate::agent::joining::client::{Answer, Client};
use crate::error::{Error, Result, chain};

/// How soon it is tried again at first, and how often it is looked at though nothing changed; also the longest pause.
const AGAIN: Duration = Duration::from_secs(5);
const ROUND: Duration = Duration::from_secs(300);
/// How long the registry's name may take to be resolved.
const RESOLVE: Duration = Duration::from_secs(5);
/// The largest file of what was written.
const MAX_FILE: u64 = 64 * 1024;

/// What was written for Docker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    /// The registries that Docker believes by the cluster's CA: the present one, and older ones until that is taken back.
    #[serde(default)]
    locations: Vec<String>,
    /// Those where it has accounts.
    #[serde(default)]
    accounts: Vec<String>,
}

/// Keep it so, for ever.
pub async fn keep(member: &Member) {
    let mut location = member.registry.subscribe();
    let mut pause = AGAIN;
    loop {
        let wanted = location.borrow_and_update().clone();
        let done = match &wanted {
            Some(wanted) => step(member, wanted).await,
            None => Ok(()),
        };
        let wait = match done.is_ok() {
            true => ROUND,
            false => pause,
        };
        let problem = match &done {
            Ok(()) => String::new(),
            Err(error) if has_none(member, wanted.as_deref()) => {
                debug!(error = %chain(error), "cannot ask whether there are accounts at registries");
                String::new()
            }
            Err(error) => format!("the image registry cannot be used: {}", chain(error)),
        };
        say(member, problem);
        tokio::select! {
            changed = location.changed() => match changed {
                Ok(()) => pause = AGAIN,
                Err(_) => return,
            },
            () = sleep(wait) => pause = if done.is_ok() { AGAIN } else { pause.saturating_mul(2).min(ROUND) },
        }
    }
}

/// Whether the account that this node's Docker has at a registry was written by its agent, and is the cluster's to change.
pub fn is_written(paths: &Paths, registry: &str) -> bool {
    read(paths).accounts.iter().any(|written| written == registry)
}

/// Neither a registry of the cluster nor an account at another is known here: nothing is missing while the core is away.
fn has_none(member: &Member, location: Option<&str>) -> bool {
    location.is_none_or(str::is_empty) && read(&member.paths) == Written::default()
}

fn say(member: &Member, problem: String) {
    let is_news = member.registry_problem.send_if_modified(|said| {
        let is_news = *said != problem;
        said.clone_from(&problem);
        is_news
    });
    if is_news {
        match problem.as_str() {
            "" => info!("the image registry can be used"),
            problem => warn!(problem),
        }
        member.stir();
    }
}

async fn step(member: &Member, location: &str) -> Result<()> {
    let node = member.node.borrow().clone();
    let (Kind::Cluster, Some(membership)) = (node.kind, &node.cluster) else {
        return Ok(());
    };
    let mut written = read(&member.paths);
    believe(member, location, &mut written)?;
    let client = client(member, membership)?;
    let given = account(&client, AskAccount::Node(node.id)).await?;
    let mut accounts: BTreeMap<String, RegistryAuth> = given
        .others
        .into_iter()
        .map(|(registry, account)| (registry, auth(account)))
        .collect();
    // Another place than the tree says is on its way here by the tree.
    if let Some(own) = given.own.filter(|own| own.location == location) {
        accounts.insert(own.location, auth(own.account));
    }
    let gone = written
        .accounts
        .iter()
        .filter(|known| !accounts.contains_key(known.as_str()));
    let gone: Vec<String> = gone.cloned().collect();
    say_what_is_replaced(member, &accounts, &written);
    // Before it is done, so that it can be taken back whatever happens.
    written.accounts.extend(accounts.keys().cloned());
    write(member, &mut written)?;
    let refused = refused(member, &client, location).await;
    let who = For::Node {
        own: location,
        refused: refused.as_ref(),
    };
    trust::log_in(&member.paths, who, &accounts, &gone).map_err(failed)?;
    written.accounts = accounts.into_keys().collect();
    write(member, &mut written)?;
    resolves(location).await
}

/// What the cluster has an account for is the cluster's to say; whose own account that replaces learns it here.
fn say_what_is_replaced(member: &Member, accounts: &BTreeMap<String, RegistryAuth>, written: &Written) {
    for registry in accounts.keys().filter(|registry| !written.accounts.contains(registry)) {
        if let Some(name) = trust::foreign(&member.paths, registry) {
            warn!(
                registry,
                name, "root's Docker had an account of its own there, which the cluster's replaces"
            );
        }
    }
}

/// Have Docker believe the registry at `location`, and what was the cluster's before no more. Needs no core.
fn believe(member: &Member, location: &str, written: &mut Written) -> Result<()> {
    let (now, old): (Vec<String>, Vec<String>) = written.locations.drain(..).partition(|known| known == location);
    written.locations = [old.clone(), now].concat();
    if !location.is_empty() {
        let ca = text(&Pki::new(member.paths.pki()).ca())?;
        // Before it is done, so that it can be taken back whatever happens.
        written.locations.push(location.to_owned());
        write(member, written)?;
        trust::believe(&member.paths, location, &ca).map_err(failed)?;
    }
    if old.is_empty() {
        return Ok(());
    }
    for old in &old {
        trust::forget(&member.paths, old).map_err(failed)?;
    }
    let nobody = For::Node {
        own: location,
        refused: None,
    };
    trust::log_in(&member.paths, nobody, &BTreeMap::new(), &old).map_err(failed)?;
    written.locations.retain(|known| !old.contains(known));
    written.accounts.retain(|known| !old.contains(known));
    write(member, written)
}

/// The administrator's account that is here, where the core says that it is none any more.
async fn refused(member: &Member, client: &Client, location: &str) -> Option<RegistryAuth> {
    let present = trust::account(&member.paths, location).filter(trust::is_administrators)?;
    // Where the core does not say, it stays.
    let is_one = client.is_account(&present).await.unwrap_or(true);
    (!is_one).then_some(present)
}

fn client(member: &Member, membership: &Membership) -> Result<Client> {
    let pki = Pki::new(member.paths.pki());
    let key = Key::load(&pki.node_key());
    let key = key.map_err(|error| Error::failed("the node's key is not usable").because(error))?;
    let (ca, certificate) = (text(&pki.ca())?, text(&pki.node_certificate())?);
    Client::open(&member.paths, membership)?.showing(&ca, &certificate, &key)
}

async fn account(client: &Client, who: AskAccount) -> Result<Accounts> {
    match client.account(&who).await? {
        Answer::Done(given) => Ok(*given),
        Answer::Waiting => Err(Error::unreachable("the core gave no answer that is known")),
        Answer::Refused(reason) => Err(Error::refused(format!("the core gives this node no account: {reason}"))),
    }
}

/// The name under which all nodes know the registry has to lead somewhere from here.
async fn resolves(location: &str) -> Result<()> {
    if location.is_empty() {
        return Ok(());
    }
    let failed = || Error::unreachable(format!("its name {location} does not resolve on this node"));
    match timeout(RESOLVE, tokio::net::lookup_host(location.to_owned())).await {
        Ok(Ok(mut found)) => found.next().map(drop).ok_or_else(failed),
        Ok(Err(error)) => Err(failed().because(error)),
        Err(_) => Err(failed()),
    }
}

fn auth(account: Account) -> RegistryAuth {
    RegistryAuth {
        username: account.username,
        password: account.password,
    }
}

fn file(paths: &Paths) -> PathBuf {
    paths.kato_lib().join("registries.json")
}

fn read(paths: &Paths) -> Written {
    // One that is not usable is as none: what it had is written anew.
    let bytes = files::read_limited(&file(paths), MAX_FILE).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn write(member: &Member, written: &mut Written) -> Result<()> {
    for list in [&mut written.locations, &mut written.accounts] {
        list.sort_unstable();
        list.dedup();
    }
    if read(&member.paths) == *written {
        return Ok(());
    }
    let path = file(&member.paths);
    let failed = |error: std::io::Error| Error::failed(format!("could not write {}", path.display())).because(error);
    let text = serde_json::to_vec(&written).map_err(|error| failed(error.into()))?;
    files::write_atomic(&path, &text, 0o600).map_err(failed)
}

fn text(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::failed(format!("could not read {}", path.display())).because(error))
}

fn failed(error: registry_bootstrap::Error) -> Error {
    Error::failed(error.to_string()).because(error)
}
