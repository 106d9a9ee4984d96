//! A pretended fence-init for tests of the supervisor: speaks the protocol from inside the test, runs nothing.
//!
//! `echo ARGS` writes its arguments and ends, `cat` gives its input back, `deaf` never takes any, everything else runs
//! until a signal ends it. It hangs up, and comes back, when a terminal is to be one column wide.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fence_init::frame::{self, Decoder, Frame};
use fence_init::protocol::{
    Exit, Failure, FailureKind, FromInit, ProcessEntry, RUN_DIR, SOCKET_NAME, SpawnSpec, Stream, ToInit, VERSION,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// What the engine's fake is to do when it starts a container: run one of these. The pid is this test's own, which is
/// who connects.
pub(super) fn on_start(spec: &engine::ContainerSpec) -> i32 {
    if let Some(mount) = spec.mounts.iter().find(|mount| mount.target == RUN_DIR) {
        let directory = PathBuf::from(&mount.source);
        tokio::spawn(async move {
            let mut init = Pretended::default();
            let born_in = inode(&directory);
            while let Some(mut stream) = connect(&directory, born_in).await {
                let _ = init.serve(&mut stream).await;
            }
        });
    }
    std::process::id() as i32
}

/// Connect, or give up once the container's directory is gone or another one.
async fn connect(directory: &Path, born_in: Option<u64>) -> Option<UnixStream> {
    while born_in.is_some() && inode(directory) == born_in {
        match UnixStream::connect(directory.join(SOCKET_NAME)).await {
            Ok(stream) => return Some(stream),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    None
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}

#[derive(Default)]
struct Pretended {
    processes: HashMap<String, Process>,
    next: u32,
}

struct Process {
    number: u32,
    tty: bool,
    path: String,
    output: Vec<u8>,
    /// How much of it was acknowledged.
    acked: u64,
    /// Input of this connection, and all of each source.
    received: u64,
    sources: HashMap<u64, u64>,
    exit: Option<Exit>,
    attachment: u32,
    /// The outputs somebody reads.
    opened: Vec<Stream>,
}

impl Pretended {
    async fn serve(&mut self, stream: &mut UnixStream) -> std::io::Result<()> {
        let processes = self.list();
        for process in self.processes.values_mut() {
            process.received = 0;
            process.opened.clear();
        }
        send(
            stream,
            &FromInit::Hello {
                protocol: VERSION,
                build: "pretended".into(),
                processes,
                input_sources: true,
                logs: false,
            },
        )
        .await?;
        let mut decoder = Decoder::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = stream.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            decoder.push(&buffer[..count]);
            while let Some(frame) = decoder.next_frame().unwrap() {
                match frame {
                    Frame::Control(json) => self.take(stream, frame::message(&json).unwrap()).await?,
                    Frame::Input { process, data } => self.input(stream, process, &data).await?,
                    Frame::InputFrom {
                        process,
                        source,
                        from,
                        data,
                    } => {
                        if let Some(p) = self.processes.values_mut().find(|p| p.number == process) {
                            assert_eq!(p.sources.insert(source, from + data.len() as u64).unwrap_or(0), from);
                        }
                        self.input(stream, process, &data).await?;
                    }
                    Frame::Output { .. } => panic!("fence sent output"),
                }
            }
        }
    }

    fn list(&self) -> Vec<ProcessEntry> {
        let entry = |(id, p): (&String, &Process)| ProcessEntry {
            id: id.clone(),
            process: p.number,
            pid: p.number as i32 + 1,
            tty: p.tty,
            exit: p.exit,
            log: 0,
        };
        self.processes.iter().map(entry).collect()
    }

    async fn take(&mut self, stream: &mut UnixStream, message: ToInit) -> std::io::Result<()> {
        match message {
            ToInit::Spawn { seq, attachment, spec } => self.spawn(stream, seq, attachment, *spec).await,
            ToInit::Attach {
                seq, id, attachment, ..
            } => match self.processes.get_mut(&id) {
                Some(p) => {
                    (p.attachment, p.opened) = (attachment, Vec::new());
                    let (process, exit, stdout_from) = (p.number, p.exit, p.acked);
                    send(
                        stream,
                        &FromInit::Attached {
                            seq,
                            process,
                            stdout_from,
                            stderr_from: 0,
                            tty: false,
                            exit,
                        },
                    )
                    .await
                }
                None => fail(stream, seq, FailureKind::ProcessNotFound, "unknown process").await,
            },
            ToInit::Ack {
                attachment,
                stream: name,
                upto,
            } => self.output(stream, attachment, name, upto).await,
            ToInit::Signal { seq, id, signal } => {
                send(stream, &FromInit::Done { seq }).await?;
                self.end(stream, &id, Exit::Signal(signal)).await
            }
            ToInit::SignalAll { seq, signal } => {
                send(stream, &FromInit::Done { seq }).await?;
                let running: Vec<String> = self.processes.keys().cloned().collect();
                for id in running {
                    self.end(stream, &id, Exit::Signal(signal)).await?;
                }
                Ok(())
            }
            ToInit::List { seq } => {
                let others = self.processes.values().filter(|p| p.exit.is_none()).count() as u32;
                send(
                    stream,
                    &FromInit::Listed {
                        seq,
                        processes: self.list(),
                        others,
                    },
                )
                .await
            }
            ToInit::Collect { id } => {
                self.processes.remove(&id);
                Ok(())
            }
            ToInit::InputSource { seq, process, source } => {
                let known = self.processes.values().find(|p| p.number == process);
                let upto = known.and_then(|p| p.sources.get(&source)).copied().unwrap_or(0);
                send(stream, &FromInit::InputSource { seq, upto }).await
            }
            ToInit::Resize { columns: 1, .. } => Err(std::io::ErrorKind::ConnectionAborted.into()),
            ToInit::Resize { seq, .. } => send(stream, &FromInit::Done { seq }).await,
            ToInit::CloseInput { process } => {
                let id = self
                    .processes
                    .iter()
                    .find(|(_, p)| p.number == process)
                    .map(|(id, _)| id.clone());
                match id {
                    Some(id) => self.end(stream, &id, Exit::Code(0)).await,
                    None => Ok(()),
                }
            }
            ToInit::Detach { .. } => Ok(()),
        }
    }

    async fn spawn(
        &mut self,
        stream: &mut UnixStream,
        seq: u64,
        attachment: u32,
        spec: SpawnSpec,
    ) -> std::io::Result<()> {
        if spec.path == "missing" {
            return fail(
                stream,
                seq,
                FailureKind::ExecutableNotFound,
                "executable file not found in $PATH",
            )
            .await;
        }
        if spec.path == "usurp" {
            // The one there ends at the very moment its name is asked for again.
            self.end(stream, &spec.id, Exit::Code(7)).await?;
        }
        if self.processes.contains_key(&spec.id) {
            return fail(stream, seq, FailureKind::ProcessExists, "in use").await;
        }
        self.next += 1;
        let number = self.next;
        let output = if spec.path == "echo" {
            spec.args.join(" ").into_bytes()
        } else {
            Vec::new()
        };
        let ends = spec.path == "echo";
        let process = Process {
            number,
            tty: spec.tty.is_some(),
            path: spec.path,
            output,
            acked: 0,
            received: 0,
            sources: HashMap::new(),
            exit: None,
            attachment,
            opened: Vec::new(),
        };
        self.processes.insert(spec.id.clone(), process);
        send(
            stream,
            &FromInit::Spawned {
                seq,
                process: number,
                pid: number as i32 + 1,
            },
        )
        .await?;
        if ends {
            self.end(stream, &spec.id, Exit::Code(0)).await
        } else {
            Ok(())
        }
    }

    async fn input(&mut self, stream: &mut UnixStream, number: u32, data: &[u8]) -> std::io::Result<()> {
        let Some(process) = self.processes.values_mut().find(|p| p.number == number) else {
            return Ok(());
        };
        if process.path == "deaf" {
            return Ok(());
        }
        process.received += data.len() as u64;
        process.output.extend(if process.path == "cat" { data } else { b"" });
        if process.path == "cat" && process.opened.contains(&Stream::Stdout) {
            stream
                .write_all(&frame::encode_output(process.attachment, Stream::Stdout, data).unwrap())
                .await?;
        }
        send(
            stream,
            &FromInit::InputAck {
                process: number,
                upto: process.received,
            },
        )
        .await
    }

    async fn output(
        &mut self,
        stream: &mut UnixStream,
        attachment: u32,
        name: Stream,
        upto: u64,
    ) -> std::io::Result<()> {
        let Some(process) = self.processes.values_mut().find(|p| p.attachment == attachment) else {
            return Ok(());
        };
        if name == Stream::Stdout {
            process.acked = upto;
        }
        if process.opened.contains(&name) {
            return Ok(());
        }
        process.opened.push(name);
        let waiting = &process.output[process.acked as usize..];
        if name == Stream::Stdout && !waiting.is_empty() {
            stream
                .write_all(&frame::encode_output(attachment, name, waiting).unwrap())
                .await?;
        }
        if process.exit.is_some() {
            send(
                stream,
                &FromInit::StreamEnd {
                    attachment,
                    stream: name,
                },
            )
            .await?;
        }
        Ok(())
    }

    async fn end(&mut self, stream: &mut UnixStream, id: &str, exit: Exit) -> std::io::Result<()> {
        match self.processes.get_mut(id) {
            Some(process) if process.exit.is_none() => {
                process.exit = Some(exit);
                let attachment = process.attachment;
                for name in std::mem::take(&mut process.opened) {
                    let end = FromInit::StreamEnd {
                        attachment,
                        stream: name,
                    };
                    send(stream, &end).await?;
                }
                let id = id.to_owned();
                send(stream, &FromInit::Exited { id, exit }).await
            }
            _ => Ok(()),
        }
    }
}

async fn send(stream: &mut UnixStream, message: &FromInit) -> std::io::Result<()> {
    stream.write_all(&frame::encode_control(message).unwrap()).await
}

async fn fail(stream: &mut UnixStream, seq: u64, kind: FailureKind, message: &str) -> std::io::Result<()> {
    send(
        stream,
        &FromInit::Failed {
            seq,
            error: Failure {
                kind,
                message: message.into(),
            },
        },
    )
    .await
}
