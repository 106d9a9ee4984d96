//! A real etcd: one process on loopback ports that were free, in a directory of its own, gone when the test is.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::identity::CONFIG_NAME;
use crate::store::etcd::{Credentials, Endpoints, EtcdStore, Pem};
use crate::store::{Page, Store};

/// How long etcd may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A member of an etcd cluster.
pub struct Server {
    directory: TempDir,
    name: String,
    client_port: u16,
    peer_port: u16,
    /// `name=peer URL` of all members at the start.
    cluster: String,
    extra: Vec<String>,
    tls: Option<Tls>,
    process: Option<Child>,
}

/// A CA and what it signed.
pub struct Tls {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Server {
    /// One that is a cluster of its own.
    pub async fn start() -> Self {
        Server::start_with(&[], None).await
    }

    /// One that believes only certificates of its CA, and has one itself.
    pub async fn start_tls() -> Self {
        Server::start_with(&[], Some(Tls::new())).await
    }

    /// One with further flags.
    pub async fn start_with(extra: &[&str], tls: Option<Tls>) -> Self {
        let mut server = Server::prepare("one", extra, tls);
        server.cluster = format!("one={}", server.peer_url());
        server.run();
        server.ready().await;
        server
    }

    /// Three of one cluster, running.
    pub async fn start_three() -> [Self; 3] {
        let mut servers = ["one", "two", "three"].map(|name| Server::prepare(name, &[], None));
        let all: Vec<String> = servers
            .iter()
            .map(|server| format!("{}={}", server.name, server.peer_url()))
            .collect();
        for server in &mut servers {
            server.cluster = all.join(",");
            server.run();
        }
        for server in &servers {
            server.ready().await;
        }
        servers
    }

    /// One that is to join another's cluster as the learner that was added there; not running yet.
    pub fn joining(first: &Server) -> Self {
        let mut server = Server::prepare("two", &["--initial-cluster-state", "existing"], None);
        server.cluster = format!("{},two={}", first.cluster, server.peer_url());
        server
    }

    fn prepare(name: &str, extra: &[&str], tls: Option<Tls>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if let Some(tls) = &tls {
            tls.write_server(directory.path());
        }
        let [client_port, peer_port] = free_ports();
        Server {
            directory,
            name: name.to_owned(),
            client_port,
            peer_port,
            cluster: String::new(),
            extra: extra.iter().map(|flag| (*flag).to_owned()).collect(),
            tls,
            process: None,
        }
    }

    /// Where clients ask.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.client_port)
    }

    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A store that asks this member; with TLS as the user `root`.
    pub fn store(&self) -> EtcdStore {
        self.store_as("root")
    }

    /// A store that asks this member with a certificate of this name.
    pub fn store_as(&self, user: &str) -> EtcdStore {
        let credentials = self.tls.as_ref().map(|tls| tls.credentials(user));
        EtcdStore::new(Endpoints::Given(vec![self.url()]), credentials)
    }

    pub fn tls(&self) -> &Tls {
        self.tls.as_ref().unwrap()
    }

    /// Start the process, again with the same data.
    pub fn run(&mut self) {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let mut command = Command::new("etcd");
        command
            .args(["--name", &self.name, "--data-dir"])
            .arg(self.path("data"))
            .args([
                "--listen-client-urls",
                &self.url(),
                "--advertise-client-urls",
                &self.url(),
            ])
            .args(["--listen-peer-urls", &self.peer_url()])
            .args(["--initial-advertise-peer-urls", &self.peer_url()])
            .args(["--initial-cluster", &self.cluster, "--log-level", "error"])
            .args(&self.extra)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if self.tls.is_some() {
            for (flag, file) in [
                ("--cert-file", "server.crt"),
                ("--key-file", "server.key"),
                ("--trusted-ca-file", "ca.crt"),
            ] {
                command.arg(flag).arg(self.path(file));
            }
            command.arg("--client-cert-auth");
        }
        // SAFETY: prctl is async-signal-safe, and nothing else happens between fork and exec.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        self.process = Some(command.spawn().expect("etcd runs (Debian: etcd-server)"));
    }

    /// Wait until it answers.
    pub async fn ready(&self) {
        let store = self.store();
        let end = Instant::now() + PATIENCE;
        loop {
            match store.range("ready", Page::ALL).await {
                Ok(_) => return,
                Err(error) if Instant::now() > end => {
                    let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
                    panic!("etcd is not ready: {error:?}\n{log}");
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// End it as a power cut does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Tls {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a CA");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Tls { ca }
    }

    fn sign(&self, names: &[&str], user: &str, usage: &[ExtendedKeyUsagePurpose]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = usage.to_vec();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.ca).unwrap().pem(), key.serialize_pem())
    }

    fn write_server(&self, directory: &Path) {
        let usage = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        // etcd's own gateway asks etcd over loopback.
        let (certificate, key) = self.sign(&[CONFIG_NAME, "127.0.0.1"], "", &usage);
        for (name, content) in [
            ("server.crt", certificate),
            ("server.key", key),
            ("ca.crt", self.ca.pem()),
        ] {
            std::fs::write(directory.join(name), content).unwrap();
        }
    }

    /// Credentials of a user of this name.
    pub fn credentials(&self, user: &str) -> Credentials {
        let (certificate, key) = self.sign(&[], user, &[ExtendedKeyUsagePurpose::ClientAuth]);
        Credentials {
            ca: Pem::Text(self.ca.pem()),
            certificate: Pem::Text(certificate),
            key: Pem::Text(key),
        }
    }
}

/// Ports that are free now and that the kernel gives to nobody who just connects.
fn free_ports<const N: usize>() -> [u16; N] {
    let mut held = Vec::new();
    while held.len() < N {
        let port = 10_000 + u16::try_from(uuid::Uuid::new_v4().as_u128() % 20_000).unwrap();
        held.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    std::array::from_fn(|n| held[n].local_addr().unwrap().port())
}
