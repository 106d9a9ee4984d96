//! What a client says on an upgraded connection: its input in one line, everything else past it.
//!
//! Input that the process does not read waits here, up to [`WINDOW`] bytes, so that signals and sizes need not wait
//! behind it; a client that sends more fills its socket. A client that asked for it is told what was passed on, and
//! can send the rest again after fence was restarted. Input of a client that left is still passed on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, mpsc};

use super::frames::{self, FromClient, ToClient};
use super::processes::{Early, Frames};
use super::wire;
use crate::container::WindowSize;
use crate::http::hijack::Reader;
use crate::http::json;
use crate::supervisor::ProcessControl;

/// How much input waits for the process, in bytes.
pub const WINDOW: u32 = 256 * 1024;
/// What the shortest piece counts as, so that very short ones are bounded too.
const LEAST: usize = 256;

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

/// A piece that waits, with the room it takes, or the end.
enum Piece {
    Data(Bytes, usize),
    End,
}

/// Do what the client says until it leaves or breaks the protocol.
pub async fn obey(reader: &mut Reader, control: &ProcessControl, taken: &Taken, writer: &Frames<'_>) -> Early {
    let (queue, waiting) = mpsc::unbounded_channel();
    let room = Semaphore::new(WINDOW as usize);
    let listening = async {
        // Moved in here, so that the other side ends when this one does.
        let queue = queue;
        listen(reader, control, taken, &queue, &room).await
    };
    let passing = pass_on(waiting, control, taken, &room, writer);
    tokio::join!(listening, passing).0
}

async fn listen(
    reader: &mut Reader,
    control: &ProcessControl,
    taken: &Taken,
    queue: &mpsc::UnboundedSender<Piece>,
    room: &Semaphore,
) -> Early {
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
                let size = data.len().max(LEAST);
                if let Ok(taken) = room.acquire_many(size as u32).await {
                    taken.forget();
                }
                // The other side is there as long as this one is.
                let _ = queue.send(Piece::Data(data, size));
                continue;
            }
            FromClient::EndOfInput => {
                let _ = queue.send(Piece::End);
                continue;
            }
            FromClient::TellInputTaken => {
                taken.tell.store(true, Ordering::Relaxed);
                continue;
            }
            other => act(other, control).await,
        };
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("could not pass on what a client said: {}", error.chain()),
            Err(error) => return Early::Told(format!("a frame makes no sense: {error}")),
        }
    }
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
        FromClient::Input(_) | FromClient::EndOfInput | FromClient::TellInputTaken => Ok(()),
    })
}

async fn pass_on(
    mut waiting: mpsc::UnboundedReceiver<Piece>,
    control: &ProcessControl,
    taken: &Taken,
    room: &Semaphore,
    writer: &Frames<'_>,
) {
    while let Some(piece) = waiting.recv().await {
        let done = match piece {
            Piece::Data(data, size) => {
                let bytes = data.len() as u64;
                let done = control.write(data).await;
                room.add_permits(size);
                if done.is_ok() {
                    taken.bytes.fetch_add(bytes, Ordering::Relaxed);
                    // A client that is gone is noticed by whoever reads from it.
                    let _ = taken.tell(writer).await;
                }
                done
            }
            Piece::End => control.close_input().await,
        };
        if let Err(error) = done {
            tracing::debug!("could not pass on a client's input: {}", error.chain());
        }
    }
}
