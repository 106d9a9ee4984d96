//! Attachments whose connection is lost: their readers go on over the next one, and miss nothing and get nothing twice.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fence_init::frame::{self, Decoder, Frame};
use fence_init::protocol::{FromInit, ProcessEntry, SOCKET_NAME, SpawnSpec, ToInit, VERSION};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Chunk, Exit, Link, OutputReader, ProcessControl, Stream};
use crate::container::ProcessId;

const DEADLINE: Duration = Duration::from_secs(60);

async fn bounded<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, work).await;
    done.unwrap_or_else(|_| panic!("waited in vain until {what}"))
}

fn id() -> ProcessId {
    "p1".parse().unwrap()
}

/// The real first process, with nothing but the files of this machine.
struct Init(Child);

impl Init {
    fn start(directory: &Path) -> Init {
        let init = std::env::var_os("FENCE_INIT").expect("FENCE_INIT: the built first process, see CONTRIBUTING.md");
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount", "--kill-child", "--", "sh", "-c"]);
        command.args(["mount -t proc proc /proc && exec \"$1\" \"$2\"", "sh"]);
        command.arg(init).arg(directory.join(SOCKET_NAME)).stdin(Stdio::null());
        Init(command.spawn().expect("unshare from util-linux, as root"))
    }

    /// Its pid as it is seen from here.
    async fn pid(&self) -> i32 {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        loop {
            let listed = std::fs::read_to_string(&children).unwrap();
            match listed.split_whitespace().next() {
                Some(pid) => return pid.parse().unwrap(),
                None => tokio::task::yield_now().await,
            }
        }
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All that comes, over however many connections; each 16th piece breaks the one in force where that is asked for.
async fn all(link: Link, mut output: OutputReader, breaks: bool) -> (Vec<u8>, usize) {
    let (mut bytes, mut pieces, mut resumed) = (Vec::new(), 0, 0);
    loop {
        match output.next().await {
            Ok(Some(Chunk::Data(data))) => bytes.extend_from_slice(&data),
            Ok(Some(Chunk::Dropped(lost))) => panic!("{lost} bytes are lost after {}", bytes.len()),
            Ok(None) => return (bytes, resumed),
            Err(_) => {
                output.resume().await.unwrap();
                resumed += 1;
                continue;
            }
        }
        pieces += 1;
        if breaks && pieces % 16 == 0 {
            // Some of what was passed on is not acknowledged then.
            link.break_connection();
        }
        output.delivered();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_outputs_of_a_real_process_arrive_whole_over_many_connections() {
    let directory = tempfile::tempdir().unwrap();
    let (link, _events) = Link::listen(directory.path()).unwrap();
    let init = Init::start(directory.path());
    link.expect(bounded("init is started", init.pid()).await);
    let script = "seq 1 400000; seq 1 400000 >&2; exit 7";
    let spec = SpawnSpec {
        id: id().to_string(),
        path: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        dir: "/".into(),
        ..SpawnSpec::default()
    };
    let attachment = bounded("it runs", link.spawn(spec, id())).await.unwrap();
    let [out, err] = [Stream::Stdout, Stream::Stderr].map(|stream| attachment.take_output(stream).unwrap());
    let outputs = async { tokio::join!(all(link.clone(), out, true), all(link.clone(), err, true)) };
    let ((out, again), (err, _)) = bounded("all has arrived", outputs).await;
    let expected: String = (1..=400_000).map(|number| format!("{number}\n")).collect();
    assert!(out == expected.as_bytes() && err == expected.as_bytes());
    assert!(again > 1, "the connection was broken {again} times");
    assert_eq!(bounded("it has ended", attachment.wait()).await, Exit::Code(7));
    link.close();
}

/// A first process that says what a test has it say.
struct Peer {
    stream: UnixStream,
    decoder: Decoder,
}

impl Peer {
    async fn connect(directory: &Path, link: &Link) -> Peer {
        let stream = UnixStream::connect(directory.join(SOCKET_NAME)).await.unwrap();
        let entry = ProcessEntry {
            id: id().to_string(),
            process: 1,
            pid: 2,
            tty: false,
            exit: None,
            log: 0,
        };
        let mut peer = Peer {
            stream,
            decoder: Decoder::new(),
        };
        let hello = FromInit::Hello {
            protocol: VERSION,
            build: "b".into(),
            processes: vec![entry],
            input_sources: true,
            logs: false,
        };
        peer.say(&hello).await;
        bounded("it is let in", link.connected()).await.unwrap();
        peer
    }

    async fn say(&mut self, message: &FromInit) {
        self.stream
            .write_all(&frame::encode_control(message).unwrap())
            .await
            .unwrap();
    }

    async fn write(&mut self, attachment: u32, data: &str) {
        let frame = frame::encode_output(attachment, Stream::Stdout, data.as_bytes()).unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }

    /// What fence says next, but that it ended an attachment.
    async fn hear(&mut self) -> Frame {
        let mut buffer = [0; 4096];
        loop {
            let heard = self.decoder.next_frame().unwrap();
            match heard {
                Some(Frame::Control(json)) if matches!(frame::message(&json), Ok(ToInit::Detach { .. })) => {}
                Some(frame) => return frame,
                None => {
                    let count = bounded("fence speaks", self.stream.read(&mut buffer)).await.unwrap();
                    assert!(count > 0, "fence hung up");
                    self.decoder.push(&buffer[..count]);
                }
            }
        }
    }

    async fn message(&mut self) -> ToInit {
        match self.hear().await {
            Frame::Control(json) => frame::message(&json).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Answer an attach: the process is this one, its output begins here. Gives the attachment.
    async fn attach(&mut self, process: u32, stdout_from: u64) -> u32 {
        let ToInit::Attach { seq, attachment, .. } = self.message().await else {
            panic!("no attach")
        };
        let attached = FromInit::Attached {
            seq,
            process,
            stdout_from,
            stderr_from: 0,
            tty: false,
            exit: None,
        };
        self.say(&attached).await;
        attachment
    }

    async fn acked(&mut self) -> u64 {
        match self.message().await {
            ToInit::Ack {
                upto,
                stream: Stream::Stdout,
                ..
            } => upto,
            other => panic!("{other:?}"),
        }
    }
}

/// A link with a first process, whose process a client is attached to and was given `hello` of.
async fn attached(directory: &Path) -> (Link, Peer, OutputReader, ProcessControl) {
    let (link, _) = Link::listen(directory).unwrap();
    link.expect(std::process::id() as i32);
    let mut peer = Peer::connect(directory, &link).await;
    let (name, known) = (id(), link.clone());
    let attaching = tokio::spawn(async move { known.attach(&name).await.unwrap() });
    let number = peer.attach(1, 0).await;
    let attachment = attaching.await.unwrap();
    let mut output = attachment.take_output(Stream::Stdout).unwrap();
    peer.write(number, "hello").await;
    assert_eq!(next(&mut output).await, Some(Chunk::Data("hello".into())));
    assert_eq!(peer.acked().await, 0);
    (link, peer, output, attachment.control())
}

async fn next(output: &mut OutputReader) -> Option<Chunk> {
    bounded("output comes", output.next()).await.unwrap()
}

/// Lose the connection and take the next: output begins there.
async fn lose(directory: &Path, link: &Link, peer: Peer, output: &mut OutputReader, from: u64) -> (Peer, u32) {
    drop(peer);
    assert!(bounded("the connection is lost", output.next()).await.is_err());
    let mut peer = Peer::connect(directory, link).await;
    let (resumed, number) = tokio::join!(output.resume(), peer.attach(1, from));
    resumed.unwrap();
    (peer, number)
}

#[tokio::test]
async fn what_was_passed_on_is_not_passed_on_again() {
    let directory = tempfile::tempdir().unwrap();
    let (link, peer, mut output, _) = attached(directory.path()).await;
    output.delivered();
    let (mut peer, number) = lose(directory.path(), &link, peer, &mut output, 2).await;
    for part in ["l", "lo wor", "ld"] {
        peer.write(number, part).await;
    }
    assert_eq!(next(&mut output).await, Some(Chunk::Data(" wor".into())));
    assert_eq!(next(&mut output).await, Some(Chunk::Data("ld".into())));
    assert_eq!(output.position(), 11);
    // Never more than was sent over this connection.
    assert_eq!((peer.acked().await, peer.acked().await), (2, 3));
    output.delivered();
    assert_eq!(peer.acked().await, 11);
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (link, peer, mut output, _) = attached(directory.path()).await;
    let (mut peer, number) = lose(directory.path(), &link, peer, &mut output, 9).await;
    peer.write(number, "x").await;
    assert_eq!(next(&mut output).await, Some(Chunk::Dropped(4)));
    assert_eq!(next(&mut output).await, Some(Chunk::Data("x".into())));
    assert_eq!(output.position(), 10);
}

#[tokio::test]
async fn an_output_ends_with_its_container_and_not_in_the_next_one_of_that_name() {
    let directory = tempfile::tempdir().unwrap();
    let (link, peer, mut output, control) = attached(directory.path()).await;
    drop(peer);
    assert!(bounded("the connection is lost", output.next()).await.is_err());
    let resuming = async { tokio::join!(output.resume(), async { link.ended() }).0 };
    bounded("the end is known", resuming).await.unwrap();
    link.expect(std::process::id() as i32);
    let _another = Peer::connect(directory.path(), &link).await;
    assert_eq!(next(&mut output).await, None);
    bounded("it is past caring", control.signal(15)).await.unwrap();
}

#[tokio::test]
async fn another_process_under_the_same_name_is_not_taken_for_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let (link, peer, mut output, _) = attached(directory.path()).await;
    drop(peer);
    assert!(bounded("the connection is lost", output.next()).await.is_err());
    let mut peer = Peer::connect(directory.path(), &link).await;
    link.table().processes.clear();
    let (resumed, _) = tokio::join!(output.resume(), peer.attach(2, 0));
    assert!(resumed.is_err());
}

#[tokio::test]
async fn signals_and_input_go_on_unless_input_may_be_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (link, peer, mut output, control) = attached(directory.path()).await;
    let (mut peer, _) = lose(directory.path(), &link, peer, &mut output, 5).await;
    control.write("all of it".into(), None).await.unwrap();
    assert!(matches!(peer.hear().await, Frame::Input { process: 1, data } if data == b"all of it"));
    let signalling = async {
        let ToInit::Signal { seq, signal: 15, .. } = peer.message().await else {
            panic!("no signal")
        };
        peer.say(&FromInit::Done { seq }).await;
        peer
    };
    let (signalled, peer) = tokio::join!(control.signal(15), signalling);
    signalled.unwrap();
    // None of that input was said to have been passed on.
    let _peer = lose(directory.path(), &link, peer, &mut output, 5).await;
    assert!(control.write("behind a hole".into(), None).await.is_err());
    assert!(control.close_input().await.is_err());
}
