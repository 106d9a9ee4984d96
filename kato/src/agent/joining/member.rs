//! A node's part in the config store: with the role config it becomes a member and renews its certificates as one, without
//! it what is left of the membership goes. One that ended meanwhile, since the role was gone for a while, is begun anew: to
//! etcd a member that was removed never comes back.
//!
//! ```text
//!   settings, etcd runs ──the others have let it go──▶ no settings, etcd ends ──▶ asks the core ──▶ no data, settings, etcd
//! ```

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::time::Duration;

use cluster::identity::{Key, Pki};
use cluster::nodes::{NodeFile, Paths, Role, node_store};
use cluster::process::{Observed, Process};
use cluster::store::{self, Store};
use tracing::{debug, info};

use super::client::{Answer, Client};
use super::etcd::{Beginning, Ports, Settings};
use super::{is_due, write};
use crate::addresses;
use crate::agent::core::reconciler::ENDPOINTS;
use crate::agent::core::wire::{Member, Membership};
use crate::agent::desk::Desk;
use crate::error::{Error, Result, chain};

/// Do what the role asks for, where it is not done.
pub async fn keep(paths: &Paths, key: &Key, desk: &Desk) -> Result<()> {
    let node = NodeFile::load(paths)?;
    let settings = Settings::file(paths);
    if !node.roles.contains(&Role::Config) {
        return match settings.exists() && !runs(desk).await {
            true => forget(paths),
            false => Ok(()),
        };
    }
    if settings.exists() && !is_ready(desk).await && is_over(paths, &node).await {
        return begin_anew(paths, desk).await;
    }
    if !settings.exists() && runs(desk).await {
        // That of the membership before this one: its data cannot be taken from under it.
        return Ok(());
    }
    let pki = Pki::new(paths.pki());
    let certificates = [pki.config_certificate(), pki.peer_certificate()];
    let is_good = certificates.iter().all(|path| !is_due(path, &key.fingerprint()));
    let Some(membership) = &node.cluster else { return Ok(()) };
    if settings.exists() && is_good && !has_moved(paths) {
        return Ok(());
    }
    let client = Client::open(paths, membership)?;
    let addresses = addresses::led_by(Some(client.local_address().await?));
    // Looked at again where the core can be reached: a machine that boots may get its address late.
    let wanted = match (settings.exists(), has_moved(paths)) {
        (false, _) => Wanted::Membership,
        (true, true) => Wanted::Another,
        (true, false) => Wanted::Certificates,
    };
    ask(paths, key, &node, &client, &addresses, wanted).await
}

/// What this node asks the core for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// To be a member.
    Membership,
    /// To be another one, since the others cannot find the one it is.
    Another,
    /// To go on as the one it is.
    Certificates,
}

/// Whether the others look for this node's member where this machine is not any more.
fn has_moved(paths: &Paths) -> bool {
    Settings::load(paths).is_ok_and(|settings| !settings.is_here())
}

async fn ask(
    paths: &Paths,
    key: &Key,
    node: &NodeFile,
    client: &Client,
    addresses: &[IpAddr],
    wanted: Wanted,
) -> Result<()> {
    let ports = Ports::chosen();
    let csr = key.request();
    let question = Member {
        csr: csr.map_err(|error| Error::failed("could not make a request for a certificate").because(error))?,
        id: node.id,
        addresses: addresses.to_vec(),
        client_port: ports.client,
        peer_port: ports.peer,
        renews: wanted == Wanted::Certificates,
    };
    match client.member(&question).await? {
        Answer::Done(_) if wanted == Wanted::Another => {
            // etcd ends when it hears of it, and then the membership of now begins.
            info!(address = ?addresses.first(), "this node's member of the config store is at another address now");
            Ok(())
        }
        Answer::Done(given) => take(paths, node, addresses, ports, *given, question.renews),
        Answer::Waiting => Err(Error::unreachable("the core gave no answer that is known")),
        Answer::Refused(reason) => Err(Error::refused(format!("the core makes this node no member: {reason}"))),
    }
}

/// Whether this node's etcd runs, wanted or not.
async fn runs(desk: &Desk) -> bool {
    etcd(desk).await.is_some_and(|seen| seen.pid.is_some())
}

