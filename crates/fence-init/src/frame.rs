//! Frames to bytes and back: the outermost layer of the [protocol](crate::protocol), for both sides.
//!
//! Works on byte buffers alone: no I/O, no waiting, so it fits init's poll loop as well as an asynchronous reader.
//! It checks lengths and heads; what a control message says is for its reader to decode and to check. A decoder
//! belongs to one connection and is thrown away with it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::{Kind, MAX_DATA, MAX_FRAME, Stream};

/// The length that stands before every frame, in bytes.
const LENGTH: usize = 4;
/// What stands between the kind byte and the data of an output frame: attachment and stream.
const OUTPUT_HEAD: usize = 5;
/// What stands between the kind byte and the data of an input frame: the process.
const INPUT_HEAD: usize = 4;
/// The length of what names a source, and of a place in its input.
const OFFSET: usize = 8;

/// Why bytes are no frame, or something cannot be made one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The frame announced is longer than [`MAX_FRAME`], or its data than [`MAX_DATA`].
    #[error("frame of {length} bytes is longer than {limit}")]
    TooLong { length: usize, limit: usize },
    /// The frame ends before its head does.
    #[error("frame of {length} bytes is too short for its kind")]
    TooShort { length: usize },
    /// No such kind.
    #[error("unknown kind of frame {0}")]
    UnknownKind(u8),
    /// No such stream.
    #[error("unknown output stream {0}")]
    UnknownStream(u8),
    /// A control message that is not the JSON expected.
    #[error("decode control message")]
    Decode(#[source] serde_json::Error),
    /// A control message that JSON cannot hold.
    #[error("encode control message")]
    Encode(#[source] serde_json::Error),
}

/// One frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The JSON of one message, see [`message`].
    Control(Vec<u8>),
    /// Output of a process, for one attachment.
    Output {
        attachment: u32,
        stream: Stream,
        data: Vec<u8>,
    },
    /// Input for a process.
    Input { process: u32, data: Vec<u8> },
    /// Input for a process, of which it may have a part already.
    InputFrom {
        process: u32,
        source: u64,
        from: u64,
        data: Vec<u8>,
    },
}

/// Turns bytes, as they come, into frames. Holds at most one frame and what was pushed with its end, as long as
/// every [`push`](Self::push) is followed by [`next_frame`](Self::next_frame) until that gives none.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where in `buffer` the next frame begins.
    start: usize,
}

impl Decoder {
    /// A decoder at the beginning of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if it is there. After an error the connection is of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        let rest = &self.buffer[self.start..];
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_FRAME {
            return Err(Error::TooLong {
                length,
                limit: MAX_FRAME,
            });
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = parse(body)?;
        self.start += LENGTH + length;
        if self.start == self.buffer.len() {
            // One long frame must not hold its memory for the rest of the connection.
            self.buffer.clear();
            self.buffer.shrink_to(MAX_DATA);
            self.start = 0;
        }
        Ok(Some(frame))
    }
}

/// Parses what follows the length.
fn parse(body: &[u8]) -> Result<Frame, Error> {
    let too_short = || Error::TooShort { length: body.len() };
    let (&kind, rest) = body.split_first().ok_or_else(too_short)?;
    if kind == Kind::Control as u8 {
        Ok(Frame::Control(rest.to_vec()))
    } else if kind == Kind::Output as u8 {
        let (&[a, b, c, d, stream], data) = rest.split_first_chunk::<OUTPUT_HEAD>().ok_or_else(too_short)?;
        check_data(data)?;
        let stream = match stream {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            other => return Err(Error::UnknownStream(other)),
        };
        Ok(Frame::Output {
            attachment: u32::from_be_bytes([a, b, c, d]),
            stream,
            data: data.to_vec(),
        })
    } else if kind == Kind::Input as u8 {
        let (process, data) = rest.split_first_chunk::<INPUT_HEAD>().ok_or_else(too_short)?;
        check_data(data)?;
        Ok(Frame::Input {
            process: u32::from_be_bytes(*process),
            data: data.to_vec(),
        })
    } else if kind == Kind::InputFrom as u8 {
        let (process, rest) = rest.split_first_chunk::<INPUT_HEAD>().ok_or_else(too_short)?;
        let (source, rest) = rest.split_first_chunk::<OFFSET>().ok_or_else(too_short)?;
        let (from, data) = rest.split_first_chunk::<OFFSET>().ok_or_else(too_short)?;
        check_data(data)?;
        Ok(Frame::InputFrom {
            process: u32::from_be_bytes(*process),
            source: u64::from_be_bytes(*source),
            from: u64::from_be_bytes(*from),
            data: data.to_vec(),
        })
    } else {
        Err(Error::UnknownKind(kind))
    }
}

fn check_data(data: &[u8]) -> Result<(), Error> {
    if data.len() > MAX_DATA {
        return Err(Error::TooLong {
            length: data.len(),
            limit: MAX_DATA,
        });
    }
    Ok(())
}

/// Reads the message of a [`Frame::Control`].
pub fn message<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json).map_err(Error::Decode)
}

/// One message as a frame. Fails where it would be longer than [`MAX_FRAME`].
pub fn encode_control<T: Serialize>(message: &T) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(message).map_err(Error::Encode)?;
    encode(Kind::Control, &[], &json)
}

/// Output as a frame. Fails where `data` is longer than [`MAX_DATA`].
pub fn encode_output(attachment: u32, stream: Stream, data: &[u8]) -> Result<Vec<u8>, Error> {
    check_data(data)?;
    let [a, b, c, d] = attachment.to_be_bytes();
    encode(Kind::Output, &[a, b, c, d, stream as u8], data)
}

