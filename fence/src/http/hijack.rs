//! A connection whose socket a handler has taken over: hand-written heads, then raw bytes both ways.
//!
//! Garden's client reads such a head with rules of its own (it needs `Transfer-Encoding: chunked` but no chunks, a
//! length on every error, and never `Connection: close`), which is why no library writes it.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio_util::sync::CancellationToken;

use super::body::{self, BodyError};
use super::head::RequestHead;

/// How long a client may take to close after the last byte; closing first could destroy what it has not read yet.
const LINGER: Duration = Duration::from_secs(2);

/// How long a client may take to take an error.
const REFUSAL: Duration = Duration::from_secs(10);

/// What a client sends.
pub(super) type Reader = BufReader<Box<dyn AsyncRead + Send + Unpin>>;
/// What a client is sent.
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A hijacked connection.
pub(super) struct Hijacked {
    pub(super) head: RequestHead,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// Cancelled when fence stops: the connection has to end, the process goes on.
    pub(super) closing: CancellationToken,
}

impl Hijacked {
    pub(super) fn new(
        head: RequestHead,
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        closing: CancellationToken,
    ) -> Hijacked {
        Hijacked {
            head,
            reader: BufReader::new(Box::new(reader)),
            writer: Box::new(writer),
            closing,
        }
    }

    /// The request's body.
    pub(super) async fn body(&mut self) -> Result<Bytes, BodyError> {
        body::read(&self.head, &mut self.reader, &mut self.writer).await
    }

    /// Send the head and what follows it at once.
    pub(super) async fn begin(&mut self, status: StatusCode, fields: &[(&str, &str)], first: &[u8]) -> io::Result<()> {
        let head = head(status, fields);
        self.writer.write_all(&[head.as_bytes(), first].concat()).await?;
        self.writer.flush().await
    }

    /// Answer with an error whose body is `json`, and end.
    pub(super) async fn refuse(mut self, status: StatusCode, json: &[u8]) {
        let length = json.len().to_string();
        let fields = [
            ("Content-Type", "application/json"),
            ("Content-Length", length.as_str()),
        ];
        let told = tokio::time::timeout(REFUSAL, self.begin(status, &fields, json)).await;
        if told.is_ok_and(|told| told.is_ok()) {
            self.finish().await;
        }
    }

    /// Send the last bytes, and end.
    pub(super) async fn end_with(mut self, last: &[u8]) {
        if self.writer.write_all(last).await.is_ok() {
            self.finish().await;
        }
    }

    /// End the connection so that the client gets everything.
    pub(super) async fn finish(mut self) {
        linger(&mut self.reader, &mut self.writer).await;
    }
}

/// A response head.
pub(super) fn head(status: StatusCode, fields: &[(&str, &str)]) -> String {
    let mut head = format!(
        "HTTP/1.1 {} {}\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or("Unknown")
    );
    for (name, value) in fields {
        // Writing to a String cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    head
}

/// Say that no more will come, and wait a moment for the client to close.
pub(super) async fn linger(reader: &mut (impl AsyncRead + Unpin), writer: &mut (impl AsyncWrite + Unpin)) {
    let closing = async {
        if writer.shutdown().await.is_ok() {
            gone(reader).await;
        }
    };
    let _ = tokio::time::timeout(LINGER, closing).await;
}

/// Send this to a client that has so long to take it.
pub(super) async fn send_within(
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    patience: Duration,
) -> io::Result<()> {
    let sending = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    let sent = tokio::time::timeout(patience, sending).await;
    sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Wait until the client has closed the connection; what it still sends is thrown away.
pub(super) async fn gone(reader: &mut (impl AsyncRead + Unpin)) {
    let mut scrap = [0; 4096];
    while matches!(reader.read(&mut scrap).await, Ok(got) if got > 0) {}
}
