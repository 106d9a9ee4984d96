//! The agent of a cluster's node as the cluster lets it in: it asks the core until it is paired, renews its certificate in
//! time and after any absence, keeps the list of the config store's endpoints, and becomes a member of it with the role.
//!
//! ```text
//!   asking ──▶ unpaired (asks on) ──▶ member ──2/3 of the certificate's life──▶ asking
//!      └▶ unreachable, refused (ask on, more slowly)   └─the store is not where it was──▶ asking
//! ```
//!
//! The state is in files: `pki/` and `endpoints.json`. [`Standing`] is what is told of it. What the node does with its
//! certificate is everybody else's matter.

pub mod client;
pub mod etcd;
mod member;
pub mod standing;

use std::time::Duration;

use cluster::identity::{Certificate, Key, Pki, Secret};
use cluster::nodes::{Access, Kind, Membership, NodeFile, Paths, Role, open_tree};
use cluster::pairing::Asks;
use cluster::store;
use cluster::store::etcd::EndpointsFile;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use self::client::{Answer, Client};
pub use self::standing::{Place, Standing};
use super::core::authority::{is_due, write};
use super::core::reconciler::ENDPOINTS;
use super::core::wire::{Join, Joined};
use super::desk::Desk;
use crate::addresses;
use crate::error::{Error, Result, chain};

/// How soon a node that waits to be paired asks again, at first and at most.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How soon one that was refused asks again.
const REFUSED: Duration = Duration::from_secs(60);
/// How often a node that is in looks whether anything is to be done.
const LOOK: Duration = Duration::from_secs(2);
/// How many looks there are between two at the list of endpoints.
const ENDPOINTS_EVERY: u32 = 5;
/// After how many of those in vain the core is asked where the store is.
const LOST_AFTER: u32 = 3;

/// Where the secret of a join token waits to be used, for the agent that asks.
pub fn token_file(paths: &Paths) -> std::path::PathBuf {
    paths.pki().join("join-token")
}

/// Keep this node in its cluster, for ever; the `desk` is told how it stands.
pub async fn keep(paths: &Paths, node: &NodeFile, desk: &Desk) {
    let show = &desk.standing;
    let (Kind::Cluster, Some(membership)) = (node.kind, &node.cluster) else {
        return std::future::pending().await;
    };
    if node.roles.contains(&Role::Core) {
        // The core signs for itself.
        return std::future::pending().await;
    }
    let (mut wait, mut stayed) = (WAITS.0, Stayed::UntilDue);
    loop {
        let (place, problem) = match step(paths, membership, stayed).await {
            Ok(place) => (place, String::new()),
            Err(error) => (Place::Unreachable, chain(&error)),
        };
        let standing = standing::read(paths, place, problem);
        let is_news = show.borrow().as_ref() != Some(&standing);
        if is_news {
            standing.log();
            show.send_replace(Some(standing));
        }
        let place = show.borrow().as_ref().map(|standing| standing.place);
        wait = match place {
            Some(Place::Member) => {
                stayed = stay(paths, desk).await;
                match stayed {
                    Stayed::NotAtAll => longer(wait).await,
                    Stayed::UntilDue | Stayed::Out | Stayed::Lost => WAITS.0,
                }
            }
            Some(Place::Refused) => {
                sleep(REFUSED).await;
                WAITS.0
            }
            _ => longer(wait).await,
        };
    }
}

/// Wait so long; how long the next time.
async fn longer(wait: Duration) -> Duration {
    sleep(wait).await;
    (wait * 3 / 2).min(WAITS.1)
}

/// Ask once, where there is something to ask for: a certificate, whether the node is out, or where the store is.
async fn step(paths: &Paths, membership: &Membership, stayed: Stayed) -> Result<Place> {
    let key = key(paths)?;
    let is_good = !is_due(&Pki::new(paths.pki()).node_certificate(), &key.fingerprint());
    match stayed {
        Stayed::UntilDue | Stayed::NotAtAll if is_good => Ok(Place::Member),
        Stayed::Lost if is_good => Ok(renew(paths, membership).await.unwrap_or_else(|error| {
            // It may be the store itself that is away: then it comes back where it was.
            debug!(error = %chain(&error), "the core could not say where the config store is");
            Place::Member
        })),
        _ => renew(paths, membership).await,
    }
}

fn key(paths: &Paths) -> Result<Key> {
    let loaded = Key::load(&Pki::new(paths.pki()).node_key());
    loaded.map_err(|error| Error::failed("the node's key is not usable").because(error))
}

