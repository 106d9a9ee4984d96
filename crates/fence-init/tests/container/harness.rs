//! Starts init in namespaces of its own and plays fence's side of the socket. A test owns its [`Container`]; all that
//! ran in it dies with it.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use fence_init::frame::{self, Decoder, Frame};
use fence_init::protocol::*;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use tempfile::TempDir;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The accounts of a test container.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nalice:x:1234:1235:Alice:HOMES/alice:/bin/sh\n";
const GROUP: &str = "root:x:0:\nalice:x:1235:\nstaff:x:50:bob,alice\naudio:x:29:alice\n";

/// Waits for a condition.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// One init with everything below it.
pub struct Container {
    unshare: Child,
    listener: Option<UnixListener>,
    dir: TempDir,
    /// Init's pid as the test sees it.
    pub pid: i32,
}

impl Container {
    /// A container with the files of this machine but its own `/etc`, and its init's first connection.
    pub fn start() -> (Self, Peer) {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let homes = dir.path().join("homes");
        std::fs::write(etc.join("passwd"), PASSWD.replace("HOMES", homes.to_str().unwrap())).unwrap();
        std::fs::write(etc.join("group"), GROUP).unwrap();
        let script = "mount -t proc proc /proc && mount --bind \"$1\" /etc && exec \"$2\" \"$3\"";
        let mut command = Command::new("unshare");
        command.args([
            "--pid",
            "--fork",
            "--mount",
            "--kill-child",
            "--",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        command.args([etc.as_os_str(), OsStr::new(env!("CARGO_BIN_EXE_fence-init"))]);
        command.arg(dir.path().join(SOCKET_NAME));
        Self::run(dir, command)
    }

    /// A container whose root holds nothing but `init` and the socket.
    pub fn start_empty(init: &Path) -> (Self, Peer) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(init, dir.path().join(BIN_NAME)).unwrap();
        let root = format!("--root={}", dir.path().display());
        let mut command = Command::new("unshare");
        command.args([
            "--pid",
            "--fork",
            "--mount",
            "--kill-child",
            &root,
            "--",
            "/fence-init",
            "/init.sock",
        ]);
        Self::run(dir, command)
    }

    fn run(dir: TempDir, mut command: Command) -> (Self, Peer) {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests make namespaces and change users: run them as root"
        );
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let listener = UnixListener::bind(dir.path().join(SOCKET_NAME)).unwrap();
        // SAFETY: the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let unshare = command.spawn().expect("unshare from util-linux");
        let mut container = Self {
            unshare,
            listener: Some(listener),
            dir,
            pid: 0,
        };
        let peer = container.accept();
        container.pid = getsockopt(&peer.stream, PeerCredentials).unwrap().pid();
        (container, peer)
    }

    /// A path below the container's own folder, the same inside and outside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Takes init's next connection and its greeting.
    pub fn accept(&self) -> Peer {
        let listener = self.listener.as_ref().expect("a listening container");
        listener.set_nonblocking(true).unwrap();
        let mut accepted = None;
        eventually("init connects", || {
            accepted = listener.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut peer = Peer {
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

    /// Stops listening, as a fence that ends.
    pub fn stop_listening(&mut self) {
        self.listener = None;
        std::fs::remove_file(self.path(SOCKET_NAME)).unwrap();
    }

    /// Listens again.
    pub fn listen(&mut self) {
        self.listener = Some(UnixListener::bind(self.path(SOCKET_NAME)).unwrap());
    }

    /// A file of init's in /proc, as seen from outside.
    pub fn proc(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.pid)).unwrap()
    }

    /// The pids of init's children, those that wait to be reaped too.
    pub fn children(&self) -> Vec<String> {
        self.proc(&format!("task/{}/children", self.pid))
            .split_whitespace()
            .map(Into::into)
            .collect()
    }

    /// How init exited.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("init exits", || {
            status = self.unshare.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

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
                    Frame::Input { .. } => panic!("init sent input"),
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
