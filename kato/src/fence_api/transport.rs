//! One HTTP/1 request over fence's unix socket: connect, send, read a bounded answer, or take the connection over.
//!
//! Every call opens its own connection; fence is on the same machine, and a connection kept open would only go stale
//! over a restart.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::error::{Error, Refusal, Result};
use super::stream::PROTOCOL;

/// How long a connection may take; fence accepts at once unless it hangs.
const CONNECT: Duration = Duration::from_secs(5);
/// The largest answer that is read: well above a list of as many containers as a node can hold.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// A call: what it asks, in HTTP and in words, and how long it may take.
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path, already encoded.
    pub path: String,
    /// The JSON body, where it has one.
    pub body: Option<Vec<u8>>,
    /// What fence is asked to do, for messages: "list the containers".
    pub action: &'static str,
    /// How long fence may take to answer.
    pub bound: Duration,
}

/// Makes an ordinary call and gives the body of the answer, which is JSON.
pub async fn exchange(socket: &Path, call: Call) -> Result<Bytes> {
    bounded(call.action, call.bound, async {
        let response = send(socket, &call, false).await?;
        let status = response.status();
        let body = read_body(call.action, response).await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(refused(&call, status, &body))
        }
    })
    .await
}

/// Makes a call whose answer goes on, and gives what is still to come of it.
pub async fn open(socket: &Path, call: Call) -> Result<Incoming> {
    bounded(call.action, call.bound, async {
        let response = send(socket, &call, false).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = read_body(call.action, response).await?;
        Err(refused(&call, status, &body))
    })
    .await
}

/// Makes a call that turns its connection into a process stream.
pub async fn upgrade(socket: &Path, call: Call) -> Result<Upgraded> {
    bounded(call.action, call.bound, async {
        let response = send(socket, &call, true).await?;
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return hyper::upgrade::on(response)
                .await
                .map_err(|error| broken(call.action, error));
        }
        let body = read_body(call.action, response).await?;
        Err(refused(&call, status, &body))
    })
    .await
}

async fn bounded<T>(action: &'static str, bound: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(bound, work)
        .await
        .unwrap_or(Err(Error::TimedOut { action, bound }))
}

/// What a request carries.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Nothing.
pub fn no_body() -> Body {
    whole(Bytes::new())
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Makes a call whose body, or the answer's, is of any length. Unlike the others it has no end in time: that is for who
/// sees what moves.
pub async fn transfer(socket: &Path, call: &Call, body: Body) -> Result<Response<Incoming>> {
    let response = send_body(socket, call, false, body).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = bounded(call.action, call.bound, read_body(call.action, response)).await?;
    Err(refused(call, status, &body))
}

/// The body of an answer that is not of any length.
pub async fn answer(action: &'static str, response: Response<Incoming>) -> Result<Bytes> {
    read_body(action, response).await
}

async fn send(socket: &Path, call: &Call, upgrade: bool) -> Result<Response<Incoming>> {
    let body = whole(Bytes::from(call.body.clone().unwrap_or_default()));
    send_body(socket, call, upgrade, body).await
}

async fn send_body(socket: &Path, call: &Call, upgrade: bool, body: Body) -> Result<Response<Incoming>> {
    let broken = |error| broken(call.action, error);
    let request = build(call, upgrade, body)?;
    let stream = connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // The task ends with the connection; what goes wrong on it reaches the sender or the body as well.
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.map_err(broken)
}

async fn connect(socket: &Path) -> Result<UnixStream> {
    let unreachable = |source| Error::Unreachable {
        socket: socket.to_path_buf(),
        source,
    };
    match timeout(CONNECT, UnixStream::connect(socket)).await {
        Ok(connected) => connected.map_err(unreachable),
        Err(_) => Err(Error::TimedOut {
            action: "take a connection",
            bound: CONNECT,
        }),
    }
}

fn build(call: &Call, upgrade: bool, body: Body) -> Result<Request<Body>> {
    let mut builder = Request::builder()
        .method(call.method.clone())
        .uri(&call.path)
        .header(HOST, "fence");
    if upgrade {
        builder = builder.header(CONNECTION, "Upgrade").header(UPGRADE, PROTOCOL);
    } else {
        builder = builder.header(CONNECTION, "close");
    }
    if call.body.is_some() {
        builder = builder.header(CONTENT_TYPE, "application/json");
    }
    builder.body(body).map_err(|source| Error::Request {
        action: call.action,
        source,
    })
}

async fn read_body(action: &'static str, response: Response<Incoming>) -> Result<Bytes> {
    match Limited::new(response.into_body(), MAX_ANSWER).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::Answer {
            action,
            problem: format!("more than {MAX_ANSWER} bytes"),
        }),
        Err(error) => match error.downcast::<hyper::Error>() {
            Ok(error) => Err(broken(action, *error)),
            Err(other) => Err(Error::Answer {
                action,
                problem: other.to_string(),
            }),
        },
    }
}

pub fn broken(action: &'static str, error: hyper::Error) -> Error {
    Error::Broken {
        action,
        source: io::Error::other(error),
    }
}

fn refused(call: &Call, status: StatusCode, body: &[u8]) -> Error {
    match serde_json::from_slice(body) {
        Ok(body) => Error::Refused(Refusal::new(status.as_u16(), body)),
        // Not fence's own error: an older fence without this route, or another program on the socket.
        Err(_) => Error::Answer {
            action: call.action,
            problem: format!("HTTP status {status}"),
        },
    }
}
