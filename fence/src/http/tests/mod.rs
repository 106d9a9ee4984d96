//! The faces driven over a real socket by a client that knows nothing but bytes. Containers come from the supervisor
//! on the engine's fake; what a process does is pretended, see there.

mod client;
mod garden;
mod hostile;
mod own;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Faces, Listeners, Options, serve};
use crate::supervisor::tests::Node;
use client::Client;

/// The longest any test waits for anything.
const DEADLINE: Duration = Duration::from_secs(20);

/// A server with its socket in a directory of its own.
struct Served {
    socket: PathBuf,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Served {
    async fn new(faces: Faces, options: Options) -> Served {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("garden.sock");
        let listeners = Listeners::bind(&socket, "").await.unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listeners, faces, options, shutdown.clone()));
        Served {
            socket,
            shutdown,
            serving,
            _dir: dir,
        }
    }

    async fn connect(&self) -> Client {
        Client::connect(&self.socket).await
    }

    /// One request on a connection of its own: its status and its body.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut client = self.connect().await;
        client.request(method, path, &[], body).await;
        let head = client.head().await;
        (head.status, client.rest().await)
    }

    /// As [`ask`](Served::ask), for answers that are JSON.
    async fn json(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let (status, text) = self.ask(method, path, body).await;
        assert!(text.ends_with('\n'), "{method} {path}: {text:?}");
        (status, serde_json::from_str(&text).unwrap())
    }

    /// Stop, and wait until all has ended.
    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.serving).await.unwrap().unwrap();
    }
}

/// Both faces over a supervisor with an engine that only pretends.
async fn fence() -> (Node, Served) {
    let node = Node::new();
    let served = Served::new(super::faces(node.supervisor.clone()), Options::default()).await;
    (node, served)
}
