//! `fence-process/1`: the frames of an attached process, both ways on one connection, safe for any bytes.
//!
//! A frame is a kind byte, a length of four bytes with the highest first, and so many bytes of payload. This is the
//! codec and the two halves of the stream; when to send what, and what to do when it breaks, is for the caller.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio_util::codec::{Decoder, Encoder, FramedRead, FramedWrite};

/// The name of the protocol, as the upgrade says it.
pub const PROTOCOL: &str = "fence-process/1";
/// The longest payload of a frame.
pub const MAX_PAYLOAD: usize = 64 * 1024;
const HEAD: usize = 5;

/// What fence says about an attached process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromFence {
    /// It wrote this to its standard output, or to its terminal.
    Stdout(Bytes),
    /// It wrote this to its standard error.
    Stderr(Bytes),
    /// It runs; always the first frame.
    Started(Started),
    /// It ended, and all its output was sent.
    Exited(i32),
    /// The attachment ends for another reason; the last frame.
    Failed(Failed),
    /// Output was lost because nobody read it in time.
    Dropped(Dropped),
    /// The container's first process has passed on so many bytes of this connection's input. These are safe, also from
    /// a loss of fence.
    InputTaken(u64),
}

/// A process that runs and the attachment to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Started {
    /// The process's name.
    pub process_id: String,
    /// The attachment's name.
    pub stream_id: String,
    /// Whether the process has a terminal.
    pub tty: bool,
    /// How many bytes of input may be on their way beyond those that fence said it passed on; absent = fence does
    /// not say what it passed on.
    pub stdin_window: Option<u64>,
    /// How much the process has of this kato's input, of all connections; absent = it cannot be known.
    pub stdin_from: Option<u64>,
    /// Where in the whole of standard output this connection begins; absent = fence does not hear what kato took.
    pub stdout_from: Option<u64>,
    /// The same of standard error.
    pub stderr_from: Option<u64>,
}

impl Started {
    /// Where the outputs begin, where fence says it.
    pub fn from(&self) -> Option<Offsets> {
        let (stdout, stderr) = self.stdout_from.zip(self.stderr_from)?;
        Some(Offsets { stdout, stderr })
    }
}

/// Places in the whole output of a process, of all attachments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// In standard output.
    pub stdout: u64,
    /// In standard error.
    pub stderr: u64,
}

impl Offsets {
    /// How many bytes these are beyond others, of both streams.
    pub fn since(self, earlier: Offsets) -> u64 {
        self.stdout.saturating_sub(earlier.stdout) + self.stderr.saturating_sub(earlier.stderr)
    }
}

/// Why an attachment ended before its process did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Failed {
    /// What happened.
    pub error: String,
    /// The process goes on, and attaching again leads to it: fence is stopping, or lost its own way to the process.
    pub again: bool,
}

/// Output that was lost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Dropped {
    /// `stdout` or `stderr`.
    pub stream: String,
    /// How much.
    pub bytes: u64,
}

/// What kato says to an attached process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToFence {
    /// Input; longer input goes as several frames.
    Stdin(Bytes),
    /// The input ends here.
    StdinEnd,
    /// Send it this signal, by Linux's number.
    Signal(i32),
    /// Its terminal has this size now.
    Resize {
        /// Characters in a row.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// Tell how much of the input was passed on, from now on.
    TellInputTaken,
    /// So far kato has come in the whole of each output: what comes after it is for the next attachment.
    OutputTaken(Offsets),
}

/// What fence reads.
#[derive(Deserialize)]
struct ExitedBody {
    exit_status: i32,
}

#[derive(Deserialize)]
struct DroppedBody {
    dropped: Dropped,
}

#[derive(Deserialize)]
struct InputTakenBody {
    stdin_ack: u64,
}

#[derive(Serialize)]
struct OutputTakenBody {
    stdout_ack: u64,
    stderr_ack: u64,
}

#[derive(Serialize)]
struct SignalBody {
    signal: i32,
}

#[derive(Serialize)]
struct ResizeBody {
    columns: u16,
    rows: u16,
}

/// Frames to bytes and back, kato's side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Codec;