/// Whether this node's etcd answers as a member does.
async fn is_ready(desk: &Desk) -> bool {
    etcd(desk).await.is_some_and(|seen| seen.is_ready())
}

async fn etcd(desk: &Desk) -> Option<Observed> {
    let all = desk.supervisor.list().await;
    all.into_iter().find(|seen| seen.process == Process::Config)
}

/// Whether the others have let this node's member go. While they cannot be asked, it is one.
async fn is_over(paths: &Paths, node: &NodeFile) -> bool {
    let Ok(settings) = Settings::load(paths) else {
        return false;
    };
    match members(paths).await {
        Ok(members) => !members.iter().any(|member| {
            member.name == node.id.to_string() || member.peer_urls.iter().any(|url| url == settings.peer_url())
        }),
        Err(error) => {
            debug!(error = %chain(&error), "the members of the config store could not be listed");
            false
        }
    }
}

/// The members, as one that is not behind the others knows them.
async fn members(paths: &Paths) -> store::Result<Vec<store::etcd::admin::Member>> {
    let store = node_store(paths);
    // Who answers this has all that was done before; etcd itself lists what the asked one knows.
    store.get(ENDPOINTS).await?;
    store.admin().members().await
}

/// Have etcd ended and not started again, so that the core can be asked for another membership.
async fn begin_anew(paths: &Paths, desk: &Desk) -> Result<()> {
    info!("this node's membership in the config store has ended; it asks for another one");
    // Without them etcd is not started; what it had goes when the next membership begins.
    match fs::remove_file(Settings::file(paths)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::failed("could not remove etcd's settings").because(error));
        }
        _ => {}
    }
    if etcd(desk).await.is_some_and(|seen| seen.wanted.is_running()) {
        // Not waited for: it cannot be ready before the core has answered.
        let _ = desk.supervisor.restart(&[Process::Config], Duration::ZERO).await;
    }
    Ok(())
}

fn take(
    paths: &Paths,
    node: &NodeFile,
    addresses: &[IpAddr],
    ports: Ports,
    given: Membership,
    renews: bool,
) -> Result<()> {
    let pki = Pki::new(paths.pki());
    let failed = |error| Error::failed("could not keep the store member's certificates").because(error);
    write(&pki.peer_ca(), &given.peer_ca).map_err(failed)?;
    write(&pki.config_certificate(), &given.server_certificate).map_err(failed)?;
    write(&pki.peer_certificate(), &given.peer_certificate).map_err(failed)?;
    if renews {
        // etcd reads its certificates anew for each connection.
        info!("renewed the store member's certificates");
        return Ok(());
    }
    let Some(first) = addresses.first() else { return Ok(()) };
    let written = |error: io::Error| Error::failed("could not write etcd's settings").because(error);
    make_directory(paths).map_err(written)?;
    // Another membership's, which that of now would not go on with.
    remove_data(paths).map_err(written)?;
    let beginning = Beginning {
        initial_cluster: Some(given.initial_cluster),
        token: given.cluster_token,
    };
    let settings = Settings::new(paths, node.id, *first, ports, beginning);
    settings.save(paths).map_err(written)?;
    info!("this node is a member of the config store now");
    Ok(())
}

/// Make the place of etcd's data.
fn make_directory(paths: &Paths) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(paths.etcd())
}

/// The node is no member any more, and its etcd has ended. Its data and certificates are of no use to another membership.
fn forget(paths: &Paths) -> Result<()> {
    let failed = |error: io::Error| Error::failed("could not remove what etcd had").because(error);
    let pki = Pki::new(paths.pki());
    for file in [pki.config_certificate(), pki.peer_certificate(), pki.peer_ca()] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    // The settings last, so that what broke off is gone on with.
    remove_data(paths).map_err(failed)?;
    fs::remove_dir_all(paths.etcd()).map_err(failed)?;
    info!("this node is no member of the config store any more");
    Ok(())
}

fn remove_data(paths: &Paths) -> io::Result<()> {
    match fs::remove_dir_all(paths.etcd().join("data")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
