//! The gateway before this node's member of the config store, where the node has one: it is opened and closed with the
//! membership, shows the member's newest certificate, and knows as guests whom the records name.
//!
//! | module | its job |
//! | --- | --- |
//! | [`records`] | what the records of nodes and administrators say |
//! | [`guests`] | what each may do |
//!
//! The gateway itself is [`cluster::store::etcd::gateway`]. The list of guests is here, and lasts while the agent runs: a
//! store that is away leaves it as it is.

pub mod guests;
pub mod records;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cluster::identity::{Key, Pki, tls};
use cluster::nodes::record::BY_ID;
use cluster::nodes::{NodeFile, Paths};
use cluster::pairing::ADMIN;
use cluster::store::etcd::EtcdStore;
use cluster::store::etcd::gateway::{self, Guests};
use cluster::store::{Revision, Store, Txn};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, info, warn};
use uuid::Uuid;

use self::guests::listed;
use self::records::Records;
use super::joining::etcd::{Settings, own_store, socket};
use crate::error::{Error, Result, chain};

/// How often is looked whether the node became a member, and whether its certificate was renewed.
const LOOK: Duration = Duration::from_millis(500);
/// How long to wait after something failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the records are tried to be read while they never were.
const FIRST: Duration = Duration::from_millis(100);
/// After how many of these tries it is told.
const TELL: u64 = 300;
/// The key of the members' secret.
const SECRET: &str = "gateway/secret";
/// How often the records are read anew though nothing told of a change.
const ROUND: Duration = Duration::from_secs(60);

/// Keep the gateway open for as long as this node is a member; never ends. A store that is only being set up has none.
pub async fn serve(paths: &Paths, node: &NodeFile) {
    if node.cluster.is_none() {
        return std::future::pending().await;
    }
    // Outlives a gateway that is opened anew.
    let (list, guests) = watch::channel(Arc::new(Guests::default()));
    loop {
        if let Err(error) = open(paths, &list, &guests).await {
            warn!(error = %chain(&error), "the gateway of the config store cannot be open");
            sleep(PAUSE).await;
        }
        sleep(LOOK).await;
    }
}

/// Open the gateway, if the node is a member, until it is none any more.
async fn open(paths: &Paths, list: &watch::Sender<Arc<Guests>>, guests: &watch::Receiver<Arc<Guests>>) -> Result<()> {
    let settings = match Settings::load(paths) {
        Ok(settings) => settings,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::failed("etcd's settings cannot be read").because(error)),
    };
    let mut shown = Shown::read(paths)?;
    let (renewed, tls) = watch::channel(shown.config()?);
    let (store, socket) = (own_store(paths), socket(paths));
    let take_guests = async {
        // Before, it would turn away those who may come.
        let (secret, seen) = first(&store, list).await;
        let at = address(&settings)?;
        let listener = TcpListener::bind(at)
            .await
            .map_err(|error| Error::failed(format!("could not listen at {at}")).because(error))?;
        info!(%at, "the gateway of the config store is open");
        tokio::select! {
            () = gateway::serve(listener, tls, guests.clone(), &socket) => Ok(()),
            () = follow(&store, list, &secret, seen) => Ok(()),
        }
    };
    tokio::select! {
        ended = take_guests => ended,
        ended = renew(paths, &settings, &mut shown, &renewed) => ended,
    }
}

/// Where it listens: at the port that the member is known by, on all addresses.
fn address(settings: &Settings) -> Result<SocketAddr> {
    let advertised = settings.address();
    let advertised = advertised.ok_or_else(|| Error::failed("etcd's settings do not say where it is reached"))?;
    Ok(match advertised {
        SocketAddr::V4(at) => (Ipv4Addr::UNSPECIFIED, at.port()).into(),
        SocketAddr::V6(at) => (Ipv6Addr::UNSPECIFIED, at.port()).into(),
    })
}

/// What the gateway shows its guests, and whom it believes.
#[derive(PartialEq, Eq)]
struct Shown {
    certificate: String,
    ca: String,
    key: Vec<u8>,
    pki: Pki,
}

