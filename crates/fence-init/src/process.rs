//! One process that init started: its stage, its input and its outputs. The table owns it.
//!
//! ```text
//! starting ──executed──▶ running ──died──▶ ended ──collected──▶ (forgotten)
//!     ├──could not execute──▶ (forgotten, and told to whoever asked)
//!     └──asker is gone──▶ (killed and forgotten)
//! ```

use fence_init::protocol::{Exit, Failure, FromInit, ProcessEntry, SpawnSpec, Stream, WindowSize};
use nix::errno::Errno;

use crate::failure::system;
use crate::input::Input;
use crate::poll::{Part, Poll, Token, Watched};
use crate::spawn::{self, Child};
use crate::stream::Output;

/// How far a process has come.
#[derive(Debug)]
pub enum Stage {
    /// Forked; `report` tells whether it executes, `seq` is what to answer.
    Starting {
        report: Watched,
        seq: u64,
    },
    Running,
    Ended(Exit),
}

/// One process.
#[derive(Debug)]
pub struct Process {
    pub id: String,
    pub number: u32,
    pub pid: i32,
    pub tty: bool,
    /// Fence's number for this run, where its output is for a log too.
    pub log: u64,
    pub stage: Stage,
    pub input: Input,
    stdout: Output,
    stderr: Output,
}

impl Process {
    /// Takes over a child that was just forked and begins to watch it.
    pub fn new(poll: &Poll, number: u32, seq: u64, spec: &SpawnSpec, child: Child) -> Result<Self, Failure> {
        let adopt = |fd, part| poll.adopt(fd, Token::Process(number, part));
        let tty = spec.tty.is_some();
        let limit = spawn::buffer(spec);
        let mut report = adopt(child.report, Part::Report);
        report
            .want(true, false)
            .map_err(|errno| system("watch a new process", errno))?;
        let mut process = Self {
            id: spec.id.clone(),
            number,
            pid: child.pid,
            tty,
            log: spec.log,
            stage: Stage::Starting { report, seq },
            input: Input::new(adopt(child.streams.input, Part::Input), tty),
            stdout: Output::new(Some(adopt(child.streams.stdout, Part::Stdout)), limit),
            stderr: Output::new(child.streams.stderr.map(|fd| adopt(fd, Part::Stderr)), limit),
        };
        if spec.log != 0 {
            process.stdout.backlog.keep_for_log();
            process.stderr.backlog.keep_for_log();
        }
        process.refresh();
        Ok(process)
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        match self.stage {
            Stage::Ended(exit) => Some(exit),
            Stage::Starting { .. } | Stage::Running => None,
        }
    }

    /// Whether fence may know of it: not while it waits for the answer to its start.
    pub fn visible(&self) -> bool {
        !matches!(self.stage, Stage::Starting { .. })
    }

    /// Whether anybody is attached.
    pub fn is_attached(&self) -> bool {
        self.stdout.backlog.attachments().next().is_some()
    }

    /// Its line in a list.
    pub fn entry(&self) -> ProcessEntry {
        ProcessEntry {
            id: self.id.clone(),
            process: self.number,
            pid: self.pid,
            tty: self.tty,
            exit: self.exit(),
            log: self.log,
        }
    }

    /// One of its outputs.
    pub fn output(&mut self, stream: Stream) -> &mut Output {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// How many bytes of output are kept.
    pub fn kept(&self) -> usize {
        self.stdout.backlog.kept() + self.stderr.backlog.kept()
    }

    /// Whether all that its readers asked for has reached them.
    pub fn delivered(&self) -> bool {
        self.stdout.backlog.delivered() && self.stderr.backlog.delivered()
    }

    /// Watches what can be used now.
    pub fn refresh(&mut self) {
        self.stdout.refresh();
        self.stderr.refresh();
    }

    /// It has ended: nothing is passed to it any more, and its output ends with what it wrote.
    pub fn end(&mut self, exit: Exit, scratch: &mut [u8]) {
        self.input.abandon();
        self.stdout.finish(scratch);
        self.stderr.finish(scratch);
        self.stage = Stage::Ended(exit);
    }

    /// The connection is gone, and with it who attached.
    pub fn disconnect(&mut self) {
        for output in [&mut self.stdout, &mut self.stderr] {
            output.backlog.detach_all();
            output.refresh();
        }
        self.input.reset();
    }

    /// Sets the size of its terminal.
    pub fn resize(&self, size: WindowSize) -> nix::Result<()> {
        if self.tty {
            self.stdout.resize(size)
        } else {
            Err(Errno::ENOTTY)
        }
    }

    /// What those attached have to be told when it is forgotten: which bytes they will not get, and that no more come.
    /// Who has not opened a stream yet is told too, since its first ack will find nobody.
    pub fn farewell(&self) -> Vec<FromInit> {
        let mut told = Vec::new();
        for (stream, output) in [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)] {
            for (attachment, lost) in output.backlog.unserved() {
                if !lost.is_empty() {
                    told.push(FromInit::Dropped {
                        attachment,
                        stream,
                        from: lost.start,
                        upto: lost.end,
                    });
                }
                told.push(FromInit::StreamEnd { attachment, stream });
            }
        }
        told
    }

    /// What is left of it that has to be read and thrown away.
    pub fn into_sources(self) -> impl Iterator<Item = Watched> {
        [self.stdout, self.stderr].into_iter().filter_map(Output::into_source)
    }
}
