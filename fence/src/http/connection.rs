//! One connection: reads the head of its one request, then leaves the socket to a hijacking handler or to hyper.
//!
//! Hyper cannot send the heads that Garden's process routes need, nor give the socket back after a 2xx; so it gets
//! the connection only for the other requests, with the bytes read so far put in front, and closes it afterwards.

use std::convert::Infallible;
use std::io::Cursor;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::head::{self, HeadError, Received};
use super::hijack::{self, Hijacked};
use super::server::{Door, Shared};

/// What a client is told when there are too many connections: an error object that Garden clients know.
const BUSY: &str = "{\"Type\":\"ServiceUnavailableError\",\"Message\":\"fence has as many connections as it takes; \
                    try again in a moment\",\"Handle\":\"\",\"ProcessID\":\"\",\"Binary\":\"\"}\n";
/// As above, when a handler failed in a way nobody thought of.
const BROKEN: &str = "{\"Type\":\"\",\"Message\":\"fence failed while it worked on this request; its log says how\",\
                      \"Handle\":\"\",\"ProcessID\":\"\",\"Binary\":\"\"}\n";
const WEB_PAGE: &str = "this API is not for web pages\n";
const OTHER_HOST: &str = "the Host of a request must be localhost, api or an address of the loopback interface\n";

/// Handle a connection to its end. `busy`: there are too many, say so.
pub(super) async fn handle<S>(stream: S, shared: &Shared, door: Door, busy: bool)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut reader, writer) = tokio::io::split(stream);
    let received = tokio::select! {
        () = shared.closing.cancelled() => return,
        received = tokio::time::timeout(shared.options.head_timeout, head::read(&mut reader)) => received,
    };
    let refusal = match received {
        Err(_) => (
            StatusCode::REQUEST_TIMEOUT,
            "text/plain",
            "the head of the request did not arrive in time\n".into(),
        ),
        Ok(Err(HeadError::Closed | HeadError::Unfinished | HeadError::Read(_))) => return,
        Ok(Err(error @ HeadError::TooLarge)) => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "text/plain",
            format!("{error}\n"),
        ),
        Ok(Err(error @ HeadError::Malformed(_))) => (StatusCode::BAD_REQUEST, "text/plain", format!("{error}\n")),
        Ok(Ok(_)) if busy => (StatusCode::SERVICE_UNAVAILABLE, "application/json", BUSY.into()),
        Ok(Ok(received)) if received.head.is_from_a_web_page() => {
            (StatusCode::FORBIDDEN, "text/plain", WEB_PAGE.into())
        }
        Ok(Ok(received)) if door == Door::Tcp && !received.head.is_for_this_node() => {
            (StatusCode::FORBIDDEN, "text/plain", OTHER_HOST.into())
        }
        Ok(Ok(received)) => return answer(received, reader, writer, shared).await,
    };
    refuse(reader, writer, refusal).await;
}

async fn refuse<S>(mut reader: ReadHalf<S>, mut writer: WriteHalf<S>, refusal: (StatusCode, &str, String))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (status, kind, text) = refusal;
    let head = hijack::head(
        status,
        &[("Content-Type", kind), ("Content-Length", &text.len().to_string())],
    );
    if writer
        .write_all(&[head.as_bytes(), text.as_bytes()].concat())
        .await
        .is_ok()
    {
        hijack::linger(&mut reader, &mut writer).await;
    }
}

async fn answer<S>(received: Received, reader: ReadHalf<S>, writer: WriteHalf<S>, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Received { head, bytes, length } = received;
    tracing::debug!("{} {}", head.method, head.uri.path());
    match (shared.faces.hijack)(&head) {
        Some(handler) => {
            let rest = bytes.slice(length..);
            handler(Hijacked::new(
                head,
                in_front(rest, reader),
                writer,
                shared.closing.clone(),
            ))
            .await;
        }
        None => ordinary(bytes, reader, writer, shared).await,
    }
}

/// A reader that gives what was read too much first.
fn in_front<R: AsyncRead>(bytes: Bytes, reader: R) -> tokio::io::Chain<Cursor<Bytes>, R> {
    Cursor::new(bytes).chain(reader)
}

async fn ordinary<S>(bytes: Bytes, reader: ReadHalf<S>, writer: WriteHalf<S>, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = TokioIo::new(tokio::io::join(in_front(bytes, reader), writer));
    let answered = CancellationToken::new();
    let service = service_fn(|request: Request<Incoming>| {
        // In a task of its own, so that a client that leaves does not stop what it asked for half-way.
        let handling = shared.faces.router.clone().oneshot(request.map(Body::new));
        let handling = shared.tasks.spawn(handling);
        let answered = answered.clone();
        async move {
            let response = match handling.await {
                Ok(response) => response.unwrap_or_else(|never: Infallible| match never {}),
                Err(_) => broken(),
            };
            answered.cancel();
            Ok::<Response, Infallible>(response)
        }
    });
    let serving = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .serve_connection(io, service);
    let overdue = async {
        answered.cancelled().await;
        tokio::time::sleep(shared.options.answer_timeout).await;
    };
    tokio::select! {
        served = serving => if let Err(error) = served {
            tracing::debug!("a connection ended early: {error}");
        },
        () = overdue => tracing::debug!("a client did not take its answer in time; hung up"),
    }
}

fn broken() -> Response {
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    (StatusCode::INTERNAL_SERVER_ERROR, json, BROKEN).into_response()
}
