//! Init itself: one thread that waits for signals, pipes and the connection to fence, and acts on what comes. Owns all
//! other parts; what fence asks for is in [`requests`](crate::requests).

use std::path::Path;
use std::time::{Duration, Instant};

use fence_init::frame::Frame;
use fence_init::frame::message;
use fence_init::protocol::{Exit, FromInit, Stream, VERSION};
use nix::sys::signalfd::SignalFd;

use crate::limits::OpenFiles;
use crate::link::{Link, Lost};
use crate::outbox::Outbox;
use crate::poll::{Part, Poll, Token};
use crate::process::Stage;
use crate::reach::Reach;
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
    pub(crate) outbox: Outbox,
    pub(crate) files: OpenFiles,
    pub(crate) stop: Option<Stop>,
    pub(crate) reach: Reach,
    scratch: Box<[u8]>,
}

impl Init {
    /// Sets everything up to connect to fence at `path`.
    pub fn new(path: &Path, reach: Reach) -> nix::Result<Self> {
        let poll = Poll::new()?;
        let signals = signals::listen()?;
        poll.watch_always(&signals, Token::Signals)?;
        let link = Link::new(path, poll.clone(), Instant::now())?;
        Ok(Self {
            poll,
            signals,
            link,
            table: Table::default(),
            outbox: Outbox::new(),
            files: OpenFiles::raise()?,
            stop: None,
            reach,
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
                Heard::Child => outcome = self.reap().and(outcome),
                Heard::Stop => self.stop = Some(Stop::begin(Instant::now(), self.reach)),
            }
        }
        outcome
    }

    /// Reaps every child that has ended, also where fence cannot be told of it any more.
    pub(crate) fn reap(&mut self) -> Result<(), Lost> {
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
        self.outbox.outputs_changed(process);
        self.outbox.input_changed(number);
        let told = FromInit::Exited {
            id: process.id.clone(),
            exit,
        };
        let forgotten = self.table.ended(number);
        started
            .and(self.link.send(&told))
            .and_then(|()| self.link.send_each(&forgotten))
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
        self.outbox.outputs_changed(process);
        let told = match outcome {
            Ok(()) => FromInit::Spawned {
                seq,
                process: number,
                pid: process.pid,
            },
            Err(error) => {
                // The failure itself says that there is no attachment either.
                self.table.remove(number);
                FromInit::Failed { seq, error }
            }
        };
        self.link.send(&told)
    }

    fn read_output(&mut self, token: Token, number: u32, stream: Stream) -> Result<(), Lost> {
        match self.table.get(number) {
            Some(process) => {
                if process.output(stream).read(&mut self.scratch) {
                    self.outbox.output_changed(process, stream);
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
            self.outbox.input_changed(number);
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
            busy |= self.outbox.send(&mut self.table, &mut self.link)?;
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
                    self.outbox.input_changed(process);
                }
                Ok(())
            }
            Frame::InputFrom {
                process,
                source,
                from,
                data,
            } => {
                if let Some(known) = self.table.get(process) {
                    known.input.receive_from(source, from, &data).map_err(|_| Lost)?;
                    self.outbox.input_changed(process);
                }
                Ok(())
            }
            Frame::Output { .. } => Err(Lost),
        }
    }

    fn hello(&mut self) -> Result<(), Lost> {
        let processes = self.table.entries();
        self.link.send(&FromInit::Hello {
            protocol: VERSION,
            build: BUILD.into(),
            processes,
            input_sources: true,
            logs: true,
        })
    }

    /// The connection is lost: processes, their output and exits stay, attachments and starts that were not answered go.
    fn disconnect(&mut self) {
        self.link.disconnect(Instant::now());
        for pid in self.table.disconnect() {
            signals::kill_group(pid);
        }
        self.outbox.clear();
    }
}
