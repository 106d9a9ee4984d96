//! What a client says on an upgraded connection: its input, which waits for the process, and everything else, which does
//! not. A client that asked for it is told what the container's first process has passed on, which is beyond what a loss of
//! fence can undo, and can send the rest again to the next fence.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::delivery::Heard;
use super::frames::{self, FromClient, ToClient};
use super::processes::{Early, Frames};
use super::wire;
use crate::container::WindowSize;
use crate::http::hijack::Reader;
use crate::http::json;
use crate::http::output::END_KNOWN;
use crate::http::relay::{self, Feed, Passed};
use crate::supervisor::{InputSource, ProcessControl};

/// How far a connection's input has come.
#[derive(Debug, Default)]
pub struct Taken {
    bytes: AtomicU64,
    /// The client wants to know.
    tell: AtomicBool,
}

impl Taken {
    /// Tell the client, where it wants to know.
    pub async fn tell(&self, writer: &Frames<'_>) -> std::io::Result<()> {
        if !self.tell.load(Ordering::Relaxed) {
            return Ok(());
        }
        let stdin_ack = self.bytes.load(Ordering::Relaxed);
        let told = json::line(&wire::InputTaken { stdin_ack });
        writer.lock().await.send(ToClient::InputTaken, &told).await
    }
}

/// Do what the client says until it leaves or breaks the protocol, or its input cannot be passed on any more.
pub async fn obey(
    reader: &mut Reader,
    control: &ProcessControl,
    source: Option<InputSource>,
    taken: &Taken,
    heard: &Heard,
    writer: &Frames<'_>,
) -> Early {
    let (feed, mut waiting) = relay::line(source);
    // What the process's own window holds, in pieces.
    let (under_way, mut passed) = mpsc::unbounded_channel();
    let passing = async move {
        while let Some(piece) = waiting.pass_on(control).await {
            match piece {
                // The other side is there as long as this one is.
                Ok(piece) => drop(under_way.send(piece)),
                Err(error) if error.is_temporary() => {
                    // The outputs end in a moment where it is the container that ended.
                    tokio::time::sleep(2 * END_KNOWN).await;
                    return Err(Early::from(error));
                }
                Err(_) => {}
            }
        }
        Ok(())
    };
    let telling = async {
        tokio::select! {
            () = tell_passed(&mut passed, control, taken, writer) => {}
            // Nobody is left to be told.
            () = heard.left() => {}
        }
        Ok(())
    };
    let listening = async {
        let early = listen(reader, control, taken, heard, feed).await;
        heard.all();
        Ok(early)
    };
    match tokio::try_join!(listening, passing, telling) {
        Ok((early, (), ())) | Err(early) => early,
    }
}

/// Tell the client of each piece once the container's first process has passed it on.
async fn tell_passed(
    passed: &mut mpsc::UnboundedReceiver<Passed>,
    control: &ProcessControl,
    taken: &Taken,
    writer: &Frames<'_>,
) {
    while let Some(Passed { bytes, written }) = passed.recv().await {
        if let Some(written) = written {
            control.passed_on(written).await;
        }
        taken.bytes.fetch_add(bytes, Ordering::Relaxed);
        // A client that is gone is noticed by whoever reads from it.
        let _ = taken.tell(writer).await;
    }
}

async fn listen(reader: &mut Reader, control: &ProcessControl, taken: &Taken, heard: &Heard, feed: Feed) -> Early {
    let mut frames = frames::read_from(reader);
    loop {
        let frame = match frames.next().await {
            None => return Early::ClientLeft,
            Some(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Early::Told(format!("a frame makes no sense: {error}"));
            }
            Some(Err(_)) => return Early::ClientLeft,
            Some(Ok(frame)) => frames::parse(frame),
        };
        let done = match frame {
            FromClient::Input(data) => {
                feed.data(data).await;
                continue;
            }
            FromClient::EndOfInput => {
                feed.end();
                continue;
            }
            FromClient::TellInputTaken => {
                taken.tell.store(true, Ordering::Relaxed);
                continue;
            }
            FromClient::OutputTaken(json) => match hear(&json, heard) {
                Ok(()) => continue,
                Err(error) => return Early::Told(error),
            },
            other => act(other, control).await,
        };
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("could not pass on what a client said: {}", error.chain()),
            Err(error) => return Early::Told(format!("a frame makes no sense: {error}")),
        }
    }
}

/// The error is what the client is told.
fn hear(json: &[u8], heard: &Heard) -> Result<(), String> {
    let taken = serde_json::from_slice(json).map_err(|error| format!("a frame makes no sense: {error}"))?;
    heard
        .note(&taken)
        .map_err(|error| format!("an acknowledgement makes no sense: {error}"))
}

/// The outer error is the client's fault, the inner one the process's affair.
async fn act(frame: FromClient, control: &ProcessControl) -> Result<crate::supervisor::Result<()>, serde_json::Error> {
    Ok(match frame {
        FromClient::Signal(json) => {
            let wire::Signal { signal } = serde_json::from_slice(&json)?;
            control.signal(signal).await
        }
        FromClient::Resize(json) => {
            let wire::Size { columns, rows } = serde_json::from_slice(&json)?;
            control.resize(WindowSize { columns, rows }).await
        }
        FromClient::Unknown(kind) => {
            tracing::debug!("a client sent a frame of the unknown kind {kind}");
            Ok(())
        }
        FromClient::Input(_) | FromClient::EndOfInput | FromClient::TellInputTaken | FromClient::OutputTaken(_) => {
            Ok(())
        }
    })
}
