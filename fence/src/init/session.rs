//! One connection of a container's init: frames in and out, requests matched with their answers.
//!
//! What arrives is untrusted. A frame that cannot be, or output beyond the window, ends the connection; the container's
//! processes go on, and init comes back with a new one. An answer nobody waits for any more is passed over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fence_init::frame::{self, Decoder, Frame};
use fence_init::protocol::{Exit, Failure, FromInit, MAX_DATA, ProcessEntry, Stream, ToInit, VERSION, WINDOW};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::control::InputSource;
use super::output::{Item, Outlet};
use super::{Error, Result};

/// How long init may take for one answer. It answers in well under a millisecond unless its container is starved.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(20);
/// How long init may take to say hello, and to take in what fence sends.
const HELLO: std::time::Duration = std::time::Duration::from_secs(10);
/// The most marks of dropped output that may wait for one reader.
const MAX_MARKS: u32 = 1024;
/// The most processes init may list.
const MAX_LISTED: usize = 16_384;
/// The most processes that nobody knows whose end init may tell on one connection: those whose start was given up. Each
/// is answered, and an init that reads no answers must not make a heap of them.
pub(super) const MAX_STRANGERS: u32 = 4096;

/// What the reader of a session tells its owner.
pub(super) enum Notice {
    Exited { id: String, exit: Exit },
    InputAck { process: u32, upto: u64 },
}

/// A connection that can be asked. Clones are the same connection.
#[derive(Clone)]
pub(super) struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    out: mpsc::UnboundedSender<Vec<u8>>,
    seq: AtomicU64,
    attachment: std::sync::atomic::AtomicU32,
    input_sources: bool,
    logs: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    answers: HashMap<u64, oneshot::Sender<FromInit>>,
    outlets: HashMap<(u32, Stream), Outlet>,
}

impl Session {
    /// Greet init on a connection whose peer was checked. Gives the session, what init runs, and what drives it.
    pub(super) async fn open(stream: UnixStream) -> Result<(Session, Vec<ProcessEntry>, Driver)> {
        let (mut read, write) = stream.into_split();
        let mut decoder = Decoder::new();
        let hello = tokio::time::timeout(HELLO, next_frame(&mut read, &mut decoder));
        let hello = hello
            .await
            .map_err(|_| unreachable_because("it did not say hello in time"))??;
        let Some(Frame::Control(json)) = hello else {
            return Err(unreachable_because("it did not say hello"));
        };
        match frame::message(&json) {
            Ok(FromInit::Hello {
                protocol,
                processes,
                input_sources,
                logs,
                ..
            }) if protocol >= 1 && protocol <= VERSION => {
                if processes.len() > MAX_LISTED {
                    return Err(unreachable_because("it lists more processes than can be"));
                }
                let (out, frames) = mpsc::unbounded_channel();
                let inner = Inner {
                    out,
                    seq: AtomicU64::new(1),
                    attachment: std::sync::atomic::AtomicU32::new(1),
                    input_sources,
                    logs,
                    state: Mutex::default(),
                };
                let session = Session { inner: Arc::new(inner) };
                let driver = Driver {
                    session: session.clone(),
                    read,
                    write,
                    decoder,
                    frames,
                };
                Ok((session, processes, driver))
            }
            Ok(FromInit::Hello { protocol, .. }) => Err(Error::Unreachable(format!(
                "it speaks protocol {protocol}, this fence up to {VERSION}"
            ))),
            Ok(_) | Err(_) => Err(unreachable_because("its hello makes no sense")),
        }
    }

    /// Whether both are the same connection.
    pub(super) fn is(&self, other: &Session) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether the connection is over.
    pub(super) fn is_lost(&self) -> bool {
        self.inner.out.is_closed()
    }

    /// Wait until the connection is over.
    pub(super) async fn lost(&self) {
        self.inner.out.closed().await;
    }

    /// A number for a new attachment.
    pub(super) fn next_attachment(&self) -> u32 {
        self.inner.attachment.fetch_add(1, Ordering::Relaxed)
    }

