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
use cluster::nodes::{Kind, Membership};
use registry_bootstrap::RegistryAuth;
use registry_bootstrap::trust::{self, For};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::Member;
use crate::agent::core::wire::{Accounts, AskAccount};
use crate::agent::joining::client::{Answer, Client};
use crate::error::{Error, Result, chain};

/// How soon it is tried again, and how often it is looked at though nothing changed.
const AGAIN: Duration = Duration::from_secs(5);
const ROUND: Duration = Duration::from_secs(300);
/// How long the registry's name may take to be resolved.
const RESOLVE: Duration = Duration::from_secs(5);
/// The largest file of what was written.
const MAX_FILE: u64 = 64 * 1024;

/// What was written for Docker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    /// The registry that Docker believes by the cluster's CA.
    #[serde(default)]
    location: String,
    /// Those where it has accounts.
    #[serde(default)]
    accounts: Vec<String>,
}

/// Keep it so, for ever.
pub async fn keep(member: &Member) {
    let mut location = member.registry.subscribe();
    loop {
        let wanted = location.borrow_and_update().clone();
        let done = match &wanted {
            Some(wanted) => step(member, wanted).await,
            None => Ok(()),
        };
        let problem = match &done {
            Ok(()) => String::new(),
            Err(error) => format!("the image registry cannot be used: {}", chain(error)),
        };
        if member.registry_problem.send_if_modified(|said| {
            let is_news = *said != problem;
            said.clone_from(&problem);
            is_news
        }) {
            match problem.as_str() {
                "" => info!("the image registry can be used"),
                problem => warn!(problem),
            }
            member.stir();
        }
        let wait = if done.is_ok() { ROUND } else { AGAIN };
        tokio::select! {
            changed = location.changed() => if changed.is_err() { return },
            () = sleep(wait) => {}
        }
    }
}

async fn step(member: &Member, location: &str) -> Result<()> {
    let node = member.node.borrow().clone();
    let (Kind::Cluster, Some(membership)) = (node.kind, &node.cluster) else {
        return Ok(());
    };
    let before = read(member);
    if location.is_empty() && before == Written::default() {
        return Ok(());
    }
    let mut after = Written::default();
    let mut accounts = BTreeMap::new();
    if !location.is_empty() {
        let ca = text(&Pki::new(member.paths.pki()).ca())?;
        // Before it is done, so that it can be taken back whatever happens.
        after.location = location.to_owned();
        write(
            member,
            &Written {
                location: location.to_owned(),
                ..before.clone()
            },
        )?;
        trust::believe(&member.paths, location, &ca).map_err(failed)?;
        let given = ask(member, membership, AskAccount::Node(node.id)).await?;
        accounts.extend(
            given
                .others
                .into_iter()
                .map(|(registry, account)| (registry, auth(account))),
        );
        accounts.insert(given.location, auth(given.account));
        after.accounts = accounts.keys().cloned().collect();
    }
    if !before.location.is_empty() && before.location != location {
        trust::forget(&member.paths, &before.location).map_err(failed)?;
    }
    let gone = before.accounts.iter().filter(|known| !after.accounts.contains(known));
    let gone: Vec<String> = gone.cloned().collect();
    trust::log_in(&member.paths, For::Node, &accounts, &gone).map_err(failed)?;
    write(member, &after)?;
    resolves(location).await
}

async fn ask(member: &Member, membership: &Membership, who: AskAccount) -> Result<Accounts> {
    let pki = Pki::new(member.paths.pki());
    let key = Key::load(&pki.node_key());
    let key = key.map_err(|error| Error::failed("the node's key is not usable").because(error))?;
    let (ca, certificate) = (text(&pki.ca())?, text(&pki.node_certificate())?);
    let client = Client::open(&member.paths, membership)?.showing(&ca, &certificate, &key)?;
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

fn file(member: &Member) -> PathBuf {
    member.paths.kato_lib().join("registries.json")
}

fn read(member: &Member) -> Written {
    // One that is not usable is as none: what it had is written anew.
    let bytes = files::read_limited(&file(member), MAX_FILE).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn write(member: &Member, written: &Written) -> Result<()> {
    if read(member) == *written {
        return Ok(());
    }
    let path = file(member);
    let failed = |error: std::io::Error| Error::failed(format!("could not write {}", path.display())).because(error);
    let text = serde_json::to_vec(written).map_err(|error| failed(error.into()))?;
    files::write_atomic(&path, &text, 0o600).map_err(failed)
}

fn text(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::failed(format!("could not read {}", path.display())).because(error))
}

fn failed(error: registry_bootstrap::Error) -> Error {
    Error::failed(error.to_string()).because(error)
}
