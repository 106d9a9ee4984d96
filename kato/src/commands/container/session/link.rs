//! One connection to a process: frames out to kato's streams, input and signals in, until either side ends it.
//!
//! What is not known to have arrived stays in [`Local`], for the next connection. What was written is acknowledged when
//! nothing more has come, and at the latest after [`ACK_AFTER`] bytes: often enough that fence can go on, and not for every
//! piece of a flood.

use std::io;

use nix::libc::SIGPIPE;
use tokio::sync::{mpsc, watch};

use super::events::{Event, Events};
use super::input::{Input, Step};
use super::output::{Output, Stream, Written};
use super::terminal::window_size;
use crate::error::{Error, Result};
use crate::fence_api::Attached;
use crate::fence_api::stream::{Dropped, FromFence, Incoming, Offsets, Outgoing, ToFence};

/// Kato's end of the conversation, which outlives a connection.
#[derive(Debug)]
pub struct Local {
    /// Signals and sizes.
    pub events: Events,
    /// What the process reads.
    pub input: Input,
    /// What it writes.
    pub output: Output,
}

/// How much may be written without being acknowledged before the next frame is looked at. A quarter of what fence sends
/// beyond an acknowledgement.
const ACK_AFTER: u64 = 64 * 1024;

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// The process ended with this status.
    Exited(i32),
    /// Fence has given up on the process.
    Failed(String),
    /// The administrator left.
    Detached,
    /// The connection broke; the process may well go on.
    Broken,
}

/// What fence said when the connection began.
#[derive(Clone, Copy)]
struct Facts {
    /// The process has a terminal.
    tty: bool,
    /// Fence can tell what of the input it passed on.
    tells_input: bool,
    /// Fence listens to what kato took of the output.
    hears_output: bool,
}

/// What the reading side tells the writing side.
enum Aside {
    InputTaken(u64),
    ReaderLeft,
}

/// Passes everything both ways until one of them ends it.
pub async fn converse(attached: Attached, local: &mut Local, mut lost: impl FnMut(&Dropped)) -> Result<LinkEnd> {
    let Attached {
        started,
        mut incoming,
        mut outgoing,
    } = attached;
    let (asides, mut heard) = mpsc::unbounded_channel();
    let Local { events, input, output } = local;
    input.connected(started.stdin_window, started.stdin_from);
    output.connected(started.from());
    let (told, taken) = watch::channel(output.taken());
    let facts = Facts {
        tty: started.tty,
        tells_input: started.stdin_window.is_some(),
        hears_output: started.from().is_some(),
    };
    let end = tokio::select! {
        end = deliver(&mut incoming, output, &asides, &told, &mut lost) => end,
        () = feed(&mut outgoing, events, input, &mut heard, taken, facts) => Ok(LinkEnd::Detached),
    };
    // The last that was read may not have been heard any more.
    while let Ok(aside) = heard.try_recv() {
        if let Aside::InputTaken(upto) = aside {
            input.taken(upto);
        }
    }
    end
}

async fn deliver(
    incoming: &mut Incoming,
    output: &mut Output,
    asides: &mpsc::UnboundedSender<Aside>,
    taken: &watch::Sender<Offsets>,
    lost: &mut impl FnMut(&Dropped),
) -> Result<LinkEnd> {
    loop {
        let next = match incoming.arrived() {
            Some(next) => next,
            None => {
                acknowledge(taken, output);
                incoming.next().await
            }
        };
        let frame = match next {
            Ok(Some(frame)) => frame,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(Error::failed("fence sent what kato does not understand").because(error));
            }
            Ok(None) | Err(_) => return Ok(LinkEnd::Broken),
        };
        let written = match frame {
            FromFence::Stdout(data) => output.write(Stream::Stdout, &data).await?,
            FromFence::Stderr(data) => output.write(Stream::Stderr, &data).await?,
            FromFence::Exited(status) => return Ok(LinkEnd::Exited(status)),
            FromFence::Failed(failed) if failed.again => return Ok(LinkEnd::Broken),
            FromFence::Failed(failed) => return Ok(LinkEnd::Failed(failed.error)),
            FromFence::Dropped(dropped) => {
                skip(dropped, output, lost);
                Written::Done
            }
            FromFence::InputTaken(upto) => {
                // The other side is there as long as this one is.
                let _ = asides.send(Aside::InputTaken(upto));
                Written::Done
            }
            FromFence::Started(_) => Written::Done,
        };
        if output.taken().since(*taken.borrow()) >= ACK_AFTER {
            acknowledge(taken, output);
        }
        if written == Written::ReaderLeft {
            let _ = asides.send(Aside::ReaderLeft);
        }
    }
}

/// What was written until now may be acknowledged.
fn acknowledge(taken: &watch::Sender<Offsets>, output: &Output) {
    let now = output.taken();
    taken.send_if_modified(|known| std::mem::replace(known, now) != now);
}

/// Passes over what was dropped, and tells what of it nobody has seen.
fn skip(mut dropped: Dropped, output: &mut Output, lost: &mut impl FnMut(&Dropped)) {
    let stream = match dropped.stream.as_str() {
        "stderr" => Stream::Stderr,
        _ => Stream::Stdout,
    };
    dropped.bytes = output.skip(stream, dropped.bytes);
    if dropped.bytes > 0 {
        lost(&dropped);
    }
}

/// Ends only when the administrator leaves: of a broken connection the reading side knows when all was read.
async fn feed(
    outgoing: &mut Outgoing,
    events: &mut Events,
    input: &mut Input,
    heard: &mut mpsc::UnboundedReceiver<Aside>,
    taken: watch::Receiver<Offsets>,
    facts: Facts,
) {
    if try_feed(outgoing, events, input, heard, taken, facts).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn try_feed(
    outgoing: &mut Outgoing,
    events: &mut Events,
    input: &mut Input,
    heard: &mut mpsc::UnboundedReceiver<Aside>,
    mut taken: watch::Receiver<Offsets>,
    facts: Facts,
) -> io::Result<()> {
    if facts.tells_input {
        outgoing.send(ToFence::TellInputTaken).await?;
    }
    if facts.tty {
        send_size(outgoing).await?;
    }
    loop {
        // In this order: a signal must not wait behind the input, and what was taken is told before kato leaves.
        tokio::select! {
            biased;
            Some(aside) = heard.recv() => match aside {
                Aside::InputTaken(upto) => input.taken(upto),
                // What the kernel does to a program of this machine whose reader left.
                Aside::ReaderLeft => outgoing.send(ToFence::Signal(SIGPIPE)).await?,
            },
            Ok(()) = taken.changed(), if facts.hears_output => {
                let upto = *taken.borrow_and_update();
                outgoing.send(ToFence::OutputTaken(upto)).await?;
            }
            event = events.next() => {
                match event {
                    Event::Signal(signal) => outgoing.send(ToFence::Signal(signal)).await?,
                    Event::Resized if facts.tty => send_size(outgoing).await?,
                    Event::Resized => {}
                }
                events.done();
            }
            step = input.step() => match step {
                Step::Send(piece) => {
                    outgoing.send(ToFence::Stdin(piece)).await?;
                    input.sent();
                }
                Step::End => {
                    outgoing.send(ToFence::StdinEnd).await?;
                    input.end_sent();
                }
                Step::Detach => return Ok(()),
            },
        }
    }
}

async fn send_size(outgoing: &mut Outgoing) -> io::Result<()> {
    match window_size() {
        Some(size) => {
            outgoing
                .send(ToFence::Resize {
                    columns: size.columns,
                    rows: size.rows,
                })
                .await
        }
        None => Ok(()),
    }
}
