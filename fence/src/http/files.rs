//! Tar streams into a container and out of it, for both faces. Bounded by progress, not by length: a stream may be as
//! long as it likes, and neither side may keep the other waiting.

use std::io;
use std::time::Duration;

use axum::body::Body;
use http::{StatusCode, Uri};
use http_body_util::BodyExt;

use super::container;
use super::hijack::{Hijacked, Writer, gone, send_within};
use super::segments::query;
use crate::container::Handle;
use crate::supervisor::{Error, FilesIn, FilesOut, Hold, Result, Supervisor};

/// How long a client may take to send, or to take, the next piece.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client may go on sending what is of no use any more, so that it comes to reading why.
const USELESS: Duration = Duration::from_secs(10);
/// What a client is sent before the archive.
const HEAD: [(&str, &str); 3] = [
    ("Content-Type", "application/x-tar"),
    ("Transfer-Encoding", "chunked"),
    ("Connection", "close"),
];

/// Unpack a request's body in the container that the path names.
pub(super) async fn stream_in(supervisor: &Supervisor, name: &str, uri: &Uri, mut body: Body) -> Result<()> {
    let (handle, _hold) = container(supervisor, name)?;
    let mut files = supervisor
        .files_in(&handle, &value(uri, "user"), &value(uri, "destination"))
        .await?;
    match pass_on(&mut files, &mut body, &handle).await {
        Ok(true) => files.finish().await,
        Ok(false) => {
            drain(&mut body).await;
            files.finish().await
        }
        Err(error) => {
            drain(&mut body).await;
            Err(error)
        }
    }
}

/// `false` = the container takes no more.
async fn pass_on(files: &mut FilesIn, body: &mut Body, handle: &Handle) -> Result<bool> {
    let cut_off = |message: String| Error::Copy {
        handle: handle.clone(),
        what: "streaming in",
        message,
    };
    loop {
        let next = tokio::time::timeout(IDLE, body.frame()).await;
        let frame = match next {
            Ok(None) => return Ok(true),
            Ok(Some(frame)) => frame.map_err(|error| cut_off(format!("the archive broke off: {error}")))?,
            Err(_) => return Err(cut_off(format!("nothing came for {} s", IDLE.as_secs()))),
        };
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
            && !files.write(data).await?
        {
            return Ok(false);
        }
    }
}

async fn drain(body: &mut Body) {
    let draining = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(USELESS, draining).await;
}

/// An archive that has begun: what can be told properly is told while there is no head yet.
pub(super) struct Archive {
    files: FilesOut,
    first: bytes::Bytes,
    _hold: Hold,
}

impl Archive {
    /// Begin to pack in the container that the path names.
    pub(super) async fn begin(supervisor: &Supervisor, name: &str, uri: &Uri) -> Result<Archive> {
        let (handle, hold) = container(supervisor, name)?;
        let mut files = supervisor
            .files_out(&handle, &value(uri, "user"), &value(uri, "source"))
            .await?;
        let first = files.next().await?.unwrap_or_default();
        Ok(Archive {
            files,
            first,
            _hold: hold,
        })
    }

    /// Send it. One that breaks off ends without the last chunk, by which a client knows.
    pub(super) async fn send(mut self, mut connection: Hijacked) {
        if connection.begin(StatusCode::OK, &HEAD, b"").await.is_err() {
            return;
        }
        let sent = tokio::select! {
            sent = send(&mut connection.writer, &mut self.files, self.first) => sent,
            () = gone(&mut connection.reader) => return,
            () = connection.closing.cancelled() => return,
        };
        match sent {
            Ok(()) => connection.finish().await,
            Err(error) => tracing::info!("an archive on its way to a client broke off: {error}"),
        }
    }
}

async fn send(writer: &mut Writer, files: &mut FilesOut, first: bytes::Bytes) -> io::Result<()> {
    let mut piece = first;
    loop {
        if !piece.is_empty() {
            let head = format!("{:x}\r\n", piece.len());
            send_within(writer, &[head.as_bytes(), &piece, b"\r\n"].concat(), IDLE).await?;
        }
        piece = match files.next().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return send_within(writer, b"0\r\n\r\n", IDLE).await,
            Err(error) => return Err(io::Error::other(error.chain())),
        };
    }
}

/// The first value of that name.
fn value(uri: &Uri, name: &str) -> String {
    let pair = query(uri).into_iter().find(|(key, _)| key == name);
    pair.map(|(_, value)| value).unwrap_or_default()
}