    /// Where the output of an attachment is to go. Call it before init is told of the attachment.
    pub(super) fn open_outlet(&self, attachment: u32, stream: Stream) -> mpsc::UnboundedReceiver<Item> {
        let (items, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        if !state.closed {
            state.outlets.insert(
                (attachment, stream),
                Outlet {
                    items,
                    unacked: 0,
                    marks: 0,
                },
            );
        }
        receiver
    }

    /// Forget where the output of an attachment goes.
    pub(super) fn close_outlets(&self, attachment: u32) {
        let mut state = self.state();
        state.outlets.remove(&(attachment, Stream::Stdout));
        state.outlets.remove(&(attachment, Stream::Stderr));
    }

    /// `bytes` more of the stream were passed on, so that much more may come.
    pub(super) fn acked(&self, attachment: u32, stream: Stream, bytes: u64) {
        if let Some(outlet) = self.state().outlets.get_mut(&(attachment, stream)) {
            outlet.unacked = outlet.unacked.saturating_sub(bytes);
            outlet.marks = 0;
        }
    }

    /// Send a message that has no answer. A lost connection swallows it, as it would on its way.
    pub(super) fn tell(&self, message: &ToInit) {
        if let Ok(frame) = frame::encode_control(message) {
            // A closed channel is a lost connection.
            let _ = self.inner.out.send(frame);
        }
    }

    /// Send input to a process. At most [`MAX_DATA`] bytes.
    pub(super) fn input(&self, process: u32, data: &Bytes) -> Result<()> {
        debug_assert!(data.len() <= MAX_DATA);
        let frame = frame::encode_input(process, data).map_err(|error| Error::Unreachable(error.to_string()))?;
        self.inner.out.send(frame).map_err(|_| lost())
    }

    /// Whether init passes over what it has of a source's input.
    pub(super) fn knows_input_sources(&self) -> bool {
        self.inner.input_sources
    }

    /// Whether init keeps a place in outputs for a log.
    pub(super) fn knows_logs(&self) -> bool {
        self.inner.logs
    }

    /// The same for input of a source.
    pub(super) fn input_from(&self, process: u32, source: &InputSource, data: &Bytes) -> Result<()> {
        let frame = frame::encode_input_from(process, source.name, source.at, data);
        let frame = frame.map_err(|error| Error::Unreachable(error.to_string()))?;
        self.inner.out.send(frame).map_err(|_| lost())
    }

    /// Send a request and wait for its answer.
    pub(super) async fn ask(&self, request: impl FnOnce(u64) -> ToInit) -> Result<FromInit> {
        let seq = self.inner.seq.fetch_add(1, Ordering::Relaxed);
        let frame = frame::encode_control(&request(seq)).map_err(|error| {
            let message = format!("the request is too large for the first process: {error}");
            Error::Refused(Failure {
                kind: fence_init::protocol::FailureKind::Invalid,
                message,
            })
        })?;
        let (answer, receiver) = oneshot::channel();
        {
            let mut state = self.state();
            if state.closed {
                return Err(lost());
            }
            state.answers.insert(seq, answer);
        }
        self.inner.out.send(frame).map_err(|_| lost())?;
        let answer = tokio::time::timeout(ANSWER, receiver).await;
        self.state().answers.remove(&seq);
        match answer {
            Ok(Ok(FromInit::Failed { error, .. })) => Err(Error::Refused(error)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(lost()),
            Err(_) => Err(Error::Unreachable(format!("no answer within {} s", ANSWER.as_secs()))),
        }
    }

    /// The connection is over: whoever waits is told.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.answers.clear();
        state.outlets.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take in one frame. `Err` = it cannot be, end the connection.
    fn take(&self, frame: Frame) -> std::result::Result<Option<Notice>, &'static str> {
        match frame {
            Frame::Output {
                attachment,
                stream,
                data,
            } => self.output(attachment, stream, data),
            Frame::Control(json) => match frame::message(&json) {
                Ok(message) => self.message(message),
                Err(_) => Err("it sent a message that makes no sense"),
            },
            Frame::Input { .. } | Frame::InputFrom { .. } => Err("it sent input"),
        }
    }

    fn output(
        &self,
        attachment: u32,
        stream: Stream,
        data: Vec<u8>,
    ) -> std::result::Result<Option<Notice>, &'static str> {
        let mut state = self.state();
        // An attachment that has just been ended may still have output on its way.
        if let Some(outlet) = state.outlets.get_mut(&(attachment, stream)) {
            outlet.unacked += data.len() as u64;
            if data.is_empty() || outlet.unacked > WINDOW {
                return Err("it sent no output, or more than it may");
            }
            // A reader that is gone ends its attachment by itself.
            let _ = outlet.items.send(Item::Data(data.into()));
        }
        Ok(None)
    }