impl Decoder for Codec {
    type Item = FromFence;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<FromFence>> {
        // Kinds that a later fence may send are passed over.
        while let Some((kind, payload)) = take_frame(source)? {
            if let Some(frame) = parse(kind, payload)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

fn take_frame(source: &mut BytesMut) -> io::Result<Option<(u8, Bytes)>> {
    if source.len() < HEAD {
        return Ok(None);
    }
    let length = u32::from_be_bytes([source[1], source[2], source[3], source[4]]) as usize;
    if length > MAX_PAYLOAD {
        return Err(invalid(format!(
            "a frame of {length} bytes is longer than {MAX_PAYLOAD}"
        )));
    }
    if source.len() < HEAD + length {
        source.reserve(HEAD + length - source.len());
        return Ok(None);
    }
    let kind = source[0];
    source.advance(HEAD);
    Ok(Some((kind, source.split_to(length).freeze())))
}

fn parse(kind: u8, payload: Bytes) -> io::Result<Option<FromFence>> {
    Ok(Some(match kind {
        1 => FromFence::Stdout(payload),
        2 => FromFence::Stderr(payload),
        3 => FromFence::Started(json(&payload)?),
        4 => FromFence::Exited(json::<ExitedBody>(&payload)?.exit_status),
        5 => FromFence::Failed(json(&payload)?),
        6 => FromFence::Dropped(json::<DroppedBody>(&payload)?.dropped),
        7 => FromFence::InputTaken(json::<InputTakenBody>(&payload)?.stdin_ack),
        _ => return Ok(None),
    }))
}

fn json<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> io::Result<T> {
    serde_json::from_slice(payload).map_err(|error| invalid(format!("a frame that cannot be read: {error}")))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl Encoder<ToFence> for Codec {
    type Error = io::Error;

    fn encode(&mut self, frame: ToFence, target: &mut BytesMut) -> io::Result<()> {
        match frame {
            ToFence::Stdin(data) => data.chunks(MAX_PAYLOAD).for_each(|chunk| put_frame(16, chunk, target)),
            ToFence::StdinEnd => put_frame(17, &[], target),
            ToFence::Signal(signal) => put_frame(18, &serde_json::to_vec(&SignalBody { signal })?, target),
            ToFence::Resize { columns, rows } => {
                put_frame(19, &serde_json::to_vec(&ResizeBody { columns, rows })?, target)
            }
            ToFence::TellInputTaken => put_frame(20, &[], target),
            ToFence::OutputTaken(Offsets { stdout, stderr }) => {
                let body = OutputTakenBody {
                    stdout_ack: stdout,
                    stderr_ack: stderr,
                };
                put_frame(21, &serde_json::to_vec(&body)?, target)
            }
        }
        Ok(())
    }
}

fn put_frame(kind: u8, payload: &[u8], target: &mut BytesMut) {
    target.reserve(HEAD + payload.len());
    target.put_u8(kind);
    // A payload is at most MAX_PAYLOAD bytes, which fits.
    target.put_u32(payload.len() as u32);
    target.put_slice(payload);
}

/// Where the frames from fence come in.
pub struct Incoming(FramedRead<ReadHalf<Io>, Codec>);

/// Where the frames to fence go out.
pub struct Outgoing(FramedWrite<WriteHalf<Io>, Codec>);

type Io = TokioIo<Upgraded>;

/// Both halves of the stream on an upgraded connection.
pub fn halves(connection: Upgraded) -> (Incoming, Outgoing) {
    let (read, write) = tokio::io::split(TokioIo::new(connection));
    (Incoming(framed_read(read)), Outgoing(framed_write(write)))
}

fn framed_read<R: AsyncRead>(read: R) -> FramedRead<R, Codec> {
    FramedRead::with_capacity(read, Codec, HEAD + MAX_PAYLOAD)
}

fn framed_write<W: AsyncWrite>(write: W) -> FramedWrite<W, Codec> {
    FramedWrite::new(write, Codec)
}

impl Incoming {
    /// The next frame; `None` when fence closed the connection. May be dropped and called again.
    pub async fn next(&mut self) -> io::Result<Option<FromFence>> {
        self.0.next().await.transpose()
    }

    /// As [`next`](Incoming::next), where that needs no waiting.
    pub fn arrived(&mut self) -> Option<io::Result<Option<FromFence>>> {
        self.next().now_or_never()
    }
}

impl Outgoing {
    /// Sends a frame. Waits while fence reads slower than it is sent to.
    pub async fn send(&mut self, frame: ToFence) -> io::Result<()> {
        self.0.send(frame).await
    }

    /// Says that nothing more will be sent.
    pub async fn close(&mut self) -> io::Result<()> {
        self.0.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::new();
        put_frame(kind, payload, &mut bytes);
        bytes
    }

    #[test]
    fn frames_are_read_from_bytes_that_arrive_one_by_one() {
        let mut all = frame(
            3,
            br#"{"process_id":"p","stream_id":"1","tty":true,"stdout_from":7,"stderr_from":0}"#,
        );
        all.extend_from_slice(&frame(1, b"\x00\xff\n"));
        all.extend_from_slice(&frame(4, br#"{"exit_status":3}"#));
        let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
        for byte in all {
            buffer.put_u8(byte);
            frames.extend(Codec.decode(&mut buffer).unwrap());
        }
        let started = Started {
            process_id: "p".into(),
            stream_id: "1".into(),
            tty: true,
            stdout_from: Some(7),
            stderr_from: Some(0),
            ..Started::default()
        };
        assert_eq!(started.from(), Some(Offsets { stdout: 7, stderr: 0 }));
        assert_eq!(
            frames,
            [
                FromFence::Started(started),
                FromFence::Stdout(Bytes::from_static(b"\x00\xff\n")),
                FromFence::Exited(3)
            ]
        );
    }

    #[test]
    fn what_was_dropped_and_what_failed_is_told() {
        let mut bytes = frame(6, br#"{"dropped":{"stream":"stderr","bytes":9}}"#);
        bytes.extend_from_slice(&frame(5, br#"{"error":"gone","again":true}"#));
        let dropped = Dropped {
            stream: "stderr".into(),
            bytes: 9,
        };
        assert_eq!(Codec.decode(&mut bytes).unwrap(), Some(FromFence::Dropped(dropped)));
        assert_eq!(
            Codec.decode(&mut bytes).unwrap(),
            Some(FromFence::Failed(Failed {
                error: "gone".into(),
                again: true
            }))
        );
        assert_eq!(Codec.decode(&mut bytes).unwrap(), None);
    }

    #[test]
    fn kinds_of_a_later_fence_are_passed_over() {
        let mut bytes = frame(99, b"whatever");
        bytes.extend_from_slice(&frame(2, b"e"));
        assert_eq!(
            Codec.decode(&mut bytes).unwrap(),
            Some(FromFence::Stderr(Bytes::from_static(b"e")))
        );
    }

    #[test]
    fn a_frame_that_is_too_long_or_no_json_is_an_error() {
        let mut long = BytesMut::from(&[1, 0, 1, 0, 1][..]);
        assert_eq!(Codec.decode(&mut long).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut torn = frame(4, b"{");
        assert_eq!(Codec.decode(&mut torn).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn long_input_goes_as_several_frames() {
        let mut bytes = BytesMut::new();
        Codec
            .encode(ToFence::Stdin(Bytes::from(vec![7; MAX_PAYLOAD + 1])), &mut bytes)
            .unwrap();
        let (kind, first) = take_frame(&mut bytes).unwrap().unwrap();
        assert_eq!((kind, first.len()), (16, MAX_PAYLOAD));
        let (kind, second) = take_frame(&mut bytes).unwrap().unwrap();
        assert_eq!((kind, second.len()), (16, 1));
        assert!(bytes.is_empty());
    }

    #[test]
    fn signals_sizes_ends_and_acknowledgements_have_their_frames() {
        let mut bytes = BytesMut::new();
        Codec.encode(ToFence::Signal(15), &mut bytes).unwrap();
        Codec
            .encode(ToFence::Resize { columns: 80, rows: 24 }, &mut bytes)
            .unwrap();
        Codec.encode(ToFence::StdinEnd, &mut bytes).unwrap();
        let taken = Offsets { stdout: 5, stderr: 6 };
        Codec.encode(ToFence::OutputTaken(taken), &mut bytes).unwrap();
        let mut expected = frame(18, br#"{"signal":15}"#);
        expected.extend_from_slice(&frame(19, br#"{"columns":80,"rows":24}"#));
        expected.extend_from_slice(&frame(17, b""));
        expected.extend_from_slice(&frame(21, br#"{"stdout_ack":5,"stderr_ack":6}"#));
        assert_eq!(bytes, expected);
    }
}
