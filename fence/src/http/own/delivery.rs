//! One output of a process on its way to a client, and when it counts as delivered: once it is in the socket, or, where
//! the client asked to say it itself, once the client says so. What was not delivered is for the next attachment.
//!
//! What the client says is read in [`super::input`]; offsets are those of the whole output, of all attachments. Nothing
//! is kept here: what waits for an acknowledgement is init's, which sends no more than its window beyond it. So a client
//! that acknowledges nothing is no more to a process than one that reads nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::frames::ToClient;
use super::processes::{Early, Frames};
use super::wire;
use crate::http::json;
use crate::http::output;
use crate::supervisor::{Attachment, Chunk, OutputReader, Stream};

/// What a client said of the outputs it has.
#[derive(Debug)]
pub struct Heard {
    /// Whether it said that it would say something.
    asked: bool,
    stdout: Place,
    stderr: Place,
    left: CancellationToken,
}

/// How far one output has come.
#[derive(Debug, Default)]
struct Place {
    /// What may be acknowledged.
    sent: AtomicU64,
    taken: watch::Sender<u64>,
}

/// A client acknowledged what it cannot have.
#[derive(Debug, thiserror::Error)]
#[error("{stream} is acknowledged up to {acknowledged}, and sent up to {sent}")]
pub struct Beyond {
    stream: &'static str,
    acknowledged: u64,
    sent: u64,
}

impl Heard {
    /// Nothing yet, of a client that acknowledges what it takes, or not.
    pub fn new(asked: bool) -> Heard {
        Heard {
            asked,
            stdout: Place::default(),
            stderr: Place::default(),
            left: CancellationToken::new(),
        }
    }

    /// The client has come so far. One that did not ask for it is not listened to.
    pub fn note(&self, taken: &wire::OutputTaken) -> Result<(), Beyond> {
        if !self.asked {
            return Ok(());
        }
        self.stdout.note("stdout", taken.stdout_ack)?;
        self.stderr.note("stderr", taken.stderr_ack)
    }

    /// The client will say no more.
    pub fn all(&self) {
        self.left.cancel();
    }

    /// Wait until the client has said all it will ever say.
    pub async fn left(&self) {
        self.left.cancelled().await;
    }

    fn place(&self, stream: Stream) -> &Place {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }
}

impl Place {
    fn note(&self, stream: &'static str, acknowledged: u64) -> Result<(), Beyond> {
        let sent = self.sent.load(Ordering::Relaxed);
        if acknowledged > sent {
            return Err(Beyond {
                stream,
                acknowledged,
                sent,
            });
        }
        self.taken.send_if_modified(|known| {
            let further = acknowledged > *known;
            *known = acknowledged.max(*known);
            further
        });
        Ok(())
    }
}

/// One output. Dropped, it still takes into account what the client said last.
pub struct Output<'a> {
    stream: Stream,
    reader: OutputReader,
    place: &'a Place,
    /// How far the client has come; `None`: what is in the socket is delivered.
    taken: Option<watch::Receiver<u64>>,
}

impl<'a> Output<'a> {
    /// The output of an attachment; `None` where somebody else has taken it.
    pub fn take(attachment: &Attachment, stream: Stream, heard: &'a Heard) -> Option<Output<'a>> {
        let reader = attachment.take_output(stream)?;
        let place = heard.place(stream);
        place.sent.store(reader.position(), Ordering::Relaxed);
        place.taken.send_replace(reader.position());
        Some(Output {
            stream,
            reader,
            place,
            taken: heard.asked.then(|| place.taken.subscribe()),
        })
    }

    /// The offset of what comes next.
    pub fn position(&self) -> u64 {
        self.reader.position()
    }

    /// Send all of it, and wait until the client has it where it says so.
    pub async fn send(&mut self, writer: &Frames<'_>) -> Result<(), Early> {
        let mut ended = false;
        while !(ended && self.is_settled()) {
            let chunk = tokio::select! {
                chunk = output::next(&mut self.reader), if !ended => chunk?,
                () = further(&mut self.taken) => {
                    self.settle();
                    continue;
                }
            };
            match chunk {
                Some(chunk) => {
                    // Before it is sent: the answer may be there before we hear that it was.
                    self.place.sent.store(self.position(), Ordering::Relaxed);
                    pass_on(chunk, self.stream, writer).await?;
                }
                None => ended = true,
            }
            if self.taken.is_none() {
                self.reader.delivered();
            }
        }
        Ok(())
    }

    /// Whether the client has all that was sent.
    fn is_settled(&self) -> bool {
        self.taken
            .as_ref()
            .is_none_or(|taken| *taken.borrow() >= self.position())
    }

    fn settle(&mut self) {
        if let Some(taken) = &self.taken {
            self.reader.delivered_upto(*taken.borrow());
        }
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Wait until the client says that it has come further.
async fn further(taken: &mut Option<watch::Receiver<u64>>) {
    if let Some(taken) = taken
        && taken.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

async fn pass_on(chunk: Chunk, stream: Stream, writer: &Frames<'_>) -> std::io::Result<()> {
    let mut writer = writer.lock().await;
    match chunk {
        Chunk::Data(data) => {
            let kind = match stream {
                Stream::Stdout => ToClient::Stdout,
                Stream::Stderr => ToClient::Stderr,
            };
            writer.send(kind, &data).await
        }
        Chunk::Dropped(bytes) => {
            let dropped = wire::DroppedPart { stream, bytes };
            let told = json::line(&wire::Dropped { dropped });
            writer.send(ToClient::Dropped, &told).await
        }
    }
}