/// Input as a frame. Fails where `data` is longer than [`MAX_DATA`].
pub fn encode_input(process: u32, data: &[u8]) -> Result<Vec<u8>, Error> {
    check_data(data)?;
    encode(Kind::Input, &process.to_be_bytes(), data)
}

/// Input of a source as a frame. Fails where `data` is longer than [`MAX_DATA`].
pub fn encode_input_from(process: u32, source: u64, from: u64, data: &[u8]) -> Result<Vec<u8>, Error> {
    check_data(data)?;
    let mut head = [0; INPUT_HEAD + 2 * OFFSET];
    head[..INPUT_HEAD].copy_from_slice(&process.to_be_bytes());
    head[INPUT_HEAD..INPUT_HEAD + OFFSET].copy_from_slice(&source.to_be_bytes());
    head[INPUT_HEAD + OFFSET..].copy_from_slice(&from.to_be_bytes());
    encode(Kind::InputFrom, &head, data)
}

fn encode(kind: Kind, head: &[u8], payload: &[u8]) -> Result<Vec<u8>, Error> {
    let length = 1 + head.len() + payload.len();
    let announced = u32::try_from(length).unwrap_or(u32::MAX);
    if length > MAX_FRAME {
        return Err(Error::TooLong {
            length,
            limit: MAX_FRAME,
        });
    }
    let mut frame = Vec::with_capacity(LENGTH + length);
    frame.extend_from_slice(&announced.to_be_bytes());
    frame.push(kind as u8);
    frame.extend_from_slice(head);
    frame.extend_from_slice(payload);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::ToInit;

    fn all(decoder: &mut Decoder) -> Result<Vec<Frame>, Error> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn a_message_comes_back_as_it_went() {
        let list = ToInit::List { seq: 7 };
        let mut decoder = Decoder::new();
        decoder.push(&encode_control(&list).unwrap());
        let Some(Frame::Control(json)) = decoder.next_frame().unwrap() else {
            panic!("no control frame")
        };
        assert_eq!(message::<ToInit>(&json).unwrap(), list);
        assert_eq!(decoder.next_frame().unwrap(), None);
    }

    #[test]
    fn a_huge_length_is_refused_before_its_bytes_come() {
        let mut decoder = Decoder::new();
        decoder.push(&[0xff, 0xff, 0xff, 0xff]);
        assert!(matches!(decoder.next_frame(), Err(Error::TooLong { .. })));
    }

    #[test]
    fn empty_frames_short_heads_and_unknown_bytes_are_refused() {
        let bad: [&[u8]; 7] = [
            &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[],
            &[9],
            &[1, 0, 0],
            &[2, 0, 0, 0],
            &[1, 0, 0, 0, 1, 0, b'x'],
            &[1, 0, 0, 0, 1, 3, b'x'],
        ];
        for body in bad {
            let mut decoder = Decoder::new();
            decoder.push(&u32::try_from(body.len()).unwrap().to_be_bytes());
            decoder.push(body);
            assert!(decoder.next_frame().is_err(), "{body:?}");
        }
    }

    #[test]
    fn more_data_than_the_limit_is_refused_on_both_sides() {
        let data = vec![0; MAX_DATA + 1];
        assert!(encode_input(1, &data).is_err());
        assert!(encode_output(1, Stream::Stdout, &data).is_err());
        assert!(encode_control(&"x".repeat(MAX_FRAME)).is_err());
        let mut decoder = Decoder::new();
        decoder.push(&encode(Kind::Input, &[0; 4], &data).unwrap());
        assert!(matches!(decoder.next_frame(), Err(Error::TooLong { .. })));
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let data = || proptest::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            ".{0,40}".prop_map(|text: String| Frame::Control(serde_json::to_vec(&text).unwrap())),
            (any::<u32>(), any::<bool>(), data()).prop_map(|(attachment, err, data)| {
                let stream = if err { Stream::Stderr } else { Stream::Stdout };
                Frame::Output {
                    attachment,
                    stream,
                    data,
                }
            }),
            (any::<u32>(), data()).prop_map(|(process, data)| Frame::Input { process, data }),
            (any::<u32>(), any::<u64>(), any::<u64>(), data()).prop_map(|(process, source, from, data)| {
                Frame::InputFrom {
                    process,
                    source,
                    from,
                    data,
                }
            }),
        ]
    }

    fn bytes_of(frame: &Frame) -> Vec<u8> {
        match frame {
            Frame::Control(json) => encode(Kind::Control, &[], json),
            Frame::Output {
                attachment,
                stream,
                data,
            } => encode_output(*attachment, *stream, data),
            Frame::Input { process, data } => encode_input(*process, data),
            Frame::InputFrom {
                process,
                source,
                from,
                data,
            } => encode_input_from(*process, *source, *from, data),
        }
        .unwrap()
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(frames in proptest::collection::vec(frame(), 0..12), cut in 1usize..97) {
            let bytes: Vec<u8> = frames.iter().flat_map(bytes_of).collect();
            let mut decoder = Decoder::new();
            let mut seen = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                seen.extend(all(&mut decoder).unwrap());
            }
            prop_assert_eq!(seen, frames);
        }

        #[test]
        fn garbage_never_panics(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..16)) {
            let mut decoder = Decoder::new();
            for piece in pieces {
                decoder.push(&piece);
                if all(&mut decoder).is_err() {
                    break;
                }
            }
        }
    }
}
