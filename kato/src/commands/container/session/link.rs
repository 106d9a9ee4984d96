//! One connection to a process: frames out to kato's streams, input and signals in, until either side ends it.
//!
//! What is not known to have arrived stays in [`Local`], for the next connection.

use std::io;

use nix::libc::SIGPIPE;
use tokio::sync::mpsc;

use super::events::{Event, Events};
use super::input::{Input, Step};
use super::output::{Output, Stream, Written};
use super::terminal::window_size;
use crate::error::{Error, Result};
use crate::fence_api::Attached;
use crate::fence_api::stream::{Dropped, FromFence, Incoming, Outgoing, ToFence};

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
    input.connected(started.stdin_window);
    let facts = Facts {
        tty: started.tty,
        tells_input: started.stdin_window.is_some(),
    };
    let end = tokio::select! {
        end = deliver(&mut incoming, output, &asides, &mut lost) => end,
        () = feed(&mut outgoing, events, input, &mut heard, facts) => Ok(LinkEnd::Detached),
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
    lost: &mut impl FnMut(&Dropped),
) -> Result<LinkEnd> {
    loop {
        let frame = match incoming.next().await {
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
                lost(&dropped);
                Written::Done
            }
            FromFence::InputTaken(upto) => {
                // The other side is there as long as this one is.
                let _ = asides.send(Aside::InputTaken(upto));
                Written::Done
            }
            FromFence::Started(_) => Written::Done,
        };
        if written == Written::ReaderLeft {
            let _ = asides.send(Aside::ReaderLeft);
        }
    }
}

/// Ends only when the administrator leaves: of a broken connection the reading side knows when all was read.
async fn feed(
    outgoing: &mut Outgoing,
    events: &mut Events,
    input: &mut Input,
    heard: &mut mpsc::UnboundedReceiver<Aside>,
    facts: Facts,
) {
    if try_feed(outgoing, events, input, heard, facts).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn try_feed(
    outgoing: &mut Outgoing,
    events: &mut Events,
    input: &mut Input,
    heard: &mut mpsc::UnboundedReceiver<Aside>,
    facts: Facts,
) -> io::Result<()> {
    if facts.tells_input {
        outgoing.send(ToFence::TellInputTaken).await?;
    }
    if facts.tty {
        send_size(outgoing).await?;
    }
    loop {
        // In this order: a signal must not wait behind the input.
        tokio::select! {
            biased;
            Some(aside) = heard.recv() => match aside {
                Aside::InputTaken(upto) => input.taken(upto),
                // What the kernel does to a program of this machine whose reader left.
                Aside::ReaderLeft => outgoing.send(ToFence::Signal(SIGPIPE)).await?,
            },
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