/// Ask the core for a certificate and where the config store is, and keep what it gives.
pub async fn renew(paths: &Paths, membership: &Membership) -> Result<Place> {
    let key = key(paths)?;
    let client = Client::open(paths, membership)?;
    match ask(paths, &client, &key).await? {
        Answer::Done(joined) => {
            take(paths, &key, *joined)?;
            Ok(Place::Member)
        }
        Answer::Waiting => Ok(Place::Unpaired),
        Answer::Refused(reason) => {
            // A token that is of no use is not tried again: an administrator may pair the node all the same.
            let _ = std::fs::remove_file(token_file(paths));
            standing::remember_refusal(paths, &reason);
            Ok(Place::Refused)
        }
    }
}

/// Ask to be let in, or for a new certificate.
pub async fn ask(paths: &Paths, client: &Client, key: &Key) -> Result<Answer<Joined>> {
    // The file may have changed since the agent began: roles and name come with the record.
    let node = NodeFile::load(paths)?;
    let failed = |error| Error::failed("could not make a request for a certificate").because(error);
    let here = client.local_address().await?;
    let join = Join {
        csr: key.request().map_err(failed)?,
        asks: Asks {
            id: node.id,
            name: node.name,
            roles: node.roles,
            addresses: addresses::led_by(Some(here)),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        token: read_token(paths),
    };
    client.join(&join).await
}

fn read_token(paths: &Paths) -> Option<Secret> {
    let text = std::fs::read_to_string(token_file(paths)).ok()?;
    Secret::try_from(text).ok()
}

/// Keep what the core gave.
fn take(paths: &Paths, key: &Key, joined: Joined) -> Result<()> {
    let failed = |error| Error::failed("the core's answer is of no use").because(error);
    let certificate = Certificate::from_pem(&joined.certificate).map_err(failed)?;
    if certificate.key != key.fingerprint() {
        return Err(Error::failed("the core gave a certificate for another key"));
    }
    let file = EndpointsFile {
        endpoints: joined.endpoints,
    };
    file.write(&paths.endpoints_file())
        .map_err(|error| Error::failed("could not write where the config store answers").because(error))?;
    // Last: who has it has all.
    write(&Pki::new(paths.pki()).node_certificate(), &joined.certificate).map_err(failed)?;
    let _ = std::fs::remove_file(token_file(paths));
    info!(name = %joined.name, realm = %joined.realm, until = %certificate.not_after, "the core let this node in");
    Ok(())
}

/// Why a node that was in has something to ask.
#[derive(Clone, Copy, Debug)]
enum Stayed {
    /// Its certificate is to be renewed.
    UntilDue,
    /// It was to be renewed from the beginning: just given, it is not good by this machine's clock.
    NotAtAll,
    /// The store does not let it in any more.
    Out,
    /// The store does not answer where it did.
    Lost,
}

/// The node is in: until it has something to ask, keep what else a member needs.
async fn stay(paths: &Paths, desk: &Desk) -> Stayed {
    let pki = Pki::new(paths.pki());
    let Ok(key) = Key::load(&pki.node_key()) else {
        return Stayed::NotAtAll;
    };
    let (mut looks, mut in_vain) = (0, 0);
    while !is_due(&pki.node_certificate(), &key.fingerprint()) {
        if let Err(error) = member::keep(paths, &key, desk).await {
            warn!(error = %chain(&error), "this node could not do its part in the config store");
        }
        looks += 1;
        if looks % ENDPOINTS_EVERY == 0 {
            match refresh_endpoints(paths).await {
                // Put out, or the rights are just being made: the core knows.
                Err(store::Error::NotGranted { .. }) => return Stayed::Out,
                Err(error) => {
                    debug!(error = %chain(&error), "the list of endpoints could not be read");
                    in_vain += 1;
                    if in_vain == LOST_AFTER {
                        return Stayed::Lost;
                    }
                }
                Ok(()) => in_vain = 0,
            }
        }
        sleep(LOOK).await;
    }
    match looks {
        0 => Stayed::NotAtAll,
        _ => Stayed::UntilDue,
    }
}

/// Write down where the store answers now, where that has changed.
async fn refresh_endpoints(paths: &Paths) -> store::Result<()> {
    let Ok(node) = NodeFile::load(paths) else { return Ok(()) };
    let tree = open_tree(paths, &node, Access::Node).await?;
    let Some(entry) = tree.get(ENDPOINTS).await? else {
        return Ok(());
    };
    let Ok(endpoints) = serde_json::from_slice::<Vec<String>>(&entry.value) else {
        return Ok(());
    };
    let file = EndpointsFile { endpoints };
    if !file.endpoints.is_empty()
        && EndpointsFile::read(&paths.endpoints_file()).ok().as_ref() != Some(&file)
        && let Err(error) = file.write(&paths.endpoints_file())
    {
        warn!(%error, "could not write where the config store answers");
    }
    Ok(())
}
