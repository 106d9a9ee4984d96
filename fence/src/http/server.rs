//! Accepts connections and lets them end: limits while it runs, a deadline when it stops.
//!
//! It owns the listeners, the connection slots and the tasks; what a request means is the [`Faces`]' affair.
//!
//! Stopping: nothing new is accepted and the socket's file goes at once. Who has not yet asked for anything is let
//! go, hijacked connections are told to end (their processes go on), requests under way may finish. What has not
//! ended by the deadline is dropped, with a line in the log.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bind::Listeners;
use super::connection;
use super::head::RequestHead;
use super::hijack::Hijacked;

/// How long accepting rests after it failed (no more file descriptors, usually).
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What is served: ordinary requests, and those that take the socket over.
#[derive(Clone)]
pub struct Faces {
    pub(super) router: Router,
    pub(super) hijack: Arc<Hijacker>,
}

/// Gives the handler of a request that takes the socket over, or `None` for an ordinary one.
pub(super) type Hijacker = dyn Fn(&RequestHead) -> Option<Hijack> + Send + Sync;

/// Handles one hijacked connection to its end.
pub(super) type Hijack = Box<dyn FnOnce(Hijacked) -> BoxFuture<'static, ()> + Send>;

/// The server's limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections at one time; a process takes up to three of a Garden client.
    pub max_connections: usize,
    /// Connections beyond that at one time which are told so.
    pub max_refusals: usize,
    /// How long a client may take to send the head of its request.
    pub head_timeout: Duration,
    /// How long a client may take to take the whole answer to an ordinary request.
    pub answer_timeout: Duration,
    /// How long requests under way may take to end when the server stops.
    pub drain: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_connections: 4096,
            max_refusals: 64,
            head_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        }
    }
}

/// Where a connection came in. A browser can be led to a port, never to a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Unix,
    Tcp,
}

/// What every connection needs.
pub(super) struct Shared {
    pub(super) faces: Faces,
    pub(super) options: Options,
    /// Cancelled when the server begins to stop.
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Cancelled when the time to stop is over.
    dropping: CancellationToken,
    slots: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

/// Serve until `shutdown` is cancelled and all has ended, or the time for it is over.
pub async fn serve(listeners: Listeners, faces: Faces, options: Options, shutdown: CancellationToken) {
    let shared = Arc::new(Shared {
        faces,
        closing: shutdown,
        tasks: TaskTracker::new(),
        dropping: CancellationToken::new(),
        slots: Arc::new(Semaphore::new(options.max_connections)),
        refusals: Arc::new(Semaphore::new(options.max_refusals)),
        options,
    });
    accept(&listeners, &shared).await;
    drop(listeners);
    shared.tasks.close();
    if tokio::time::timeout(shared.options.drain, shared.tasks.wait())
        .await
        .is_err()
    {
        let left = shared.tasks.len();
        tracing::warn!(
            "{left} requests had not ended {} s after the stop; dropped",
            shared.options.drain.as_secs_f32()
        );
        shared.dropping.cancel();
    }
}

async fn accept(listeners: &Listeners, shared: &Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.closing.cancelled() => return,
            accepted = listeners.unix.accept() => accepted.map(|(stream, _)| shared.take(stream, Door::Unix)),
            accepted = accept_tcp(listeners.tcp.as_ref()) => accepted.map(|stream| shared.take(stream, Door::Tcp)),
        };
        if let Err(error) = accepted {
            tracing::warn!("could not accept a connection: {error}");
            tokio::time::sleep(ACCEPT_REST).await;
        }
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Shared {
    /// Handle a connection in a task of its own, or tell the client that there are too many.
    fn take<S>(self: &Arc<Self>, stream: S, door: Door)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (slot, busy) = match self.slots.clone().try_acquire_owned() {
            Ok(slot) => (slot, false),
            Err(_) => match self.refusals.clone().try_acquire_owned() {
                Ok(slot) => (slot, true),
                Err(_) => return,
            },
        };
        let shared = self.clone();
        self.tasks.spawn(async move {
            let _slot = slot;
            tokio::select! {
                () = connection::handle(stream, &shared, door, busy) => {}
                () = shared.dropping.cancelled() => {}
            }
        });
    }
}
