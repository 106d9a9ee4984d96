//! Clients that send anything at all: each is answered or hung up on, and the others never notice.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::{DEADLINE, Served, fence};
use crate::http::body::{self, MAX_BODY};
use crate::http::head::{self, MAX_HEAD, Received};
use crate::http::segments::{self, Segments};

fn corpus() -> Vec<Vec<u8>> {
    hostile::corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/requests"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A stream that comes in these pieces.
fn arriving(stream: &[u8], cuts: &[usize]) -> impl tokio::io::AsyncRead + Unpin + use<> {
    let pieces: Vec<std::io::Result<Vec<u8>>> = hostile::pieces(stream, cuts).map(|piece| Ok(piece.to_vec())).collect();
    let pieces = pieces.into_iter().map(|piece| piece.map(std::io::Cursor::new));
    tokio_util::io::StreamReader::new(futures_util::stream::iter(pieces))
}

/// What both readers by hand make of it: the head, the body and what was left in the stream.
async fn read(stream: &[u8], cuts: &[usize]) -> Result<(Received, Option<Vec<u8>>, Vec<u8>), String> {
    let mut reader = arriving(stream, cuts);
    let received = head::read(&mut reader).await.map_err(|error| error.to_string())?;
    let rest = std::io::Cursor::new(received.bytes.slice(received.length..));
    let mut reader = BufReader::new(rest.chain(reader));
    let body = body::read(&received.head, &mut reader, &mut tokio::io::sink()).await;
    let body = body.ok().map(|body| body.to_vec());
    let mut left = Vec::new();
    reader.read_to_end(&mut left).await.unwrap();
    Ok((received, body, left))
}

fn holds(stream: &[u8], cuts: &[usize]) {
    let (whole, cut) = runtime().block_on(async { (read(stream, &[stream.len()]).await, read(stream, cuts).await) });
    match (whole, cut) {
        (Ok((head, body, left)), Ok((again, same_body, same_left))) => {
            assert!(head.length <= MAX_HEAD && head.length == again.length);
            assert_eq!(head.head.uri, again.head.uri);
            assert_eq!(body, same_body);
            let length = body.as_ref().map_or(0, Vec::len);
            assert!(length <= MAX_BODY && head.length + length + left.len() <= stream.len());
            if body.is_some() {
                assert_eq!(left, same_left, "both leave the client's stream where the body ends");
            }
            let decoded: usize = Segments::of(&head.head.uri).parts().iter().map(|part| part.len()).sum();
            // A byte that is not UTF-8 becomes three.
            assert!(decoded <= 3 * stream.len() && segments::query(&head.head.uri).len() <= stream.len());
        }
        (whole, cut) => assert_eq!(whole.is_ok(), cut.is_ok()),
    }
}

#[test]
fn heads_and_bodies_of_the_corpus_end_where_they_end_however_they_are_cut() {
    for request in corpus() {
        for cuts in [&[1][..], &[2, 5], &[40]] {
            holds(&request, cuts);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn spoilt_heads_and_bodies_end_where_they_end_however_they_are_cut(
        request in hostile::spoilt(corpus()), cuts in hostile::cuts(),
    ) {
        holds(&request, &cuts);
    }
}

/// Say this and no more, and leave as soon as there is an answer or the other side has hung up.
async fn say(served: &Served, stream: &[u8], cuts: &[usize]) {
    let mut client = UnixStream::connect(&served.socket).await.unwrap();
    for piece in hostile::pieces(stream, cuts) {
        if client.write_all(piece).await.is_err() {
            break;
        }
    }
    let _ = client.shutdown().await;
    let mut scrap = [0; 64];
    let first = tokio::time::timeout(DEADLINE, client.read(&mut scrap)).await;
    assert!(
        first.is_ok(),
        "neither an answer nor an end: {:?}",
        String::from_utf8_lossy(stream)
    );
}

/// A well-behaved client in between.
async fn all_is_well(served: &Served) {
    assert_eq!(served.ask("GET", "/ping", "").await.0, 200);
    assert_eq!(served.json("GET", "/fence/v1/containers", "").await.0, 200);
    assert_eq!(served.ask("GET", "/containers/h/info", "").await.0, 200);
}

#[test]
fn every_client_is_answered_or_hung_up_on_and_others_never_notice() {
    runtime().block_on(async {
        let (_node, served) = fence().await;
        assert_eq!(
            served.json("POST", "/containers", r#"{"handle":"h"}"#).await,
            (200, json!({"Handle": "h"}))
        );
        for request in corpus() {
            say(&served, &request, &[4096]).await;
        }
        all_is_well(&served).await;
        served.stop().await;
    });
}

#[test]
fn spoilt_requests_are_answered_or_hung_up_on_and_others_never_notice() {
    let runtime = runtime();
    let (_node, served) = runtime.block_on(async {
        let (node, served) = fence().await;
        assert_eq!(served.ask("POST", "/containers", r#"{"handle":"h"}"#).await.0, 200);
        (node, served)
    });
    let config = ProptestConfig {
        source_file: Some(file!()),
        ..ProptestConfig::with_cases(160)
    };
    let spoilt = TestRunner::new(config).run(&(hostile::spoilt(corpus()), hostile::cuts()), |(request, cuts)| {
        runtime.block_on(say(&served, &request, &cuts));
        Ok(())
    });
    spoilt.unwrap();
    runtime.block_on(async {
        all_is_well(&served).await;
        served.stop().await;
    });
}
