//! An answer that goes on: a head, and then lines for as long as there are any and the client wants them.
//!
//! It ends by being closed. A client that reads slowly holds up nothing but itself: what it is sent is read where it is
//! kept, piece by piece. How many there may be at a time is bounded.

use std::io;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::error::Error;
use crate::http::hijack::{Hijacked, Reader, Writer, gone, linger, send_within};
use crate::http::segments;
use crate::supervisor;

/// The most streams at a time.
const MAX_STREAMS: usize = 256;
/// How long a client may take none of what it is sent.
const TAKES_NOTHING: Duration = Duration::from_secs(60);

static STREAMS: Semaphore = Semaphore::const_new(MAX_STREAMS);

/// A client that is being answered.
pub struct Stream {
    writer: Writer,
    _one_of: SemaphorePermit<'static>,
}

/// What becomes of a stream beside what is sent.
pub struct Other {
    reader: Reader,
    closing: CancellationToken,
}

impl Stream {
    /// Begin the answer, with lines of this type.
    pub async fn begin(mut connection: Hijacked, content: &str) -> Option<(Stream, Other)> {
        let Ok(one_of) = STREAMS.try_acquire() else {
            let what = format!("room for streams of events and logs ({MAX_STREAMS} is its limit)");
            Error::from(supervisor::Error::Exhausted { what })
                .refuse(connection)
                .await;
            return None;
        };
        let fields = [
            ("Content-Type", content),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ];
        connection.begin(StatusCode::OK, &fields, b"").await.ok()?;
        let Hijacked {
            reader,
            writer,
            closing,
            ..
        } = connection;
        let stream = Stream {
            writer,
            _one_of: one_of,
        };
        Some((stream, Other { reader, closing }))
    }

    /// Send this.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        send_within(&mut self.writer, bytes, TAKES_NOTHING).await
    }

    /// That was all.
    pub async fn finish(mut self, mut other: Other) {
        linger(&mut other.reader, &mut self.writer).await;
    }
}

impl Other {
    /// Wait until the client has left or fence stops.
    pub async fn ended(&mut self) {
        tokio::select! {
            () = gone(&mut self.reader) => {}
            () = self.closing.cancelled() => {}
        }
    }
}

/// What a request's query says.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn of(connection: &Hijacked) -> Query {
        Query(segments::query(&connection.head.uri))
    }

    /// The value of a name; the last one counts, an empty one is none.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let parse = |text: &str| {
            let wrong = |_| Error::invalid(format!("{name} is no number: {}", shown(text)));
            text.parse().map_err(wrong)
        };
        self.text(name).map(parse).transpose()
    }

    /// Yes or no.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Error> {
        match self.text(name) {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(Error::invalid(format!(
                "{name} is neither true nor false: {}",
                shown(other)
            ))),
        }
    }
}

/// A field of the head as text.
pub fn field<'a>(connection: &'a Hijacked, name: &HeaderName) -> Option<&'a str> {
    connection.head.headers.get(name)?.to_str().ok()
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}
