//! gRPC's messages: a byte that says whether it is compressed, four with the length, and the message itself.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What stands before each message.
pub const HEAD: usize = 5;

/// Why what was sent is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is compressed, which nothing of ours is.
    Compressed,
    /// It is longer than may be.
    TooLong,
    /// It ends in the middle, or something follows where one message is all.
    Length,
}

/// Puts together messages of what arrives in pieces.
#[derive(Debug)]
pub struct Frames {
    /// The longest message, in bytes.
    most: usize,
    arrived: BytesMut,
}

impl Frames {
    /// Of messages that are no longer than this.
    pub fn new(most: usize) -> Self {
        Frames {
            most,
            arrived: BytesMut::new(),
        }
    }

    /// Something arrived.
    pub fn push(&mut self, piece: &[u8]) {
        self.arrived.extend_from_slice(piece);
    }

    /// The next message, once it is whole.
    pub fn next(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some((head, _)) = self.arrived.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let [flag, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if flag != 0 {
            return Err(Malformed::Compressed);
        }
        if length > self.most {
            return Err(Malformed::TooLong);
        }
        if self.arrived.len() < HEAD + length {
            return Ok(None);
        }
        self.arrived.advance(HEAD);
        Ok(Some(self.arrived.split_to(length).freeze()))
    }

    /// Whether nothing is left over.
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }
}

/// The one message that this is, no longer than `most`.
pub fn single(body: &[u8], most: usize) -> Result<Bytes, Malformed> {
    let mut frames = Frames::new(most);
    frames.push(body);
    match frames.next()? {
        Some(message) if frames.is_empty() => Ok(message),
        _ => Err(Malformed::Length),
    }
}

/// A message to be sent.
pub fn framed(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(HEAD + length);
    frame.put_u8(0);
    // A message that was read is within bounds, and what is written of it is not longer than that by far.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // Only a buffer that does not grow can be too small.
    let _ = message.encode(&mut frame);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn single(body: &[u8]) -> Result<Bytes, Malformed> {
        super::single(body, 100)
    }

    fn frame(message: &[u8]) -> Vec<u8> {
        [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
    }

    #[test]
    fn one_message_is_one_and_whole() {
        assert_eq!(single(&frame(b"ab")).unwrap(), "ab");
        assert_eq!(single(&frame(b"")).unwrap(), "");
        assert_eq!(single(&frame(b"ab")[..6]), Err(Malformed::Length));
        assert_eq!(single(&[frame(b"a"), frame(b"b")].concat()), Err(Malformed::Length));
        assert_eq!(single(b""), Err(Malformed::Length));
        assert_eq!(single(b"\x01\0\0\0\x01a"), Err(Malformed::Compressed));
        assert_eq!(single(b"\0\xff\xff\xff\xffa"), Err(Malformed::TooLong));
        assert_eq!(single(b"\0\0\0\0\x65a"), Err(Malformed::TooLong));
    }

    proptest! {
        #[test]
        fn messages_are_the_same_however_they_are_cut(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6), cut in 1usize..9) {
            let all: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
            let (mut frames, mut read) = (Frames::new(100), Vec::new());
            for piece in all.chunks(cut) {
                frames.push(piece);
                while let Some(message) = frames.next().unwrap() {
                    read.push(message.to_vec());
                }
            }
            prop_assert_eq!(read, messages);
            prop_assert!(frames.is_empty());
        }

        #[test]
        fn anything_else_is_an_error_or_not_whole(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut frames = Frames::new(100);
            frames.push(&bytes);
            while let Ok(Some(_)) = frames.next() {}
        }
    }
}
