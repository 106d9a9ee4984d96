//! The frames of `fence-process/1`: kind (one byte), length (four bytes, big-endian), payload. Both ways, binary safe.
//!
//! The kinds and the bound are the protocol; what they mean is in [`processes`](super::processes).

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

/// The protocol's name in the `Upgrade` fields.
pub const PROTOCOL: &str = "fence-process/1";
/// The longest payload, in bytes.
pub const MAX_PAYLOAD: usize = 65_536;
const HEAD: usize = 5;

/// Frames from fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ToClient {
    Stdout = 1,
    Stderr = 2,
    /// The first: who is attached to what.
    Attached = 3,
    /// The last, after all output: the process has ended.
    Exited = 4,
    /// The last: the attachment ends for another reason.
    Failed = 5,
    /// Output was dropped before it could be sent.
    Dropped = 6,
    /// So much of the client's input was passed on; only sent where the client asked for it.
    InputTaken = 7,
}

/// Frames from a client.
#[derive(Debug, PartialEq, Eq)]
pub enum FromClient {
    Input(Bytes),
    EndOfInput,
    /// JSON, as are the ones after it.
    Signal(Bytes),
    Resize(Bytes),
    /// Tell what of the input was passed on, from now on.
    TellInputTaken,
    /// JSON: how much of the output the client has.
    OutputTaken(Bytes),
    /// A kind of a later version.
    Unknown(u8),
}

/// Cuts what a client sends into frames.
pub fn read_from<R: AsyncRead>(reader: R) -> FramedRead<R, LengthDelimitedCodec> {
    LengthDelimitedCodec::builder()
        .length_field_offset(1)
        .length_field_length(4)
        .max_frame_length(MAX_PAYLOAD)
        .length_adjustment(HEAD as isize)
        .num_skip(0)
        .new_read(reader)
}

/// A whole frame, head included, as [`read_from`] gives them.
pub fn parse(frame: BytesMut) -> FromClient {
    let mut frame = frame.freeze();
    let kind = frame.first().copied().unwrap_or(0);
    let payload = frame.split_off(HEAD.min(frame.len()));
    match kind {
        16 => FromClient::Input(payload),
        17 => FromClient::EndOfInput,
        18 => FromClient::Signal(payload),
        19 => FromClient::Resize(payload),
        20 => FromClient::TellInputTaken,
        21 => FromClient::OutputTaken(payload),
        other => FromClient::Unknown(other),
    }
}

/// Writes frames; knows whether one was left half-written, after which no other can follow.
pub struct FrameWriter<'a, W> {
    writer: &'a mut W,
    broken: bool,
}

impl<'a, W: AsyncWrite + Unpin> FrameWriter<'a, W> {
    pub fn new(writer: &'a mut W) -> FrameWriter<'a, W> {
        FrameWriter { writer, broken: false }
    }

    /// Send a payload, in several frames where it is too long for one.
    pub async fn send(&mut self, kind: ToClient, payload: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.broken = true;
        for part in payload.chunks(MAX_PAYLOAD) {
            let mut head = [kind as u8; HEAD];
            // A chunk is at most MAX_PAYLOAD bytes long.
            head[1..].copy_from_slice(&(part.len() as u32).to_be_bytes());
            self.writer.write_all(&head).await?;
            self.writer.write_all(part).await?;
        }
        self.writer.flush().await?;
        self.broken = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    #[tokio::test]
    async fn long_payloads_are_cut() {
        let mut sent = Vec::new();
        let payload = vec![7; MAX_PAYLOAD + 1];
        FrameWriter::new(&mut sent)
            .send(ToClient::Stderr, &payload)
            .await
            .unwrap();
        assert_eq!(sent.len(), payload.len() + 2 * HEAD);
        assert_eq!(sent[..HEAD], [2, 0, 1, 0, 0]);
        assert_eq!(sent[HEAD + MAX_PAYLOAD..], [2, 0, 0, 0, 1, 7]);
    }

    #[tokio::test]
    async fn what_clients_send_is_told_apart() {
        let sent =
            b"\x10\0\0\0\x03a\0b\x11\0\0\0\0\x12\0\0\0\x02{}\x13\0\0\0\x02{}\x14\0\0\0\0\x15\0\0\0\x02{}\x63\0\0\0\0";
        let frames: Vec<FromClient> = read_from(&sent[..]).map(|frame| parse(frame.unwrap())).collect().await;
        let expected = [
            FromClient::Input(Bytes::from_static(b"a\0b")),
            FromClient::EndOfInput,
            FromClient::Signal(Bytes::from_static(b"{}")),
            FromClient::Resize(Bytes::from_static(b"{}")),
            FromClient::TellInputTaken,
            FromClient::OutputTaken(Bytes::from_static(b"{}")),
            FromClient::Unknown(0x63),
        ];
        assert_eq!(frames, expected);
    }

    #[tokio::test]
    async fn frames_are_bounded() {
        let sent = b"\x10\0\x01\0\x01";
        assert!(read_from(&sent[..]).next().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn nothing_follows_half_a_frame() {
        let (mut near, far) = tokio::io::duplex(4);
        let mut frames = FrameWriter::new(&mut near);
        let stuck = frames.send(ToClient::Stdout, b"more than fits");
        assert!(futures_util::FutureExt::now_or_never(stuck).is_none());
        drop(far);
        let refused = frames.send(ToClient::Failed, b"{}").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
    }
}