impl Shown {
    fn read(paths: &Paths) -> Result<Self> {
        let pki = Pki::new(paths.pki());
        let failed = |error: io::Error| Error::failed("the member's certificate cannot be read").because(error);
        Ok(Shown {
            certificate: std::fs::read_to_string(pki.config_certificate()).map_err(failed)?,
            ca: std::fs::read_to_string(pki.ca()).map_err(failed)?,
            key: std::fs::read(pki.node_key()).map_err(failed)?,
            pki,
        })
    }

    fn config(&self) -> Result<Arc<ServerConfig>> {
        let failed = |error| Error::failed("the member's certificate cannot be used").because(error);
        let key = Key::load(&self.pki.node_key()).map_err(failed)?;
        let config = tls::server_of_guests(&self.certificate, &key, &self.ca);
        Ok(Arc::new(config.map_err(failed)?))
    }
}

/// Show a certificate that was renewed. Ends when the node is no member any more, or another one.
async fn renew(
    paths: &Paths,
    settings: &Settings,
    shown: &mut Shown,
    renewed: &watch::Sender<Arc<ServerConfig>>,
) -> Result<()> {
    loop {
        sleep(LOOK).await;
        let is_over = match Settings::load(paths) {
            Ok(now) => now != *settings,
            // Anything else passes.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_over {
            info!("the gateway of the config store closes, since its member is gone or another one");
            return Ok(());
        }
        // What does not fit together is being written just now, or will be told when the gateway is opened next.
        if let Ok(now) = Shown::read(paths)
            && now != *shown
            && let Ok(config) = now.config()
        {
            renewed.send_replace(config);
            *shown = now;
        }
    }
}

/// Read the list, however long it takes until it can be read. The members' secret, and the revision that the list is of.
async fn first(store: &EtcdStore, list: &watch::Sender<Arc<Guests>>) -> (Vec<u8>, Revision) {
    for tried in 0_u64.. {
        let read = async {
            let secret = secret(store).await?;
            let seen = read(store, list, &secret).await?;
            Ok::<_, cluster::store::Error>((secret, seen))
        };
        match read.await {
            Ok(read) => return read,
            Err(error) if tried % TELL == TELL - 1 => {
                warn!(error = %chain(&error), "who may use the config store cannot be read; its gateway stays closed");
            }
            Err(error) => debug!(error = %chain(&error), "the guests of the config store cannot be read yet"),
        }
        sleep(FIRST).await;
    }
    unreachable!("it goes on until it is done")
}

/// What the members mark leases with: made by the first that needs it, where no guest can read it.
async fn secret(store: &EtcdStore) -> cluster::store::Result<Vec<u8>> {
    loop {
        if let Some(entry) = store.get(SECRET).await? {
            return Ok(entry.value);
        }
        let new = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes).concat();
        // Another member may be faster: then its own counts.
        store.txn(Txn::new().when(SECRET, 0).put(SECRET, new)).await?;
    }
}

/// Keep the list as the records are; never ends.
async fn follow(store: &EtcdStore, list: &watch::Sender<Arc<Guests>>, secret: &[u8], mut seen: Revision) {
    loop {
        let next = async {
            changed(store, seen).await?;
            read(store, list, secret).await
        };
        match next.await {
            Ok(now) => seen = now,
            Err(error) => {
                debug!(error = %chain(&error), "the guests of the config store could not be read");
                sleep(PAUSE).await;
                // What was forgotten in the meantime cannot be watched.
                seen = first(store, list).await.1;
            }
        }
    }
}

async fn read(store: &EtcdStore, list: &watch::Sender<Arc<Guests>>, secret: &[u8]) -> cluster::store::Result<Revision> {
    let (records, revision) = Records::read(store).await?;
    list.send_if_modified(|present| {
        let now = listed(&records, present, secret);
        let is_changed = now != **present;
        *present = Arc::new(now);
        is_changed
    });
    Ok(revision)
}

/// Wait until a record changes.
async fn changed(store: &EtcdStore, after: Revision) -> cluster::store::Result<()> {
    let mut nodes = store.watch(BY_ID, after).await?;
    let mut administrators = store.watch(ADMIN, after).await?;
    tokio::select! {
        changes = nodes.next() => changes.map(drop),
        changes = administrators.next() => changes.map(drop),
        () = sleep(ROUND) => Ok(()),
    }
}
