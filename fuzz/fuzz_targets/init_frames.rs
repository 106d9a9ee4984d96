//! What either side of a container's socket makes of any bytes. The first byte says how long the pieces are in which
//! the others come; whatever the cut, the frames have to be the same.
#![no_main]

use fence_init::frame::{Decoder, Frame, message};
use fence_init::protocol::{FromInit, ToInit};
use libfuzzer_sys::fuzz_target;

fn frames(pieces: std::slice::Chunks<'_, u8>) -> (Vec<Frame>, bool) {
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

fuzz_target!(|data: &[u8]| {
    let Some((cut, bytes)) = data.split_first() else { return };
    let whole = frames(bytes.chunks(bytes.len().max(1)));
    assert_eq!(frames(bytes.chunks(usize::from(*cut).max(1))), whole);
    for frame in whole.0 {
        if let Frame::Control(json) = frame {
            let _ = message::<ToInit>(&json);
            let _ = message::<FromInit>(&json);
        }
    }
});
