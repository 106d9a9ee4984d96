//! What the core's agent does beside every agent's work: it lets nodes in and keeps the config store.
//!
//! | module | its job |
//! | --- | --- |
//! | [`door`] | takes connections of nodes, within bounds |
//! | [`desk`], [`wire`] | answer them: certificates for those who are paired |
//! | [`registry`] | accounts at the image registry, and tokens for them |
//! | [`members`] | the config store's members follow the roles |
//! | [`maintenance`] | it is kept in good order |
//! | [`authority`] | the CAs, and what the core signs for itself |
//! | [`reconciler`] | does all of these again and again, and when records change |
//!
//! The state is the config store's; here is none. Who may do what there is the matter of the [`super::gateway`]. All of it can be done twice, and begins anew after a crash.

pub mod authority;
pub mod desk;
pub mod door;
pub mod maintenance;
pub mod members;
pub mod reconciler;
mod registry;
pub mod wire;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cluster::identity::{Address, Key, Pki, tls};
use cluster::nodes::{Membership, NodeFile, Paths, Role};
use cluster::store::Store;
use cluster::store::etcd::admin::Admin;
use cluster::store::etcd::{Credentials, Endpoints, EtcdStore};
use registry_bootstrap::settings::Places;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use self::authority::Authority;
use self::desk::{Admission, CoreDesk};
use crate::error::{Error, Result, chain};

/// How long to wait after something failed that others depend on.
const PAUSE: Duration = Duration::from_secs(2);

/// The config store with all rights, which only the core has.
pub fn root_store(paths: &Paths) -> EtcdStore {
    let pki = Pki::new(paths.pki());
    let credentials = Credentials {
        ca: pki.ca().into(),
        certificate: pki.root_certificate().into(),
        key: pki.root_key().into(),
    };
    EtcdStore::new(Endpoints::File(paths.endpoints_file()), Some(credentials))
}

/// Be the core, where this node is; never ends. What fails is tried again: the core without its door is still a node.
pub async fn serve(paths: &Paths, node: &NodeFile) {
    let Some(membership) = node.cluster.as_ref().filter(|_| node.roles.contains(&Role::Core)) else {
        return std::future::pending().await;
    };
    loop {
        if let Err(error) = run(paths, node, membership).await {
            warn!(error = %chain(&error), "the core's work broke off");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn run(paths: &Paths, node: &NodeFile, membership: &Membership) -> Result<()> {
    let unusable = |error| Error::failed("the core's keys are not usable").because(error);
    let pki = Pki::new(paths.pki());
    let authority = Authority::load(&pki).map_err(unusable)?;
    let etcd = root_store(paths);
    let store: Arc<dyn Store> = Arc::new(etcd.clone());
    // Before anything is asked: after a long absence nothing is good any more, the way to the store included.
    reconciler::renew_own(paths, node, &authority, &store).await?;
    let (show, tls) = watch::channel(door_tls(&pki)?);
    let desk = CoreDesk {
        ca: authority.ca,
        peer_ca: authority.peer_ca,
        store: Arc::clone(&store),
        name: node.name.clone(),
        admission: Arc::new(EtcdAdmission { admin: etcd.admin() }),
        registry: Places::of(paths),
        given: Mutex::default(),
    };
    let address: Address = membership
        .core
        .parse()
        .map_err(|error: cluster::identity::Error| Error::failed("the core's address is none").because(error))?;
    let at = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
    let listener = TcpListener::bind(at)
        .await
        .map_err(|error| Error::failed(format!("could not listen at {at}")).because(error))?;
    info!(%at, "the core's door is open");
    tokio::select! {
        () = door::serve(listener, tls, Arc::new(desk)) => Ok(()),
        ended = reconciler::run(paths, node, etcd, show) => ended,
    }
}

fn door_tls(pki: &Pki) -> Result<Arc<ServerConfig>> {
    let failed = |error| Error::failed("could not open the core's door").because(error);
    let key = Key::load(&pki.node_key()).map_err(failed)?;
    let path = pki.door_certificate();
    let certificate = std::fs::read_to_string(&path)
        .map_err(|error| Error::failed(format!("could not read {}", path.display())).because(error))?;
    let ca = std::fs::read_to_string(pki.ca())
        .map_err(|error| Error::failed("could not read the cluster's CA").because(error))?;
    // The registry's clients ask here for tokens, by the registry's name.
    let registry = pki.directory().parent().map(|lib| lib.join("registry/settings"));
    let registry = registry.unwrap_or_default();
    let shown = (registry.join("tls.crt"), registry.join("tls.key"));
    Ok(Arc::new(tls::door(&certificate, &key, &ca, shown).map_err(failed)?))
}

/// etcd's administration, as the desk needs it.
pub struct EtcdAdmission {
    /// With all rights.
    pub admin: Admin,
}

#[async_trait]
impl Admission for EtcdAdmission {
    async fn add_member(&self, id: Uuid, peer_url: &str) -> Result<String> {
        let added = members::add(&self.admin, id, peer_url).await;
        added.map_err(|error| Error::unreachable("could not add a member of the config store").because(error))
    }

    async fn endpoints(&self) -> Result<Vec<String>> {
        let members = self.admin.members().await;
        let members =
            members.map_err(|error| Error::unreachable("could not list the config store's members").because(error))?;
        Ok(members::endpoints(&members))
    }
}
