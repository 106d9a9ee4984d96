//! The core's door: takes connections of nodes, within bounds, and hands their questions on.
//!
//! Whoever can reach the port may knock. A connection, a question and an answer each have their time and size; an address
//! has its pace; all together are so many and no more. TLS shows who the core is; who asks proves itself in its question.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use cluster::identity::{Certificate, Fingerprint};
use cluster::rates::{Counts, Rate, Rates};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::wire::{MAX_QUESTION, Refused};

/// How many connections may be open at once, and how many of one address.
const MAX_OPEN: usize = 256;
const MAX_OPEN_OF_ONE: usize = 32;
/// How often one address may ask. Many nodes may be behind one.
const RATE: Rate = Rate {
    burst: 60,
    every: Duration::from_millis(100),
};
/// How long the handshake, a question, and a whole connection may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
const QUESTION: Duration = Duration::from_secs(5);
const CONNECTION: Duration = Duration::from_secs(60);
/// The largest head of a question, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// How long to wait when no connection can be taken.
const PAUSE: Duration = Duration::from_secs(1);

/// Who answers.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// The answer to a question that was read within its bounds.
    async fn answer(&self, question: &Question<'_>) -> Reply;
}

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// How it is asked.
    pub method: &'a Method,
    /// What for.
    pub path: &'a str,
    /// What stands behind the path's question mark; "" where there is none.
    pub query: &'a str,
    /// The header by which an account says who it is.
    pub authorization: Option<&'a HeaderValue>,
    /// Of the key of who asks, where a certificate of the cluster's CA was shown. Whether that one is still let in is for
    /// the desk to find out.
    pub peer: Option<&'a Fingerprint>,
    /// What was sent along.
    pub body: &'a [u8],
}

/// An answer: its status, its type and what it says.
#[derive(Debug)]
pub struct Reply {
    /// How it went.
    pub status: StatusCode,
    /// What the body is.
    pub kind: &'static str,
    /// What it says.
    pub body: Vec<u8>,
}

impl Reply {
    /// JSON.
    pub fn json(status: StatusCode, value: &impl serde::Serialize) -> Self {
        Reply {
            status,
            kind: "application/json",
            // Only maps whose keys are no text cannot be written, and answers have none.
            body: serde_json::to_vec(value).unwrap_or_default(),
        }
    }

    /// A refusal.
    pub fn refused(status: StatusCode, reason: impl Into<String>) -> Self {
        Reply::json(status, &Refused { reason: reason.into() })
    }
}

/// What all connections share.
struct Door {
    desk: Arc<dyn Desk>,
    rates: Mutex<Rates<IpAddr>>,
}

/// Answer until dropped. `tls` may change at any time; new connections have the newest.
pub async fn serve(listener: TcpListener, tls: watch::Receiver<Arc<ServerConfig>>, desk: Arc<dyn Desk>) {
    let door = Arc::new(Door {
        desk,
        rates: Mutex::new(Rates::new(RATE)),
    });
    let open = Counts::new(MAX_OPEN_OF_ONE);
    let permits = Arc::new(Semaphore::new(MAX_OPEN));
    // Ends with the door, and the connections with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(entered) = open.enter(peer.ip()) else {
                    continue;
                };
                let guest = Guest {
                    door: Arc::clone(&door),
                    peer,
                };
                let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
                connections.spawn(async move {
                    if timeout(CONNECTION, talk(stream, acceptor, &guest)).await.is_err() {
                        debug!(%peer, "a connection took too long");
                    }
                    drop((entered, permit));
                });
            }
            Err(error) => {
                // Out of descriptors, say: it passes, and must not become a busy loop.
                warn!(%error, "could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn talk(stream: TcpStream, acceptor: TlsAcceptor, guest: &Guest) {
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(peer = %guest.peer, %error, "a handshake failed"),
        Err(_) => return debug!(peer = %guest.peer, "a handshake took too long"),
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = shown.and_then(|shown| Certificate::from_der(shown).ok());
    let peer = peer.map(|certificate| certificate.key);
    let peer = peer.as_ref();
    let answers =
        service_fn(move |request| async move { Ok::<_, std::convert::Infallible>(guest.answer(request, peer).await) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(QUESTION)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answers);
    if let Err(error) = served.await {
        debug!(peer = %guest.peer, %error, "a connection broke");
    }
}

/// One connection.
struct Guest {
    door: Arc<Door>,
    peer: SocketAddr,
}

impl Guest {
    async fn answer(&self, request: Request<Incoming>, peer: Option<&Fingerprint>) -> Response<Full<Bytes>> {
        let may_ask = locked(&self.door.rates).may_ask(self.peer.ip(), Instant::now());
        let reply = match may_ask {
            true => self.reply(request, peer).await,
            false => Reply::refused(StatusCode::TOO_MANY_REQUESTS, "too many questions from this address"),
        };
        let mut response = Response::builder()
            .status(reply.status)
            .header(CONTENT_TYPE, reply.kind);
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            response = response.header(RETRY_AFTER, "5");
        }
        // All parts are made here and are valid.
        response.body(Full::from(reply.body)).unwrap_or_default()
    }

    async fn reply(&self, request: Request<Incoming>, peer: Option<&Fingerprint>) -> Reply {
        let (head, body) = request.into_parts();
        let body = timeout(QUESTION, Limited::new(body, MAX_QUESTION).collect()).await;
        match body {
            Ok(Ok(body)) => {
                let question = Question {
                    method: &head.method,
                    path: head.uri.path(),
                    query: head.uri.query().unwrap_or_default(),
                    authorization: head.headers.get(AUTHORIZATION),
                    peer,
                    body: &body.to_bytes(),
                };
                self.door.desk.answer(&question).await
            }
            Ok(Err(error)) => {
                let reason = format!("the question cannot be read, or is longer than {MAX_QUESTION} bytes: {error}");
                Reply::refused(StatusCode::BAD_REQUEST, reason)
            }
            Err(_) => Reply::refused(StatusCode::REQUEST_TIMEOUT, "the question took too long"),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves counts as they are, which is right.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
