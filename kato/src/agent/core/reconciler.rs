//! Does what the core has to do again and again: members, endpoints, maintenance, its own certificates. At once
//! when a record of a node changes, and otherwise every so often.
//!
//! A step that fails is told of and done again soon; it keeps none of the others from being done.

use std::sync::Arc;
use std::time::Duration;

use cluster::identity::Pki;
use cluster::nodes::record::BY_ID;
use cluster::nodes::{NodeFile, Paths};
use cluster::store::etcd::admin::Admin;
use cluster::store::etcd::{EndpointsFile, EtcdStore};
use cluster::store::{self, Page, Store, Txn};
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::authority::Authority;
use super::{desk, door_tls, maintenance, members};
use crate::addresses;
use crate::agent::gateway::records::Records;
use crate::error::{Error, Result, chain};

/// Where all nodes find the store's endpoints.
pub const ENDPOINTS: &str = "node/endpoints";
/// How often everything is looked at though nothing changed, and how soon after a failure.
const ROUND: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_secs(2);
/// How many rounds there are between two looks at what may be defragmented.
const DEFRAGMENT: u64 = 6;

/// Never ends, but with an error that needs a new beginning.
pub async fn run(
    paths: &Paths,
    node: &NodeFile,
    etcd: EtcdStore,
    door: watch::Sender<Arc<ServerConfig>>,
) -> Result<()> {
    let pki = Pki::new(paths.pki());
    let authority = Authority::load(&pki);
    let authority = authority.map_err(|error| Error::failed("the core's keys are not usable").because(error))?;
    let store: Arc<dyn Store> = Arc::new(etcd.clone());
    let admin = etcd.admin();
    for number in 0_u64.. {
        if renew_own(paths, node, &authority, &store).await? {
            door.send_replace(door_tls(&pki)?);
        }
        let seen = revision(&store).await;
        let done = round(paths, &etcd, &admin, number.is_multiple_of(DEFRAGMENT)).await;
        if let Err(error) = &done {
            warn!(error = %chain(error), "the config store could not be put in order");
        }
        match (done, seen) {
            (Ok(Next::WhenChanged), Ok(seen)) => changed(&store, seen).await,
            _ => sleep(AGAIN).await,
        }
    }
    Ok(())
}

/// Sign what the core itself needs, where its time comes.
pub async fn renew_own(paths: &Paths, node: &NodeFile, authority: &Authority, store: &Arc<dyn Store>) -> Result<bool> {
    let first = node
        .cluster
        .as_ref()
        .and_then(|membership| addresses::host(&membership.core));
    let addresses = addresses::led_by(first);
    // The store may need what is renewed here before it can tell for how long that is good.
    let lifetime = timeout(AGAIN, desk::lifetime(store, &node.name)).await;
    let lifetime = lifetime.unwrap_or(Duration::from_secs(cluster::config::schema::cluster::DEFAULT_LIFETIME));
    let renewed = authority.renew(node.id, &addresses, lifetime);
    let renewed = renewed.map_err(|error| Error::failed("could not renew the core's certificates").because(error))?;
    if renewed {
        info!(root = %paths.root().display(), "renewed the core's certificates");
    }
    Ok(renewed)
}

async fn revision(store: &Arc<dyn Store>) -> store::Result<store::Revision> {
    let first = Page {
        limit: 1,
        descending: false,
    };
    Ok(store.range(ENDPOINTS, first).await?.revision)
}

/// Wait until a record changes, or the round's time is over.
async fn changed(store: &Arc<dyn Store>, after: store::Revision) {
    let Ok(mut watch) = store.watch(BY_ID, after).await else {
        return sleep(AGAIN).await;
    };
    // An error ends the wait as well: the next round reads everything anew.
    let _ = timeout(ROUND, watch.next()).await;
}

/// When the next round is due.
enum Next {
    /// When something changes.
    WhenChanged,
    /// Soon: a member still learns, or something is still to be done.
    Soon,
}

async fn round(paths: &Paths, etcd: &EtcdStore, admin: &Admin, defragment: bool) -> store::Result<Next> {
    let store: Arc<dyn Store> = Arc::new(etcd.clone());
    let (records, _) = Records::read(store.as_ref()).await?;
    let mut steps = Steps::default();
    steps.done("change members", members::follow(admin, &records).await);
    let members = admin.members().await?;
    let endpoints = members::endpoints(&members);
    steps.done("clear alarms", maintenance::alarms(etcd, admin, &endpoints).await);
    steps.done("tell endpoints", tell_endpoints(paths, &store, &endpoints).await);
    if defragment {
        steps.done("defragment", maintenance::defragment(admin, &endpoints).await);
    }
    let is_soon = steps.failed || members.iter().any(|member| member.is_learner);
    Ok(match is_soon {
        true => Next::Soon,
        false => Next::WhenChanged,
    })
}

/// The steps of a round.
#[derive(Default)]
struct Steps {
    /// Whether one of them failed.
    failed: bool,
}

impl Steps {
    /// What came of a step.
    fn done(&mut self, step: &'static str, result: store::Result<()>) {
        if let Err(error) = result {
            warn!(step, error = %chain(&error), "the config store could not be put in order");
            self.failed = true;
        }
    }
}

/// Write where the store answers, where this differs: for this node in its file, for all others in the tree.
async fn tell_endpoints(paths: &Paths, store: &Arc<dyn Store>, endpoints: &[String]) -> store::Result<()> {
    if endpoints.is_empty() {
        return Ok(());
    }
    let file = EndpointsFile {
        endpoints: endpoints.to_vec(),
    };
    if EndpointsFile::read(&paths.endpoints_file()).ok().as_ref() != Some(&file)
        && let Err(error) = file.write(&paths.endpoints_file())
    {
        warn!(%error, "could not write where the config store answers");
    }
    let value = serde_json::to_vec(&file.endpoints).unwrap_or_default();
    if store.get(ENDPOINTS).await?.is_none_or(|entry| entry.value != value) {
        store.txn(Txn::new().put(ENDPOINTS, value)).await?;
    }
    Ok(())
}
