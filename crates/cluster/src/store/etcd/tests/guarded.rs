//! A real etcd at its socket, with a gateway before it and a CA that signs for its guests.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::server::Server;
use crate::config::Name;
use crate::identity::{Ca, Fingerprint, Key, Request, Subject, tls};
use crate::store::Store;
use crate::store::conformance::Home;
use crate::store::etcd::gateway::{self, Grant, Guest, Guests, Keys, Right, Rights};
use crate::store::etcd::{Credentials, Endpoints, EtcdStore, Pem};

const LIFETIME: Duration = Duration::from_secs(3600);

/// etcd behind its gateway.
pub struct Guarded {
    pub etcd: Server,
    pub ca: Ca,
    pub address: SocketAddr,
    directory: TempDir,
    guests: watch::Sender<Arc<Guests>>,
    all: Mutex<HashMap<String, Guest>>,
    task: JoinHandle<()>,
}

/// A right to a prefix.
pub fn prefix(prefix: &str, right: Right) -> Grant {
    Grant {
        keys: Keys::Prefix(prefix.to_owned()),
        right,
    }
}

impl Guarded {
    /// With nobody who may come.
    pub async fn start() -> Self {
        let etcd = Server::start_at_socket().await;
        let directory = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_make(directory.path()).unwrap();
        let key = Key::load_or_make(&directory.path().join("server.key")).unwrap();
        let addresses = vec![Ipv4Addr::LOCALHOST.into()];
        let certificate = sign(&ca, &key, &Subject::Config { addresses }, LIFETIME);
        let config = Arc::new(tls::server_of_guests(&certificate, &key, ca.pem()).unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (guests, list) = watch::channel(Arc::default());
        let socket = etcd.socket();
        let task = tokio::spawn(async move {
            let (_tls, config) = watch::channel(config);
            gateway::serve(listener, config, list, &socket).await;
        });
        Guarded {
            etcd,
            ca,
            address,
            directory,
            guests,
            all: Mutex::default(),
            task,
        }
    }

    /// Somebody with a key and a certificate of their own, who is no guest yet.
    pub fn stranger(&self, name: &str, lifetime: Duration) -> (Guest, Credentials) {
        let key = Key::load_or_make(&self.directory.path().join(format!("{}.key", uuid::Uuid::new_v4()))).unwrap();
        let subject = Subject::Administrator {
            name: Name::new(name).unwrap(),
        };
        let credentials = Credentials {
            ca: Pem::Text(self.ca.pem().to_owned()),
            certificate: Pem::Text(sign(&self.ca, &key, &subject, lifetime)),
            key: Pem::Text(key.pem()),
        };
        let fingerprint: Fingerprint = key.fingerprint();
        let name = subject.common_name(&fingerprint).unwrap();
        let guest = Guest {
            mark: Guest::mark_of(b"secret", &name),
            name,
            key: Some(fingerprint),
            rights: Rights::Granted(Vec::new()),
        };
        (guest, credentials)
    }

    /// A guest with these rights, as the gateway's client.
    pub fn guest(&self, name: &str, grants: Vec<Grant>) -> (Guest, EtcdStore) {
        let (mut guest, credentials) = self.stranger(name, LIFETIME);
        guest.rights = Rights::Granted(grants);
        self.let_in(&guest);
        (guest, self.store(credentials))
    }

    /// One who may change all keys.
    pub fn administrator(&self) -> EtcdStore {
        let name = format!("a{}", uuid::Uuid::new_v4().simple());
        self.guest(&name, vec![prefix("", Right::ReadWrite)]).1
    }

    /// Let somebody in, or change what they may do.
    pub fn let_in(&self, guest: &Guest) {
        self.all.lock().unwrap().insert(guest.name.clone(), guest.clone());
        self.tell();
    }

    /// Put somebody out.
    pub fn put_out(&self, guest: &Guest) {
        self.all.lock().unwrap().remove(&guest.name);
        self.tell();
    }

    fn tell(&self) {
        let all = self.all.lock().unwrap().values().cloned().collect();
        self.guests.send_replace(Arc::new(all));
    }

    /// The store through the gateway.
    pub fn store(&self, credentials: Credentials) -> EtcdStore {
        EtcdStore::new(Endpoints::Given(vec![self.url()]), Some(credentials))
    }

    /// Where the gateway listens.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Home for Guarded {
    async fn client(&self) -> Arc<dyn Store> {
        Arc::new(self.administrator())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn sign(ca: &Ca, key: &Key, subject: &Subject, lifetime: Duration) -> String {
    let request = Request::from_pem(&key.request().unwrap()).unwrap();
    ca.sign(&request, subject, lifetime).unwrap()
}
