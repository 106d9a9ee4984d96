//! A real etcd behind the gateway, as on a core, and the credentials of those who ask it: all on loopback and in a directory of its
//! own, ended with the measurement.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use cluster::config::Name;
use cluster::identity::{Ca, Key, Request, Subject, tls};
use cluster::store::etcd::gateway::{self, Grant, Guest, Guests, Keys, Right, Rights};
use cluster::store::etcd::{Credentials, Endpoints, EtcdStore};
use cluster::store::{Page, Store};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How long etcd may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The name of etcd's socket.
const SOCKET: &str = "etcd:0";
/// For how long certificates are good.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// etcd and its gateway.
pub struct Etcd {
    process: Child,
    _directory: TempDir,
    ca: Ca,
    url: String,
    guests: watch::Sender<Arc<Guests>>,
    all: Mutex<Vec<Guest>>,
}

impl Etcd {
    /// Running, with nobody who may come.
    pub async fn start() -> Result<Etcd> {
        let directory = tempfile::tempdir()?;
        let process = run(&directory)?;
        let ca = Ca::load_or_make(directory.path())?;
        let key = Key::load_or_make(&directory.path().join("server.key"))?;
        let addresses = vec![Ipv4Addr::LOCALHOST.into()];
        let certificate = sign(&ca, &key, &Subject::Config { addresses })?;
        let config = Arc::new(tls::server_of_guests(&certificate, &key, ca.pem())?);
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("https://{}", listener.local_addr()?);
        let (guests, list) = watch::channel(Arc::default());
        let socket = directory.path().join(SOCKET);
        tokio::spawn({
            let socket = socket.clone();
            async move {
                let (_tls, config) = watch::channel(config);
                gateway::serve(listener, config, list, &socket).await;
            }
        });
        let etcd = Etcd {
            process,
            _directory: directory,
            ca,
            url,
            guests,
            all: Mutex::default(),
        };
        ready(socket).await?;
        Ok(etcd)
    }

    /// Let in somebody with these rights, each with a connection of their own.
    pub fn guests(&self, names: impl IntoIterator<Item = (String, Vec<Grant>)>) -> Result<Vec<Arc<dyn Store>>> {
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, grants) in names {
            let key = Key::generate()?;
            let subject = Subject::Administrator {
                name: Name::new(&name)?,
            };
            let credentials = Credentials {
                ca: self.ca.pem().to_owned().into(),
                certificate: sign(&self.ca, &key, &subject)?.into(),
                key: key.pem().into(),
            };
            let name = subject.common_name(&key.fingerprint()).context("a name")?;
            all.push(Guest {
                mark: Guest::mark_of(b"secret", &name),
                name,
                key: Some(key.fingerprint()),
                rights: Rights::Granted(grants),
            });
            let endpoints = Endpoints::Given(vec![self.url.clone()]);
            stores.push(Arc::new(EtcdStore::new(endpoints, Some(credentials))));
        }
        self.guests.send_replace(Arc::new(all.iter().cloned().collect()));
        Ok(stores)
    }

    /// Somebody who may change all keys.
    pub fn administrator(&self, name: &str) -> Result<Arc<dyn Store>> {
        let grant = Grant {
            keys: Keys::Prefix(String::new()),
            right: Right::ReadWrite,
        };
        let mut stores = self.guests([(name.to_owned(), vec![grant])])?;
        stores.pop().context("a store")
    }

    /// What etcd has in memory, in MiB.
    pub fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(directory: &TempDir) -> Result<Child> {
    let free = || Ok::<u16, std::io::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
    let (client, peer) = (free()?, free()?);
    let peer = format!("http://127.0.0.1:{peer}");
    Command::new("etcd")
        .current_dir(directory.path())
        .args(["--name", "one", "--data-dir", "data", "--enable-grpc-gateway=false"])
        .args(["--listen-client-urls", &format!("unix://{SOCKET}")])
        .args(["--advertise-client-urls", &format!("https://127.0.0.1:{client}")])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("one={peer}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("could not start etcd: apt-get install etcd-server")
}

async fn ready(socket: PathBuf) -> Result<()> {
    let endpoint = format!("unix://{}", socket.display());
    let store = EtcdStore::new(Endpoints::Given(vec![endpoint]), None);
    let first = Page {
        limit: 1,
        descending: false,
    };
    let answers = async {
        while store.range("", first).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, answers).await.context("etcd did not answer")
}

fn sign(ca: &Ca, key: &Key, subject: &Subject) -> Result<String> {
    let request = Request::from_pem(&key.request()?)?;
    Ok(ca.sign(&request, subject, LIFETIME)?)
}
