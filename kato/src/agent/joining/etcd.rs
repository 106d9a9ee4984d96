//! The settings of this node's etcd, `etcd.yml`: written once when the node becomes a member of the config store, and read
//! for where it answers. They outlive everything but the membership.
//!
//! etcd answers at a socket in its own directory, which is root's alone. Where it says that it is reached, the gateway
//! listens (see [`crate::agent::gateway`]).

mod moved;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use cluster::files;
use cluster::identity::Pki;
use cluster::nodes::Paths;
use cluster::store::etcd::{Endpoints, EtcdStore};
use cluster::store::limits::{KEPT_REVISIONS, MAX_OPERATIONS};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::agent::core::desk::url;

/// The name of etcd's socket. etcd 3.4 takes it as a host and a port, in the directory where it was started.
const SOCKET: &str = "etcd:0";
/// The largest file that is read.
const MAX_BYTES: u64 = 64 * 1024;
/// The largest request, in bytes: what the store takes, and what encoding adds.
const MAX_REQUEST: u32 = 2 * 1024 * 1024;
/// How large the database may become, in bytes.
const QUOTA: u64 = 2 * 1024 * 1024 * 1024;
/// After so many changes etcd writes all it knows down, to keep its log short.
const SNAPSHOT_COUNT: u32 = 10_000;

/// The ports of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Towards clients.
    pub client: u16,
    /// Towards the other members.
    pub peer: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Ports {
            client: 2379,
            peer: 2380,
        }
    }
}

impl Ports {
    /// The usual ones, or those of the environment's `KATO_STORE_PORTS=CLIENT,PEER`: several nodes on one machine.
    pub fn chosen() -> Self {
        std::env::var("KATO_STORE_PORTS")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    }
}

impl std::str::FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
        let parts = text.split_once(',').map(|(client, peer)| (parse(client), parse(peer)));
        match parts {
            Some((Some(client), Some(peer))) if client != peer => Ok(Ports { client, peer }),
            _ => Err("two ports are needed, such as 2379,2380".to_owned()),
        }
    }
}

/// What of etcd's settings is ours to choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    name: String,
    data_dir: PathBuf,
    listen_client_urls: String,
    advertise_client_urls: String,
    listen_peer_urls: String,
    initial_advertise_peer_urls: String,
    initial_cluster: String,
    initial_cluster_state: String,
    initial_cluster_token: String,
    peer_transport_security: Security,
    enable_grpc_gateway: bool,
    auto_compaction_mode: String,
    auto_compaction_retention: String,
    quota_backend_bytes: u64,
    max_txn_ops: usize,
    max_request_bytes: u32,
    snapshot_count: u32,
    logger: String,
    log_level: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Security {
    cert_file: PathBuf,
    key_file: PathBuf,
    trusted_ca_file: PathBuf,
    client_cert_auth: bool,
}

/// What a member is told when it is made one.
pub struct Beginning {
    /// All members; `None` for the first.
    pub initial_cluster: Option<String>,
    /// What tells this cluster's members from another's.
    pub token: String,
}

impl Settings {
    /// Those of the member on node `id`, reached at `address`.
    pub fn new(paths: &Paths, id: Uuid, address: IpAddr, ports: Ports, beginning: Beginning) -> Self {
        let pki = Pki::new(paths.pki());
        let any = any(address);
        let peer = url(address, ports.peer);
        let state = match beginning.initial_cluster {
            Some(_) => "existing",
            None => "new",
        };
        Settings {
            name: id.to_string(),
            data_dir: paths.etcd().join("data"),
            listen_client_urls: format!("unix://{SOCKET}"),
            advertise_client_urls: url(address, ports.client),
            listen_peer_urls: url(any, ports.peer),
            initial_cluster: beginning.initial_cluster.unwrap_or_else(|| format!("{id}={peer}")),
            initial_advertise_peer_urls: peer,
            initial_cluster_state: state.to_owned(),
            initial_cluster_token: beginning.token,
            // A CA of their own: no node's certificate opens the way of the members to each other.
            peer_transport_security: Security {
                cert_file: pki.peer_certificate(),
                key_file: pki.node_key(),
                trusted_ca_file: pki.peer_ca(),
                client_cert_auth: true,
            },
            // Nobody asks it.
            enable_grpc_gateway: false,
            auto_compaction_mode: "revision".to_owned(),
            auto_compaction_retention: KEPT_REVISIONS.to_string(),
            quota_backend_bytes: QUOTA,
            max_txn_ops: MAX_OPERATIONS,
            max_request_bytes: MAX_REQUEST,
            snapshot_count: SNAPSHOT_COUNT,
            logger: "zap".to_owned(),
            log_level: "warn".to_owned(),
        }
    }

