//! The head of a request as read from the socket: bounded in size, parsed by httparse, nothing taken that follows it.

use std::io;
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest head, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;
/// The most header fields.
const MAX_FIELDS: usize = 100;

/// What a request asks for, without its body.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
}

/// A head with what was read from the socket to get it.
#[derive(Debug)]
pub struct Received {
    pub head: RequestHead,
    /// Every byte read so far.
    pub bytes: Bytes,
    /// How many of them are the head.
    pub length: usize,
}

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The client left before it said anything.
    #[error("the client closed the connection")]
    Closed,
    #[error("the client closed the connection within the head of its request")]
    Unfinished,
    #[error("the head of the request is longer than {MAX_HEAD} bytes or has more than {MAX_FIELDS} fields")]
    TooLarge,
    #[error("the head of the request is not HTTP/1: {0}")]
    Malformed(String),
    #[error("could not read the head of the request")]
    Read(#[source] io::Error),
}

/// Read until the head is complete.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Received, HeadError> {
    let mut bytes = BytesMut::with_capacity(4096);
    loop {
        let got = stream.read_buf(&mut bytes).await.map_err(HeadError::Read)?;
        if got == 0 {
            return Err(if bytes.is_empty() {
                HeadError::Closed
            } else {
                HeadError::Unfinished
            });
        }
        if let Some((head, length)) = parse(&bytes)? {
            return Ok(Received {
                head,
                bytes: bytes.freeze(),
                length,
            });
        }
        if bytes.len() >= MAX_HEAD {
            return Err(HeadError::TooLarge);
        }
    }
}

/// The head at the beginning of `bytes` and its length, or `None` where it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(RequestHead, usize)>, HeadError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(httparse::Status::Complete(length)) if length > MAX_HEAD => return Err(HeadError::TooLarge),
        Ok(httparse::Status::Complete(length)) => length,
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(error) => return Err(HeadError::Malformed(error.to_string())),
    };
    let malformed = |what: &str| HeadError::Malformed(format!("it has an unusable {what}"));
    let method = request.method.unwrap_or("").parse().map_err(|_| malformed("method"))?;
    let uri = request.path.unwrap_or("").parse().map_err(|_| malformed("address"))?;
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| malformed("field name"))?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| malformed("field value"))?;
        headers.append(name, value);
    }
    Ok(Some((RequestHead { method, uri, headers }, length)))
}

impl RequestHead {
    /// Whether a field that holds a comma-separated list names `token`.
    pub fn names(&self, field: HeaderName, token: &str) -> bool {
        let values = self.headers.get_all(field);
        values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    }

    /// Whether a browser sent this for a web page. Garden clients send none of these fields, browsers always do with
    /// what a page of another origin could cause.
    pub fn is_from_a_web_page(&self) -> bool {
        ["origin", "sec-fetch-site", "sec-fetch-mode"]
            .iter()
            .any(|field| self.headers.contains_key(*field))
    }
}

impl RequestHead {
    /// Whether the request names this node as its host. One that a browser was led to by a name of somebody else's, which
    /// now leads here, names that.
    pub fn is_for_this_node(&self) -> bool {
        let mut hosts = self.headers.get_all(HOST).iter().peekable();
        hosts.peek().is_some() && hosts.all(|host| host.to_str().is_ok_and(is_this_node))
    }
}

/// Garden clients say `api` wherever they connect to.
fn is_this_node(host: &str) -> bool {
    let Ok(host) = host.parse::<Authority>() else {
        return false;
    };
    let name = host.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    ["api", "localhost"].iter().any(|own| name.eq_ignore_ascii_case(own))
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn read_from(text: &[u8]) -> Result<Received, HeadError> {
        read(&mut &text[..]).await
    }

    #[tokio::test]
    async fn a_head_leaves_what_follows_it() {
        let text = b"POST /containers/a/processes?x=1 HTTP/1.1\r\nHost: api\r\nContent-Length: 2\r\n\r\n{}";
        let received = read_from(text).await.unwrap();
        assert_eq!(received.head.method, Method::POST);
        assert_eq!(received.head.uri.path(), "/containers/a/processes");
        assert_eq!(received.head.headers["content-length"], "2");
        assert_eq!(&received.bytes[received.length..], b"{}");
    }

    #[tokio::test]
    async fn a_head_may_come_in_pieces() {
        let (mut client, mut server) = tokio::io::duplex(4096);
        let reading = tokio::spawn(async move { read(&mut server).await });
        for byte in b"GET /ping HTTP/1.1\r\nHost: api\r\n\r\n" {
            client.write_all(&[*byte]).await.unwrap();
        }
        assert_eq!(reading.await.unwrap().unwrap().head.uri, "/ping");
    }

    #[tokio::test]
    async fn heads_are_bounded() {
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD));
        assert!(matches!(read_from(long.as_bytes()).await, Err(HeadError::TooLarge)));
        let long = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_FIELDS + 1));
        assert!(matches!(read_from(long.as_bytes()).await, Err(HeadError::TooLarge)));
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        assert!(matches!(
            read_from(b"\x16\x03\x01\x02\x00").await,
            Err(HeadError::Malformed(_))
        ));
        assert!(matches!(
            read_from(b"GET / HTTP/1.1\r\nHo").await,
            Err(HeadError::Unfinished)
        ));
        assert!(matches!(read_from(b"").await, Err(HeadError::Closed)));
    }

    #[tokio::test]
    async fn lists_are_searched_without_case() {
        let head = read_from(b"GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\n\r\n")
            .await
            .unwrap()
            .head;
        assert!(head.names(http::header::CONNECTION, "upgrade"));
        assert!(!head.names(http::header::CONNECTION, "close"));
        assert!(!head.is_from_a_web_page());
    }

    #[tokio::test]
    async fn a_host_is_this_node_or_not() {
        for (host, this) in [
            ("api", true),
            ("API:80", true),
            ("localhost:7777", true),
            ("127.0.0.1", true),
            ("127.8.0.1:7777", true),
            ("[::1]:7777", true),
            ("example.com", false),
            ("example.com:7777", false),
            ("localhost.example.com", false),
            ("10.0.0.1:7777", false),
            ("0.0.0.0:7777", false),
            ("", false),
            ("localhost\r\nHost: example.com", false),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let head = read_from(text.as_bytes()).await.unwrap().head;
            assert_eq!(head.is_for_this_node(), this, "{host}");
        }
        let none = read_from(b"GET / HTTP/1.1\r\n\r\n").await.unwrap().head;
        assert!(!none.is_for_this_node());
    }
}
