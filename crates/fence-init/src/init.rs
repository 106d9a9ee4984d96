//! Init itself: one thread that waits for signals, pipes and the connection to fence, and acts on what comes. Owns all
//! other parts; what fence asks for is in [`requests`](crate::requests).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use fence_init::frame::Frame;
use fence_init::frame::message;
use fence_init::protocol::{Exit, FromInit, Stream, VERSION};
use nix::sys::signalfd::SignalFd;

use crate::limits::OpenFiles;
use crate::link::{Link, Lost};
use crate::output::Piece;
use crate::poll::{Part, Poll, Token};
use crate::process::Stage;
use crate::reap;
use crate::signals::{self, Heard};
use crate::spawn;
use crate::stop::Stop;
use crate::table::Table;

/// How much is read at once, in bytes.
const SCRATCH: usize = 64 * 1024;
/// What this build calls itself.
const BUILD: &str = env!("CARGO_PKG_VERSION");

/// Everything init has.
pub struct Init {
    poll: Poll,
    signals: SignalFd,
    pub(crate) link: Link,
    pub(crate) table: Table,
    /// Attachments that may have something to be sent.
    sendable: BTreeSet<(u32, Stream, u32)>,
    /// Which of them was served last; the others come first.
    served: (u32, Stream, u32),
    /// Processes whose input may have something to be acknowledged.
    acknowledgeable: BTreeSet<u32>,
    pub(crate) files: OpenFiles,
    pub(crate) stop: Option<Stop>,
    scratch: Box<[u8]>,
}

impl Init {
    /// Sets everything up to connect to fence at `path`.
    pub fn new(path: &Path) -> nix::Result<Self> {
        let poll = Poll::new()?;
        let signals = signals::listen()?;
        poll.watch_always(&signals, Token::Signals)?;
        let link = Link::new(path, poll.clone(), Instant::now())?;
        Ok(Self {
            poll,
            signals,
            link,
            table: Table::default(),
            sendable: BTreeSet::new(),
            served: (0, Stream::Stdout, 0),
            acknowledgeable: BTreeSet::new(),
            files: OpenFiles::raise()?,
            stop: None,
            scratch: vec![0; SCRATCH].into(),
        })
    }

    /// The poll that new processes are watched by.
    pub(crate) fn poll(&self) -> &Poll {
        &self.poll
    }

    /// Runs until the container is to stop and has.
    pub fn run(mut self) -> nix::Result<()> {
        loop {
            let connected = self.link.try_connect(Instant::now());
            let outcome = if connected { self.hello() } else { Ok(()) };
            if outcome.and_then(|()| self.converse()).is_err() {
                self.disconnect();
            }
            let now = Instant::now();
            if self
                .stop
                .as_mut()
                .is_some_and(|stop| stop.advance(now, &self.table, &self.link))
            {
                return Ok(());
            }
            for token in self.poll.wait(self.patience(now))? {
                if self.ready(token).is_err() {
                    self.disconnect();
                }
            }
        }
    }