    /// Where the settings are.
    pub fn file(paths: &Paths) -> PathBuf {
        paths.etcd().join("etcd.yml")
    }

    /// Those of this node; an error of the kind "not found" where it is no member.
    pub fn load(paths: &Paths) -> io::Result<Self> {
        let content = files::read_limited(&Self::file(paths), MAX_BYTES)?;
        yaml_serde::from_slice(&content).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Write them, whole or not at all. The directory must exist.
    pub fn save(&self, paths: &Paths) -> io::Result<()> {
        let content = yaml_serde::to_string(self).map_err(io::Error::other)?;
        files::write_atomic(&Self::file(paths), content.as_bytes(), 0o600)
    }

    /// Where its gateway is reached.
    pub fn address(&self) -> Option<SocketAddr> {
        self.advertise_client_urls.strip_prefix("https://")?.parse().ok()
    }

    /// The node whose member it is.
    pub fn member(&self) -> Option<Uuid> {
        self.name.parse().ok()
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What `etcdctl snapshot restore` has to be told to make this member, alone, of a snapshot.
    pub fn restore_options(&self) -> [String; 4] {
        let (name, peer) = (&self.name, &self.initial_advertise_peer_urls);
        [
            format!("--name={name}"),
            format!("--initial-cluster={name}={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster-token={}", self.initial_cluster_token),
        ]
    }

    /// Where the other members reach it.
    pub fn peer_url(&self) -> &str {
        &self.initial_advertise_peer_urls
    }

    /// Where this member says that clients reach it.
    pub fn endpoint(&self) -> &str {
        &self.advertise_client_urls
    }
}

/// Where this node's etcd answers root of this very machine.
pub fn socket(paths: &Paths) -> PathBuf {
    paths.etcd().join(SOCKET)
}

/// The store, asked at this node's member with all rights.
pub fn own_store(paths: &Paths) -> EtcdStore {
    let endpoint = format!("unix://{}", socket(paths).display());
    EtcdStore::new(Endpoints::Given(vec![endpoint]), None)
}

/// Every address of the kind of this one.
fn any(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => [0, 0, 0, 0].into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_are_written_and_nobody_comes_without_a_certificate() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::from_root(Some(root.path()));
        std::fs::create_dir_all(paths.etcd()).unwrap();
        assert_eq!(Settings::load(&paths).unwrap_err().kind(), io::ErrorKind::NotFound);
        let beginning = Beginning {
            initial_cluster: None,
            token: "fence-x".to_owned(),
        };
        let ports = "12379,12380".parse().unwrap();
        let settings = Settings::new(&paths, Uuid::nil(), [10, 0, 0, 1].into(), ports, beginning);
        settings.save(&paths).unwrap();
        assert_eq!(Settings::load(&paths).unwrap(), settings);
        assert_eq!(socket(&paths), paths.etcd().join("etcd:0"));
        assert_eq!(settings.address().unwrap(), "10.0.0.1:12379".parse().unwrap());
        let text = std::fs::read_to_string(Settings::file(&paths)).unwrap();
        assert!(text.contains("listen-client-urls: unix://etcd:0"), "{text}");
        assert_eq!(text.matches("client-cert-auth: true").count(), 1, "{text}");
        assert!(
            text.contains("enable-grpc-gateway: false") && !text.contains("http://"),
            "{text}"
        );
        for wrong in ["", "1", "1,1", "0,1", "1,2,3", "a,b"] {
            assert!(wrong.parse::<Ports>().is_err(), "{wrong}");
        }
    }
}
