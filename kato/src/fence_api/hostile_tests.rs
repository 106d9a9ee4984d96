//! A fence that answers anything at all, or another program on its socket: kato says what is wrong, and ends.

use std::time::Duration;

use bytes::BytesMut;
use cluster::nodes::Paths;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio_util::codec::Decoder;

use super::Client;
use super::stream::{Codec, FromFence};

const DEADLINE: Duration = Duration::from_secs(20);

fn frames() -> Vec<Vec<u8>> {
    hostile::corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/frames"))
}

fn answers() -> Vec<Vec<u8>> {
    hostile::corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/answers"))
}

/// The frames in a stream, and why it was given up.
fn read(stream: &[u8], cuts: &[usize]) -> (Vec<FromFence>, Option<String>) {
    let mut buffer = BytesMut::new();
    let mut seen = Vec::new();
    for piece in hostile::pieces(stream, cuts) {
        buffer.extend_from_slice(piece);
        loop {
            match Codec.decode(&mut buffer) {
                Ok(Some(frame)) => seen.push(frame),
                Ok(None) => break,
                Err(error) => return (seen, Some(error.to_string())),
            }
        }
    }
    (seen, None)
}

#[test]
fn frames_of_the_corpus_are_the_same_however_they_are_cut() {
    for stream in frames() {
        assert_eq!(read(&stream, &[1]), read(&stream, &[stream.len()]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn spoilt_frames_are_the_same_however_they_are_cut(stream in hostile::spoilt(frames()), cuts in hostile::cuts()) {
        prop_assert_eq!(read(&stream, &cuts), read(&stream, &[stream.len().max(1)]));
    }
}

#[test]
fn whatever_fence_answers_is_understood_or_said_to_be_wrong() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::from_root(Some(directory.path()));
    std::fs::create_dir_all(paths.fence_run()).unwrap();
    let listener = runtime.block_on(async { UnixListener::bind(paths.garden_socket()).unwrap() });
    let client = Client::new(&paths);
    let asked = |answer: &[u8]| {
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut scrap = [0; 4096];
            let _ = stream.read(&mut scrap).await;
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        };
        let both = async { tokio::join!(client.containers(), answering).0 };
        let listed = runtime.block_on(async { tokio::time::timeout(DEADLINE, both).await });
        if let Err(error) = listed.expect("kato waits for ever") {
            let said = crate::error::chain(&error);
            assert!(!said.is_empty() && said.len() < 4096, "{said}");
        }
    };
    for answer in answers() {
        asked(&answer);
    }
    let config = ProptestConfig {
        source_file: Some(file!()),
        ..ProptestConfig::with_cases(200)
    };
    let spoilt = TestRunner::new(config).run(&hostile::spoilt(answers()), |answer| {
        asked(&answer);
        Ok(())
    });
    spoilt.unwrap();
}
