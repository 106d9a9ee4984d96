//! Archives into a container and out of it. As long as something moves they may take as long as they need.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt;
use http::Method;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};

use super::error::{Error, Result};
use super::transport::{self, Call};
use super::{Client, container_path, segment};

/// How long nothing may move: longer than fence waits for a container or for us.
const STUCK: Duration = Duration::from_secs(120);
const IN: &str = "copy files into the container";
const OUT: &str = "copy files out of the container";

/// An archive on its way out.
pub struct Archive {
    body: Incoming,
}

impl Client {
    /// Unpacks an archive in a container, below `destination`. `moved` counts what has gone.
    pub async fn files_in(
        &self,
        handle: &str,
        user: &str,
        destination: &str,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        moved: &'static AtomicU64,
    ) -> Result<()> {
        let path = files_path(handle, user, "destination", destination);
        let frames = archive.map(|piece| {
            let piece = piece?;
            moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Ok(Frame::data(piece))
        });
        let body = StreamBody::new(frames).boxed_unsync();
        let call = call(Method::PUT, path, IN);
        let sending =
            pin!(async { transport::answer(IN, transport::transfer(&self.socket, &call, body).await?).await });
        tokio::select! {
            answer = sending => answer.map(drop),
            () = stuck(moved) => Err(Error::TimedOut { action: IN, bound: STUCK }),
        }
    }

    /// An archive of what `source` is in a container.
    pub async fn files_out(&self, handle: &str, user: &str, source: &str) -> Result<Archive> {
        let call = call(Method::GET, files_path(handle, user, "source", source), OUT);
        let sending = transport::transfer(&self.socket, &call, transport::no_body());
        let response = tokio::time::timeout(STUCK, sending).await;
        let late = |_| Error::TimedOut {
            action: OUT,
            bound: STUCK,
        };
        Ok(Archive {
            body: response.map_err(late)??.into_body(),
        })
    }
}

impl Archive {
    /// The next piece; `None` = the archive is complete.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(STUCK, self.body.frame()).await;
            let frame = frame.map_err(|_| Error::TimedOut {
                action: OUT,
                bound: STUCK,
            })?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => {}
                },
                Some(Err(error)) => {
                    return Err(Error::Broken {
                        action: OUT,
                        source: io::Error::other(error),
                    });
                }
            }
        }
    }
}

/// Waits until nothing has moved for too long.
async fn stuck(moved: &AtomicU64) {
    let mut before = None;
    loop {
        let now = moved.load(Ordering::Relaxed);
        if before.replace(now) == Some(now) {
            return;
        }
        tokio::time::sleep(STUCK).await;
    }
}

fn files_path(handle: &str, user: &str, name: &str, path: &str) -> String {
    container_path(
        handle,
        &format!("/files?user={}&{name}={}", segment(user), segment(path)),
    )
}

fn call(method: Method, path: String, action: &'static str) -> Call {
    Call {
        method,
        path,
        body: None,
        action,
        bound: STUCK,
    }
}
