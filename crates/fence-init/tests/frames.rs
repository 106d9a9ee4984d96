//! The protocol under any bytes: the same frames however they are cut, never a panic, never more than was sent.

use fence_init::frame::{Decoder, Frame, encode_control, message};
use fence_init::protocol::{FromInit, MAX_FRAME, ToInit};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn corpus() -> Vec<Vec<u8>> {
    hostile::corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/frames"))
}

/// The frames in these pieces, and whether what comes after them is none.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, bool) {
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => seen.push(frame),
                Ok(None) => break,
                Err(_) => return (seen, true),
            }
        }
    }
    (seen, false)
}

fn payload(frame: &Frame) -> usize {
    match frame {
        Frame::Control(data)
        | Frame::Output { data, .. }
        | Frame::Input { data, .. }
        | Frame::InputFrom { data, .. } => data.len(),
    }
}

/// What was understood is understood again as the same.
fn is_stable<T: Serialize + DeserializeOwned + PartialEq>(json: &[u8]) -> bool {
    let Ok(understood) = message::<T>(json) else {
        return true;
    };
    let Ok(bytes) = encode_control(&understood) else {
        // Escaped it is longer than a frame.
        return json.len() * 6 > MAX_FRAME;
    };
    let (again, _) = frames(std::iter::once(&bytes[..]));
    matches!(&again[..], [Frame::Control(json)] if message::<T>(json).is_ok_and(|again| again == understood))
}

fn holds(stream: &[u8], cuts: &[usize]) {
    let (whole, refused) = frames(std::iter::once(stream));
    let total: usize = whole.iter().map(payload).sum();
    assert!(total <= stream.len());
    for frame in &whole {
        if let Frame::Control(json) = frame {
            assert!(is_stable::<ToInit>(json) && is_stable::<FromInit>(json));
        }
    }
    assert_eq!(frames(hostile::pieces(stream, cuts)), (whole, refused));
}

#[test]
fn the_corpus_holds_however_it_is_cut() {
    for sample in corpus() {
        for cuts in [&[1][..], &[3, 7], &[4096]] {
            holds(&sample, cuts);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn spoilt_streams_hold_however_they_are_cut(stream in hostile::spoilt(corpus()), cuts in hostile::cuts()) {
        holds(&stream, &cuts);
    }
}
