//! Plays fence's side of one connection.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use fence_init::frame::{self, Decoder, Frame};
use fence_init::protocol::*;
use nix::sys::signal::Signal;

use crate::container::PATIENCE;

/// What init sent.
#[derive(Debug)]
pub enum Incoming {
    Message(FromInit),
    Output {
        attachment: u32,
        stream: Stream,
        data: Vec<u8>,
    },
}

/// A process that was started, with the attachment that came with it.
#[derive(Clone, Debug)]
pub struct Started {
    pub id: String,
    pub number: u32,
    pub pid: i32,
    pub attachment: u32,
}

/// Fence's end of one connection.
pub struct Peer {
    pub stream: UnixStream,
    decoder: Decoder,
    seq: u64,
    attachment: u32,
    inbox: VecDeque<Incoming>,
    /// The processes init greeted with.
    pub hello: Vec<ProcessEntry>,
}

impl Peer {
    /// Takes over a connection of init's and reads its greeting.
    pub fn greet(stream: UnixStream) -> Self {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut peer = Self {
            stream,
            decoder: Decoder::new(),
            seq: 0,
            attachment: 0,
            inbox: VecDeque::new(),
            hello: vec![],
        };
        let Incoming::Message(FromInit::Hello {
            protocol: VERSION,
            processes,
            ..
        }) = peer.next()
        else {
            panic!("no hello");
        };
        peer.hello = processes;
        peer
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a message.
    pub fn send(&mut self, message: &ToInit) {
        self.send_raw(&frame::encode_control(message).unwrap());
    }

    /// Sends input.
    pub fn input(&mut self, process: u32, data: &[u8]) {
        self.send_raw(&frame::encode_input(process, data).unwrap());
    }

    /// Sends input of a source.
    pub fn input_from(&mut self, process: u32, source: u64, from: u64, data: &[u8]) {
        self.send_raw(&frame::encode_input_from(process, source, from, data).unwrap());
    }

    /// A number for a new attachment.
    pub fn new_attachment(&mut self) -> u32 {
        self.attachment += 1;
        self.attachment
    }

    /// Reads the next frame; `None` where init closed the connection.
    fn receive(&mut self) -> Option<Incoming> {
        let mut buffer = [0; 65536];
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(match frame {
                    Frame::Control(json) => Incoming::Message(frame::message(&json).unwrap()),
                    Frame::Output {
                        attachment,
                        stream,
                        data,
                    } => Incoming::Output {
                        attachment,
                        stream,
                        data,
                    },
                    Frame::Input { .. } | Frame::InputFrom { .. } => panic!("init sent input"),
                });
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Ok(count) => self.decoder.push(&buffer[..count]),
                Err(error) => panic!("init sends nothing: {error}"),
            }
        }
    }

    /// The next thing init sent.
    pub fn next(&mut self) -> Incoming {
        self.inbox
            .pop_front()
            .or_else(|| self.receive())
            .expect("init closed the connection")
    }

    /// Waits for something; whatever else comes stays in order.
    pub fn find<T>(&mut self, mut wanted: impl FnMut(&Incoming) -> Option<T>) -> T {
        let mut at = 0;
        loop {
            if at == self.inbox.len() {
                let incoming = self.receive().expect("init closed the connection");
                self.inbox.push_back(incoming);
            }
            if let Some(found) = wanted(&self.inbox[at]) {
                self.inbox.remove(at);
                return found;
            }
            at += 1;
        }
    }

    /// Whether something came before whatever was waited for last, without waiting for it.
    pub fn came(&self, wanted: impl FnMut(&Incoming) -> bool) -> bool {
        self.inbox.iter().any(wanted)
    }

    /// Waits until init closes the connection.
    pub fn expect_closed(&mut self) {
        while self.receive().is_some() {}
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: impl FnOnce(u64) -> ToInit) -> Result<FromInit, Failure> {
        self.seq += 1;
        let wanted = self.seq;
        self.send(&request(wanted));
        self.answer(wanted)
    }

    /// Waits for the answer to a request.
    pub fn answer(&mut self, wanted: u64) -> Result<FromInit, Failure> {
        let answer = self.find(|incoming| match incoming {
            Incoming::Message(
                message @ (FromInit::Spawned { seq, .. }
                | FromInit::Attached { seq, .. }
                | FromInit::Done { seq }
                | FromInit::Listed { seq, .. }
                | FromInit::Failed { seq, .. }),
            ) if *seq == wanted => Some(message.clone()),
            _ => None,
        });
        match answer {
            FromInit::Failed { error, .. } => Err(error),
            other => Ok(other),
        }
    }

    /// Starts a process.
    pub fn try_spawn(&mut self, spec: SpawnSpec) -> Result<Started, Failure> {
        let attachment = self.new_attachment();
        let id = spec.id.clone();
        match self.ask(|seq| ToInit::Spawn {
            seq,
            attachment,
            spec: spec.into(),
        })? {
            FromInit::Spawned { process, pid, .. } => Ok(Started {
                id,
                number: process,
                pid,
                attachment,
            }),
            other => panic!("{other:?}"),
        }
    }

    /// Starts a process that starts.
    pub fn spawn(&mut self, spec: SpawnSpec) -> Started {
        self.try_spawn(spec).unwrap()
    }

    /// Attaches and says where the outputs begin and how the process ended.
    pub fn attach(&mut self, id: &str) -> (Started, [u64; 2], Option<Exit>) {
        let attachment = self.new_attachment();
        match self
            .ask(|seq| ToInit::Attach {
                seq,
                attachment,
                id: id.into(),
                log: false,
            })
            .unwrap()
        {
            FromInit::Attached {
                process,
                stdout_from,
                stderr_from,
                exit,
                ..
            } => (
                Started {
                    id: id.into(),
                    number: process,
                    pid: 0,
                    attachment,
                },
                [stdout_from, stderr_from],
                exit,
            ),
            other => panic!("{other:?}"),
        }
    }

    /// Acknowledges output.
    pub fn ack(&mut self, attachment: u32, stream: Stream, upto: u64) {
        self.send(&ToInit::Ack {
            attachment,
            stream,
            upto,
        });
    }

    /// The next piece of an opened output: data, or `None` at its end. Drops are a failure.
    pub fn piece(&mut self, wanted: u32, of: Stream) -> Option<Vec<u8>> {
        self.find(|incoming| match incoming {
            Incoming::Output {
                attachment,
                stream,
                data,
            } if (*attachment, *stream) == (wanted, of) => Some(Some(data.clone())),
            Incoming::Message(FromInit::StreamEnd { attachment, stream }) if (*attachment, *stream) == (wanted, of) => {
                Some(None)
            }
            Incoming::Message(FromInit::Dropped { attachment, .. }) if *attachment == wanted => panic!("{incoming:?}"),
            _ => None,
        })
    }

    /// Reads an output from this offset to its end.
    pub fn read_from(&mut self, attachment: u32, stream: Stream, mut at: u64) -> Vec<u8> {
        self.ack(attachment, stream, at);
        let mut all = Vec::new();
        while let Some(data) = self.piece(attachment, stream) {
            at += data.len() as u64;
            all.extend(data);
            self.ack(attachment, stream, at);
        }
        all
    }

    /// Reads an output from its beginning to its end, as text.
    pub fn text(&mut self, process: &Started, stream: Stream) -> String {
        String::from_utf8(self.read_from(process.attachment, stream, 0)).unwrap()
    }

    /// How a process ended.
    pub fn exit(&mut self, process: &Started) -> Exit {
        self.find(|incoming| match incoming {
            Incoming::Message(FromInit::Exited { id, exit }) if *id == process.id => Some(*exit),
            _ => None,
        })
    }

    /// Runs a script as a user and gives what it printed.
    pub fn run(&mut self, user: &str, script: &str) -> String {
        let process = self.spawn(SpawnSpec {
            user: user.into(),
            ..sh("run", script)
        });
        let text = self.text(&process, Stream::Stdout);
        self.exit(&process);
        self.send(&ToInit::Collect { id: "run".into() });
        text
    }

    /// The processes and how many live.
    pub fn list(&mut self) -> (Vec<ProcessEntry>, u32) {
        match self.ask(|seq| ToInit::List { seq }).unwrap() {
            FromInit::Listed { processes, others, .. } => (processes, others),
            other => panic!("{other:?}"),
        }
    }

    /// Signals a process.
    pub fn signal(&mut self, id: &str, signal: Signal) -> Result<FromInit, Failure> {
        self.ask(|seq| ToInit::Signal {
            seq,
            id: id.into(),
            signal: signal as i32,
        })
    }
}

/// A program with arguments.
pub fn program(id: &str, path: &str, args: &[&str]) -> SpawnSpec {
    let args = args.iter().map(|arg| (*arg).into()).collect();
    SpawnSpec {
        id: id.into(),
        path: path.into(),
        args,
        ..SpawnSpec::default()
    }
}

/// A shell script.
pub fn sh(id: &str, script: &str) -> SpawnSpec {
    program(id, "/bin/sh", &["-c", script])
}
