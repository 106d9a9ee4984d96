//! The gateway before a member of the store: the only way to it from other machines, and for whom is not root on its own.
//!
//! ```text
//!   node, administrator ──TLS, certificate──▶ gateway ──socket of root's──▶ etcd
//!                                               │
//!                                  guests: who may come, and what for
//! ```
//!
//! etcd itself has no access control here: its own does not hold (3.4 passes transactions inside transactions unchecked) and does
//! not end what is open. The gateway believes certificates of the cluster's CA, asks [`Guests`] what their holders may do, checks every
//! question ([`check`]) and passes it on. Answers go back as they are. Whoever is no guest any more, or whose rights changed, or
//! whose certificate ran out, is disconnected at once.
//!
//! | module | its job |
//! | --- | --- |
//! | [`guests`], [`rights`] | who may come, and what they may do |
//! | [`check`] | whether a question is allowed; pure |
//! | [`frame`] | gRPC's messages |
//! | [`visit`] | one connection of a guest's, and what it may take |
//! | [`call`], [`status`] | one question, and the answer |
//! | [`upstream`] | the way to etcd |
//!
//! It has no state but connections. Who makes the list of guests follows the records; see the agent.

mod call;
mod check;
mod frame;
mod guests;
mod rights;
mod status;
mod upstream;
mod visit;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use crate::identity::Certificate;
use crate::rates::{Counts, Rate, Rates};

pub use guests::{Guest, Guests};
pub use rights::{Grant, Keys, Right, Rights};

use status::{Body, Refusal};
use visit::Visit;

/// What is said where etcd does not run; the store's client then asks another member.
pub(super) const NO_MEMBER: &str = "the member of the config store does not run";

/// How many connections may be open at once: a few of each of a thousand nodes.
const MAX_OPEN: usize = 8192;
/// How many of one certificate.
const MAX_OPEN_OF_ONE: usize = 32;
/// How many may be shaking hands, and how many of one address.
const MAX_HANDSHAKES: usize = 2048;
const MAX_HANDSHAKES_OF_ONE: usize = 64;
const HANDSHAKE: Duration = Duration::from_secs(3);
/// How long who is no guest may hear that.
const STRANGER: Duration = Duration::from_secs(5);
/// How long the list may lag behind the certificate of somebody new.
const NEW_GUEST: Duration = Duration::from_secs(1);
/// How many questions one connection may have under way, watches included.
const MAX_STREAMS: u32 = 256;
/// How large the headers of one question may be, in bytes.
const MAX_HEADERS: u32 = 16 * 1024;
/// How often a quiet connection is asked whether it lives, and how long the answer may take.
const ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// What a guest may send ahead of what is passed on.
const WINDOW: u32 = 256 * 1024;
/// How many questions of one certificate may be under way, on all its connections; watches are, for as long as they last.
const MAX_UNDER_WAY: usize = 64;
/// How often one node may ask: what a start needs at once, and then far more than one does. What is read and written counts as more,
/// see [`check`].
const RATE: Rate = Rate {
    burst: 2000,
    every: Duration::from_millis(5),
};
/// How long to wait when no connection can be taken.
const PAUSE: Duration = Duration::from_secs(1);

/// What all connections share.
struct Shared {
    guests: watch::Receiver<Arc<Guests>>,
    rates: Mutex<Rates<String>>,
    under_way: Arc<Counts<String>>,
    open: Arc<Counts<String>>,
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    handshakes_of_one: Arc<Counts<IpAddr>>,
}