    fn message(&self, message: FromInit) -> std::result::Result<Option<Notice>, &'static str> {
        match message {
            FromInit::Exited { id, exit } => return Ok(Some(Notice::Exited { id, exit })),
            FromInit::InputAck { process, upto } => return Ok(Some(Notice::InputAck { process, upto })),
            FromInit::Dropped {
                attachment,
                stream,
                from,
                upto,
            } => {
                self.mark(attachment, stream, from, upto)?;
            }
            FromInit::StreamEnd { attachment, stream } => {
                self.item(attachment, stream, Item::End);
                self.state().outlets.remove(&(attachment, stream));
            }
            FromInit::Spawned { seq, .. }
            | FromInit::Attached { seq, .. }
            | FromInit::Done { seq }
            | FromInit::Listed { seq, .. }
            | FromInit::InputSource { seq, .. }
            | FromInit::Failed { seq, .. } => {
                // Whoever asked may have given up.
                if let Some(waiter) = self.state().answers.remove(&seq) {
                    let _ = waiter.send(message);
                }
            }
            FromInit::Hello { .. } => return Err("it said hello twice"),
        }
        Ok(None)
    }

    fn mark(&self, attachment: u32, stream: Stream, from: u64, upto: u64) -> std::result::Result<(), &'static str> {
        if let Some(outlet) = self.state().outlets.get_mut(&(attachment, stream)) {
            outlet.marks += 1;
            if outlet.marks > MAX_MARKS || from >= upto {
                return Err("it marks dropped output that cannot be");
            }
            let _ = outlet.items.send(Item::Dropped { upto });
        }
        Ok(())
    }

    fn item(&self, attachment: u32, stream: Stream, item: Item) {
        if let Some(outlet) = self.state().outlets.get(&(attachment, stream)) {
            let _ = outlet.items.send(item);
        }
    }
}

/// Moves a session's bytes until the connection ends.
pub(super) struct Driver {
    session: Session,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    decoder: Decoder,
    frames: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Driver {
    /// Run until the connection ends; `notice` gets what concerns more than one request, and says whether it can be.
    /// Returns why it ended.
    pub(super) async fn run(self, mut notice: impl FnMut(Notice) -> bool) -> String {
        let Driver {
            session,
            mut read,
            mut write,
            mut decoder,
            mut frames,
        } = self;
        let writing = async move {
            while let Some(frame) = frames.recv().await {
                match tokio::time::timeout(HELLO, write.write_all(&frame)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error.to_string(),
                    Err(_) => return "it takes nothing in any more".to_owned(),
                }
            }
            "the session was given up".to_owned()
        };
        let reader = session.clone();
        let reading = async move {
            loop {
                let frame = match next_frame(&mut read, &mut decoder).await {
                    Ok(Some(frame)) => frame,
                    Ok(None) => return "it closed the connection".to_owned(),
                    Err(error) => return error.to_string(),
                };
                match reader.take(frame) {
                    Ok(None) => {}
                    Ok(Some(happened)) => {
                        if !notice(happened) {
                            return "it told of a process that cannot be".to_owned();
                        }
                    }
                    Err(reason) => return reason.to_owned(),
                }
            }
        };
        let reason = tokio::select! {
            reason = reading => reason,
            reason = writing => reason,
        };
        session.close();
        reason
    }
}

async fn next_frame(read: &mut OwnedReadHalf, decoder: &mut Decoder) -> Result<Option<Frame>> {
    let mut buffer = vec![0; MAX_DATA];
    loop {
        if let Some(frame) = decoder
            .next_frame()
            .map_err(|error| Error::Unreachable(error.to_string()))?
        {
            return Ok(Some(frame));
        }
        let count = read
            .read(&mut buffer)
            .await
            .map_err(|error| Error::Unreachable(error.to_string()))?;
        if count == 0 {
            return Ok(None);
        }
        decoder.push(&buffer[..count]);
    }
}

/// The connection is over.
pub(super) fn lost() -> Error {
    unreachable_because("the connection was lost")
}

fn unreachable_because(reason: &str) -> Error {
    Error::Unreachable(reason.to_owned())
}
