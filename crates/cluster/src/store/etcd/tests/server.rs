//! A real etcd: one process on loopback ports that were free, in a directory of its own, gone when the test is.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::store::etcd::{Endpoints, EtcdStore};
use crate::store::{Page, Store};

/// The name of its socket.
const SOCKET: &str = "etcd:0";
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
    is_at_socket: bool,
    process: Option<Child>,
}

impl Server {
    /// One that is a cluster of its own.
    pub async fn start() -> Self {
        Server::start_with(&[]).await
    }

    /// One that listens at a socket in its directory, as a node's does behind its gateway.
    pub async fn start_at_socket() -> Self {
        let mut server = Server::prepare("one", &[]);
        server.is_at_socket = true;
        server.cluster = format!("one={}", server.peer_url());
        server.run();
        server.ready().await;
        server
    }

    /// One with further flags.
    pub async fn start_with(extra: &[&str]) -> Self {
        let mut server = Server::prepare("one", extra);
        server.cluster = format!("one={}", server.peer_url());
        server.run();
        server.ready().await;
        server
    }

    /// Three of one cluster, running.
    pub async fn start_three() -> [Self; 3] {
        let mut servers = ["one", "two", "three"].map(|name| Server::prepare(name, &[]));
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
        let mut server = Server::prepare("two", &["--initial-cluster-state", "existing"]);
        server.cluster = format!("{},two={}", first.cluster, server.peer_url());
        server
    }

    fn prepare(name: &str, extra: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [client_port, peer_port] = free_ports();
        Server {
            directory,
            name: name.to_owned(),
            client_port,
            peer_port,
            cluster: String::new(),
            extra: extra.iter().map(|flag| (*flag).to_owned()).collect(),
            is_at_socket: false,
            process: None,
        }
    }

    /// Where clients ask.
    pub fn url(&self) -> String {
        match self.is_at_socket {
            true => format!("unix://{}", self.socket().display()),
            false => format!("http://127.0.0.1:{}", self.client_port),
        }
    }

    /// Where it listens instead of at a port.
    pub fn socket(&self) -> PathBuf {
        self.path(SOCKET)
    }

    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A store that asks this member.
    pub fn store(&self) -> EtcdStore {
        EtcdStore::new(Endpoints::Given(vec![self.url()]), None)
    }

    /// Start the process, again with the same data.
    pub fn run(&mut self) {
        let log = std::fs::File::create(self.path("log")).unwrap();
        // etcd 3.4 takes the name of a socket in its own directory, as host and port, and stumbles over one that is there.
        let _ = std::fs::remove_file(self.socket());
        let listens = match self.is_at_socket {
            true => format!("unix://{SOCKET}"),
            false => self.url(),
        };
        let advertises = format!("http://127.0.0.1:{}", self.client_port);
        let mut command = Command::new("etcd");
        command
            .current_dir(self.directory.path())
            .args(["--name", &self.name, "--data-dir"])
            .arg(self.path("data"))
            .args(["--listen-client-urls", &listens, "--advertise-client-urls", &advertises])
            .args(["--listen-peer-urls", &self.peer_url()])
            .args(["--initial-advertise-peer-urls", &self.peer_url()])
            .args(["--initial-cluster", &self.cluster, "--log-level", "error"])
            .args(&self.extra)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
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

/// Ports that are free now and that the kernel gives to nobody who just connects.
fn free_ports<const N: usize>() -> [u16; N] {
    let mut held = Vec::new();
    while held.len() < N {
        let port = 10_000 + u16::try_from(uuid::Uuid::new_v4().as_u128() % 20_000).unwrap();
        held.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    std::array::from_fn(|n| held[n].local_addr().unwrap().port())
}
