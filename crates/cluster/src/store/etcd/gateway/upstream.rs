//! The connection to this node's etcd, over its socket, which the questions of one connection of a guest's share; made when it is
//! needed, and again when it broke.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::debug;

use super::status::{Body, Refusal};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How often a connection in use is asked whether it lives (etcd hangs up on who asks more often than every 5 s), and how long the
/// answer may take.
const ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));
/// What may be on its way to a guest who does not read, of one answer and of all.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;
/// How many answers that a guest gave up are remembered. etcd is trusted to send no others.
const GIVEN_UP: usize = 1024;

/// The way to etcd.
pub struct Upstream {
    socket: PathBuf,
    open: Mutex<Option<SendRequest<Body>>>,
}

impl Upstream {
    /// To the etcd that listens at this socket.
    pub fn new(socket: &Path) -> Self {
        Upstream {
            socket: socket.to_path_buf(),
            open: Mutex::default(),
        }
    }

    /// Pass a question on. How long the answer may take is the guest's matter.
    pub async fn ask(&self, request: Request<Body>) -> Result<Response<Incoming>, Refusal> {
        let mut sender = self.sender().await?;
        sender.send_request(request).await.map_err(|error| {
            debug!(%error, "etcd did not answer");
            Refusal::Broken
        })
    }

    async fn sender(&self) -> Result<SendRequest<Body>, Refusal> {
        let mut open = self.open.lock().await;
        if let Some(sender) = open.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let connected = timeout(CONNECT, self.connect()).await;
        let sender = connected
            .map_err(|_| "it took too long".to_owned())
            .and_then(|connected| connected.map_err(|error| error.to_string()))
            .map_err(|error| {
                debug!(socket = %self.socket.display(), error, "etcd cannot be reached");
                Refusal::NoMember
            })?;
        *open = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self) -> Result<SendRequest<Body>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(ALIVE.0)
            .keep_alive_timeout(ALIVE.1)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_reset_streams(GIVEN_UP)
            .handshake(TokioIo::new(stream))
            .await?;
        // Ends when etcd does, or when nobody has the sender any more.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "the connection to etcd broke");
            }
        });
        Ok(sender)
    }
}