/// Take guests until dropped, and pass on what they ask to the etcd at `socket`. `tls` may change at any time; new
/// connections have the newest. A change of `guests` is in effect at once, for connections that are open as well.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    guests: watch::Receiver<Arc<Guests>>,
    socket: &Path,
) {
    let shared = Arc::new(Shared {
        guests,
        rates: Mutex::new(Rates::new(RATE)),
        under_way: Counts::new(MAX_UNDER_WAY),
        open: Counts::new(MAX_OPEN_OF_ONE),
        places: Arc::new(Semaphore::new(MAX_OPEN)),
        handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
        handshakes_of_one: Counts::new(MAX_HANDSHAKES_OF_ONE),
    });
    // Ends with the gateway, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (shared, acceptor) = (Arc::clone(&shared), TlsAcceptor::from(Arc::clone(&tls.borrow())));
                let socket = socket.to_path_buf();
                connections.spawn(async move {
                    // Who has not shown who they are takes nobody's place.
                    if let Some(stream) = shake_hands(&shared, acceptor, stream, peer).await {
                        take(&shared, stream, peer, &socket).await;
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, say: it passes, and must not become a busy loop.
                warn!(%error, "could not accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Learn who it is, within bounds.
async fn shake_hands(
    shared: &Shared,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<TlsStream<TcpStream>> {
    let _entered = shared.handshakes_of_one.enter(network(peer.ip()))?;
    let _permit = shared.handshakes.try_acquire().ok()?;
    // Questions and answers are small, and each is waited for.
    stream.set_nodelay(true).ok()?;
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            debug!(%peer, %error, "a handshake failed");
            None
        }
        Err(_) => {
            debug!(%peer, "a handshake took too long");
            None
        }
    }
}

/// What one has of addresses: with IPv6 many.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// One connection, to its end.
async fn take(shared: &Arc<Shared>, stream: TlsStream<TcpStream>, peer: SocketAddr, socket: &Path) {
    let Some(certificate) = shown(&stream) else {
        return debug!(%peer, "the certificate cannot be read");
    };
    let name = &certificate.common_name;
    let (Some(_entered), Ok(_place)) = (shared.open.enter(name.clone()), shared.places.try_acquire()) else {
        return debug!(%peer, name, "there are too many connections");
    };
    let mut guests = shared.guests.clone();
    let Some(guest) = find(&mut guests, &certificate).await else {
        debug!(%peer, name, "is no guest");
        // Who was put out is to know it, and to ask to be let in again.
        let _ = timeout(STRANGER, talk(stream, |_| async { Refusal::Denied.response() })).await;
        return;
    };
    let visit = Visit::new(shared, guest, socket);
    let answer = |request| {
        let visit = Arc::clone(&visit);
        async move { call::answer(&visit, request).await }
    };
    tokio::select! {
        () = talk(stream, answer) => {}
        () = visit.ended() => debug!(%peer, name, "had to go"),
        () = put_out(&mut guests, &certificate, &visit.guest) => debug!(%peer, name, "was put out"),
        () = run_out(&certificate) => debug!(%peer, name, "the certificate ran out"),
    }
}

/// What the guest showed; rustls has checked that the CA signed it, that it is good now, and that the guest has its key.
fn shown(stream: &TlsStream<TcpStream>) -> Option<Certificate> {
    let chain = stream.get_ref().1.peer_certificates()?;
    Certificate::from_der(chain.first()?).ok()
}

/// Who this is. The list of this member may lag behind the certificate of somebody who was let in just now.
async fn find(guests: &mut watch::Receiver<Arc<Guests>>, certificate: &Certificate) -> Option<Arc<Guest>> {
    let found = timeout(NEW_GUEST, async {
        loop {
            if let Some(guest) = guests.borrow_and_update().find(certificate) {
                return Some(guest);
            }
            guests.changed().await.ok()?;
        }
    });
    found.await.ok().flatten()
}

/// Until this is no guest any more, or one with other rights.
async fn put_out(guests: &mut watch::Receiver<Arc<Guests>>, certificate: &Certificate, guest: &Arc<Guest>) {
    // An error means that nobody tells any more who may come.
    while guests.changed().await.is_ok() {
        if guests.borrow_and_update().find(certificate).as_ref() != Some(guest) {
            return;
        }
    }
}

async fn run_out(certificate: &Certificate) {
    // A clock that is set in the meantime is looked at again, often enough.
    while certificate.is_good(Timestamp::now()) {
        let left = certificate.not_after.duration_since(Timestamp::now());
        let left = Duration::try_from(left).unwrap_or_default();
        sleep(left.clamp(Duration::from_millis(100), Duration::from_secs(60))).await;
    }
}

async fn talk<F>(stream: TlsStream<TcpStream>, answer: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let answers = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, std::convert::Infallible>(answered.await) }
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(ALIVE.0)
        .keep_alive_timeout(ALIVE.1)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 4)
        .serve_connection(TokioIo::new(stream), answers);
    if let Err(error) = served.await {
        debug!(%error, "a connection broke");
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves what is counted as it is, which is right.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
