//! One question to one server over TLS and HTTP/1.1. It knows nothing of registries.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cluster::identity::Address;
use http::header::HOST;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// Why there was no answer.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub method: Method,
    /// With the query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What is sent along.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer whose body is still to be read.
pub(crate) struct Open {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Incoming,
    // It ends with the answer.
    _connection: Connection,
}

struct Connection(JoinHandle<hyper::Result<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ask `at`, with these headers as well; the answer is at most `limit` bytes.
pub(crate) async fn exchange(
    at: &Address,
    tls: &Arc<ClientConfig>,
    asked: Question,
    headers: &HeaderMap,
    limit: usize,
) -> Result<Answer, Cause> {
    let body = Full::from(asked.body.clone()).map_err(io::Error::other).boxed_unsync();
    let open = send(at, tls, asked, body, headers).await?;
    let Open {
        status,
        headers,
        body,
        _connection,
    } = open;
    let body = Limited::new(body, limit).collect().await?.to_bytes();
    Ok(Answer { status, headers, body })
}

/// Ask `at`, with these headers as well, and with `body` in place of the question's own.
pub(crate) async fn send(
    at: &Address,
    tls: &Arc<ClientConfig>,
    asked: Question,
    body: Body,
    headers: &HeaderMap,
) -> Result<Open, Cause> {
    let stream = TcpStream::connect((at.host(), at.port())).await?;
    // The question follows the handshake at once, and is not to wait until that is acknowledged.
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(at.host().to_owned())?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
    let (mut sender, connection): (SendRequest<Body>, _) = http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong on it reaches the sender as well.
    let connection = Connection(tokio::spawn(connection));
    let mut request = Request::builder().method(asked.method).uri(asked.path);
    request = request.header(HOST, at.to_string());
    for (name, value) in asked.headers.iter().chain(headers) {
        request = request.header(name, value);
    }
    let response = sender.send_request(request.body(body)?).await?;
    let (head, body) = response.into_parts();
    Ok(Open {
        status: head.status,
        headers: head.headers,
        body,
        _connection: connection,
    })
}
