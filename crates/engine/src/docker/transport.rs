//! One connection per request to the engine's socket, with the API version agreed on it and its answer bounded.
//!
//! bollard sends requests without an API version, which a newer engine answers in its newest dialect. Here each
//! connection first asks which version the engine speaks and then sends the request in the newest one that both know.
//! Nothing is kept between requests, so an engine that was restarted, even as another version, needs no repair.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::BollardRequest;
use bollard::errors::Error;
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// The newest API version this crate was written for; any newer engine speaks it too.
const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 47 };
/// The oldest API version that has what this crate uses (one-shot stats).
const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 41 };
/// How much one answer, or one stream of events, may bring. A thousand containers are listed in about 3 MB.
const MAX_ANSWER: u64 = 64 << 20;
const REGISTRY_AUTH: &str = "x-registry-auth";

/// What only this transport can find wrong with an engine. Travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("it answered with more than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error("it speaks API version {0} at most, and {OLDEST} or newer is needed")]
    TooOld(ApiVersion),
    #[error("it did not say which API version it speaks")]
    NoVersion,
}

/// A version of the Docker API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// The version to use with an engine whose newest is given.
    pub(super) fn agree(newest_of_engine: &str) -> Result<ApiVersion, Fault> {
        let (major, minor) = newest_of_engine.split_once('.').ok_or(Fault::NoVersion)?;
        match (major.parse(), minor.parse()) {
            (Ok(major), Ok(minor)) => {
                let theirs = ApiVersion { major, minor };
                if theirs < OLDEST {
                    Err(Fault::TooOld(theirs))
                } else {
                    Ok(theirs.min(NEWEST))
                }
            }
            _ => Err(Fault::NoVersion),
        }
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Sends one request over a connection of its own.
pub(super) async fn send(socket: PathBuf, request: BollardRequest) -> Result<Response<Incoming>, Error> {
    let stream = UnixStream::connect(&socket).await?;
    let io = TokioIo::new(Bounded {
        inner: stream,
        left: MAX_ANSWER,
    });
    let (mut sender, connection) = http1::handshake(io).await?;
    // Ends with the answer, or as soon as nobody waits for it any more; what goes wrong is told to the one who waits.
    tokio::spawn(connection);
    let version = negotiate(&mut sender, bollard::body_full(Bytes::new())).await?;
    let request = address(request, version)?;
    sender.ready().await?;
    Ok(sender.send_request(request).await?)
}

async fn negotiate<B>(sender: &mut SendRequest<B>, nothing: B) -> Result<ApiVersion, Error>
where
    B: Body + 'static,
{
    let ping = Request::builder()
        .method(Method::GET)
        .uri("/_ping")
        .header(HOST, "docker")
        .body(nothing)?;
    let response = sender.send_request(ping).await?;
    let newest = response
        .headers()
        .get("api-version")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    response.into_body().collect().await?;
    let agreed = newest
        .ok_or(Fault::NoVersion)
        .and_then(|newest| ApiVersion::agree(&newest));
    Ok(agreed.map_err(io::Error::other)?)
}

/// Puts the version before the path, and mends what bollard writes into the headers.
fn address(request: BollardRequest, version: ApiVersion) -> Result<BollardRequest, Error> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    parts.uri = format!("/v{version}{path}").parse::<Uri>()?;
    parts.headers.insert(HOST, HeaderValue::from_static("docker"));
    // The engine reads the URL-safe alphabet of base64 here, and takes anything else for no account at all; bollard
    // writes the other alphabet.
    if let Some(auth) = parts.headers.get_mut(REGISTRY_AUTH) {
        let safe: Vec<u8> = auth.as_bytes().iter().map(|c| url_safe(*c)).collect();
        *auth = HeaderValue::from_bytes(&safe).map_err(http::Error::from)?;
    }
    Ok(Request::from_parts(parts, body))
}

fn url_safe(letter: u8) -> u8 {
    match letter {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    }
}

/// A connection that gives no more than so many bytes.
struct Bounded<S> {
    inner: S,
    left: u64,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let read = (buf.filled().len() - before) as u64;
        match self.left.checked_sub(read) {
            Some(left) => {
                self.left = left;
                polled
            }
            None => {
                // An error comes without bytes.
                buf.set_filled(before);
                Poll::Ready(Err(io::Error::other(Fault::TooLarge)))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[test]
    fn the_newest_version_that_both_know_is_taken() {
        assert_eq!(ApiVersion::agree("1.41").unwrap().to_string(), "1.41");
        assert_eq!(ApiVersion::agree("1.53").unwrap().to_string(), "1.47");
        assert!(matches!(ApiVersion::agree("1.40"), Err(Fault::TooOld(_))));
        assert!(matches!(ApiVersion::agree("latest"), Err(Fault::NoVersion)));
    }

    #[test]
    fn requests_carry_version_and_url_safe_account() {
        let request = Request::builder()
            .uri("http://docker/images/create?tag=1")
            .header(REGISTRY_AUTH, "a+b/c=")
            .body(bollard::body_full(Bytes::new()))
            .unwrap();
        let request = address(request, ApiVersion { major: 1, minor: 41 }).unwrap();
        assert_eq!(request.uri(), "/v1.41/images/create?tag=1");
        assert_eq!(request.headers()[REGISTRY_AUTH], "a-b_c=");
        assert_eq!(request.headers()[HOST], "docker");
    }

    #[tokio::test]
    async fn an_endless_answer_ends_with_an_error() {
        let mut endless = Bounded {
            inner: tokio::io::repeat(b'x'),
            left: 1 << 20,
        };
        let mut sink = Vec::new();
        let error = endless.read_to_end(&mut sink).await.unwrap_err();
        assert!(matches!(
            error.get_ref().and_then(|e| e.downcast_ref()),
            Some(Fault::TooLarge)
        ));
        assert!(sink.len() <= 1 << 20);
    }
}