    /// How long to wait if nothing happens.
    fn patience(&self, now: Instant) -> Option<Duration> {
        let stop = self.stop.as_ref().map(Stop::deadline);
        let next = [self.link.next_try(), stop].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Acts on one thing that is ready.
    fn ready(&mut self, token: Token) -> Result<(), Lost> {
        match token {
            Token::Link => self.link.read(&mut self.scratch),
            Token::Signals => self.hear(),
            Token::Process(number, part) => match part {
                Part::Report => self.conclude_start(number),
                Part::Input => {
                    self.write_input(number);
                    Ok(())
                }
                Part::Stdout => self.read_output(token, number, Stream::Stdout),
                Part::Stderr => self.read_output(token, number, Stream::Stderr),
            },
        }
    }

    fn hear(&mut self) -> Result<(), Lost> {
        let mut outcome = Ok(());
        while let Some(heard) = signals::hear(&self.signals) {
            match heard {
                // Every child is reaped, also where fence cannot be told any more.
                Heard::Child => outcome = self.reap().and(outcome),
                Heard::Stop => self.stop = Some(Stop::begin(Instant::now())),
            }
        }
        outcome
    }

    fn reap(&mut self) -> Result<(), Lost> {
        let mut outcome = Ok(());
        while let Some((pid, exit)) = reap::next() {
            if let Some(number) = self.table.take_pid(pid) {
                outcome = self.ended(number, exit).and(outcome);
            }
        }
        outcome
    }

    fn ended(&mut self, number: u32, exit: Exit) -> Result<(), Lost> {
        // Whether it executed at all is known by now, and comes first.
        let started = self.conclude_start(number);
        let Some(process) = self.table.get(number) else {
            return started;
        };
        process.end(exit, &mut self.scratch);
        let told = FromInit::Exited {
            id: process.id.clone(),
            exit,
        };
        self.acknowledgeable.insert(number);
        self.touch(number, Stream::Stdout);
        self.touch(number, Stream::Stderr);
        self.table.ended(number);
        started.and(self.link.send(&told))
    }

    /// Tells who asked for a process whether it executes, once that is known.
    fn conclude_start(&mut self, number: u32) -> Result<(), Lost> {
        let Some(process) = self.table.get(number) else {
            return Ok(());
        };
        let Stage::Starting { report, seq } = &process.stage else {
            return Ok(());
        };
        let (Some(outcome), seq) = (spawn::outcome(report), *seq) else {
            return Ok(());
        };
        process.stage = Stage::Running;
        let told = match (outcome, seq) {
            (Ok(()), Some(seq)) => FromInit::Spawned {
                seq,
                process: number,
                pid: process.pid,
            },
            (Err(error), Some(seq)) => {
                self.table.remove(number);
                FromInit::Failed { seq, error }
            }
            // Nobody waits any more. One that did not execute ends now and is listed like any other.
            (_, None) => return Ok(()),
        };
        self.touch(number, Stream::Stdout);
        self.touch(number, Stream::Stderr);
        self.link.send(&told)
    }

    fn read_output(&mut self, token: Token, number: u32, stream: Stream) -> Result<(), Lost> {
        match self.table.get(number) {
            Some(process) => {
                if process.output(stream).read(&mut self.scratch) {
                    self.touch(number, stream);
                }
            }
            None => self.table.read_leftover(token, &mut self.scratch),
        }
        Ok(())
    }

    /// Passes on what waits for a process.
    pub(crate) fn write_input(&mut self, number: u32) {
        if let Some(process) = self.table.get(number) {
            process.input.write();
            self.acknowledgeable.insert(number);
        }
    }

    /// Notes that an output may have something for its attachments.
    pub(crate) fn touch(&mut self, number: u32, stream: Stream) {
        if let Some(process) = self.table.get(number) {
            let attachments = process.output(stream).backlog.attachments();
            self.sendable
                .extend(attachments.map(|attachment| (number, stream, attachment)));
        }
    }

    /// Takes in what has come from fence and sends what there is for it, as far as the connection goes.
    fn converse(&mut self) -> Result<(), Lost> {
        loop {
            let mut busy = false;
            while let Some(frame) = self.link.next_frame()? {
                busy = true;
                self.take(frame)?;
            }
            busy |= self.send_waiting()?;
            self.link.flush()?;
            if !busy || !self.link.is_flushed() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, frame: Frame) -> Result<(), Lost> {
        match frame {
            Frame::Control(json) => self.request(message(&json).map_err(|_| Lost)?),
            Frame::Input { process, data } => {
                if let Some(known) = self.table.get(process) {
                    known.input.receive(&data).map_err(|_| Lost)?;
                    self.acknowledgeable.insert(process);
                }
                Ok(())
            }
            Frame::Output { .. } => Err(Lost),
        }
    }

    /// Queues acknowledgements, then output in turns, one piece for each attachment.
    fn send_waiting(&mut self) -> Result<bool, Lost> {
        let mut sent = false;
        if self.link.has_room() {
            for number in std::mem::take(&mut self.acknowledgeable) {
                if let Some(upto) = self.table.get(number).and_then(|process| process.input.ack()) {
                    self.link.send(&FromInit::InputAck { process: number, upto })?;
                    sent = true;
                }
            }
        }
        while self.link.has_room() {
            let next = self.sendable.range(self.served..).find(|place| **place != self.served);
            let Some(place) = next.or_else(|| self.sendable.first()).copied() else {
                break;
            };
            self.served = place;
            if self.send_piece(place)? {
                sent = true;
            } else {
                self.sendable.remove(&place);
            }
        }
        Ok(sent)
    }

    fn send_piece(&mut self, (number, stream, attachment): (u32, Stream, u32)) -> Result<bool, Lost> {
        let Some(process) = self.table.get(number) else {
            return Ok(false);
        };
        if !process.visible() {
            return Ok(false);
        }
        match process.output(stream).backlog.next(attachment) {
            None => return Ok(false),
            Some(Piece::Data(data)) => self.link.send_output(attachment, stream, data)?,
            Some(Piece::Dropped { from, upto }) => {
                self.link.send(&FromInit::Dropped {
                    attachment,
                    stream,
                    from,
                    upto,
                })?;
            }
            Some(Piece::End) => self.link.send(&FromInit::StreamEnd { attachment, stream })?,
        }
        Ok(true)
    }

    fn hello(&mut self) -> Result<(), Lost> {
        let processes = self.table.entries();
        self.link.send(&FromInit::Hello {
            protocol: VERSION,
            build: BUILD.into(),
            processes,
        })
    }

    /// The connection is lost: processes, their output and exits stay, attachments go.
    fn disconnect(&mut self) {
        self.link.disconnect(Instant::now());
        self.table.disconnect();
        self.sendable.clear();
        self.acknowledgeable.clear();
    }
}
