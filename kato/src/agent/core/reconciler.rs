//! Does what the core has to do again and again: users, members, endpoints, maintenance, its own certificates. At once
//! when a record of a node or an administrator changes, and otherwise every so often.
//!
//! Whoever was put out may have watches open that etcd does not end by itself: the store's members are then restarted,
//! one after the other, each when the one before it is in order again. All others connect anew by themselves.

use std::sync::Arc;
use std::time::Duration;

use cluster::identity::Pki;
use cluster::nodes::{NodeFile, Paths, Record, Role};
use cluster::pairing::Administrators;
use cluster::process::{OrderAction, Process};
use cluster::store::etcd::admin::Admin;
use cluster::store::etcd::{EndpointsFile, EtcdStore};
use cluster::store::{self, Page, Store, Txn};
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::authority::Authority;
use super::{desk, door_tls, maintenance, members, users};
use crate::addresses;
use crate::error::{Error, Result, chain};

/// Where all nodes find the store's endpoints.
pub const ENDPOINTS: &str = "node/endpoints";
/// How often everything is looked at though nothing changed, and how soon after a failure.
const ROUND: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_secs(2);
/// How many rounds there are between two of maintenance.
const MAINTENANCE: u64 = 6;
/// How long a member may take to be in order again before the next one is restarted all the same.
const RESTART: Duration = Duration::from_secs(30);

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
        let done = round(paths, node, &etcd, &admin, number.is_multiple_of(MAINTENANCE)).await;
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
    let one = async |prefix: &str| match store.watch(prefix, after).await {
        Ok(mut watch) => {
            // An error ends the wait as well: the next round reads everything anew.
            let _ = watch.next().await;
        }
        Err(_) => sleep(AGAIN).await,
    };
    tokio::select! {
        () = one("node/by-id/") => {}
        () = one("admin/") => {}
        () = sleep(ROUND) => {}
    }
}

/// When the next round is due.
enum Next {
    /// When something changes.
    WhenChanged,
    /// Soon: a member still learns.
    Soon,
}

async fn round(paths: &Paths, node: &NodeFile, etcd: &EtcdStore, admin: &Admin, maintain: bool) -> store::Result<Next> {
    let store: Arc<dyn Store> = Arc::new(etcd.clone());
    let Some((records, wanted)) = records(&store).await? else {
        return Ok(Next::WhenChanged);
    };
    let out = users::follow(admin, &wanted).await?;
    members::follow(admin, &records).await?;
    let members = admin.members().await?;
    let endpoints = members::endpoints(&members);
    tell_endpoints(paths, &store, &endpoints).await?;
    if !out.is_empty() {
        cut(&store, node, &records, admin).await;
    }
    if maintain {
        maintenance::round(etcd, admin, &endpoints).await?;
    }
    Ok(match members.iter().any(|member| member.is_learner) {
        true => Next::Soon,
        false => Next::WhenChanged,
    })
}

/// All nodes, and the users that they and the administrators make. `None` where one cannot be read: nobody is put out
/// then, since it may be the one.
async fn records(store: &Arc<dyn Store>) -> store::Result<Option<(Vec<Record>, Vec<users::User>)>> {
    let mut records = Vec::new();
    for entry in store.range("node/by-id/", Page::ALL).await?.entries {
        match serde_json::from_slice::<Record>(&entry.value) {
            Ok(record) => records.push(record),
            Err(error) => {
                warn!(key = entry.key, %error, "a node's record cannot be read; users stay as they are");
                return Ok(None);
            }
        }
    }
    let count = store.range(cluster::pairing::ADMIN, Page::ALL).await?.entries.len();
    let administrators = match Administrators::new(Arc::clone(store)).list().await {
        Ok(all) if all.len() == count => all,
        _ => {
            warn!("an administrator's record cannot be read; users stay as they are");
            return Ok(None);
        }
    };
    let mut wanted: Vec<users::User> = records.iter().filter_map(users::User::of_node).collect();
    wanted.extend(administrators.iter().filter_map(users::User::of_administrator));
    Ok(Some((records, wanted)))
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

/// End what is open at every member, one after the other.
async fn cut(store: &Arc<dyn Store>, node: &NodeFile, records: &[Record], admin: &Admin) {
    let is_member = |record: &&Record| {
        record
            .roles
            .iter()
            .any(|role| matches!(role, Role::Config | Role::Core))
    };
    // This node's own last: as long as it answers, the others can be ordered.
    let mut all: Vec<&Record> = records.iter().filter(is_member).collect();
    all.sort_by_key(|record| record.id == node.id);
    for record in all {
        let by = format!("core {}", node.name);
        let ordered = cluster::process::give(
            store.as_ref(),
            record.id,
            Process::Config,
            OrderAction::Restart,
            RESTART,
            &by,
        );
        match ordered.await {
            Ok(_) => info!(node = %record.name, "restarts a member of the config store, to cut off who was put out"),
            Err(error) => warn!(node = %record.name, error = %chain(&error), "a member could not be restarted"),
        }
        in_order(admin).await;
    }
}

/// Wait until the store answers again, within a bound. A restart begins a moment after its order.
async fn in_order(admin: &Admin) {
    let deadline = Instant::now() + RESTART;
    sleep(AGAIN).await;
    while Instant::now() < deadline {
        if admin.members().await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}
