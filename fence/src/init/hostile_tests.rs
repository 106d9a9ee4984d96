//! An init that says anything at all: its connection ends, whoever waited for it is told, and the next one is let in.

use std::path::Path;
use std::time::Duration;

use fence_init::frame::encode_control;
use fence_init::protocol::{Exit, FromInit, MAX_DATA, SOCKET_NAME, VERSION, WINDOW};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::session::MAX_STRANGERS;
use super::{Link, Stream};

const DEADLINE: Duration = Duration::from_secs(20);

fn corpus() -> Vec<Vec<u8>> {
    hostile::corpus(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../crates/fence-init/tests/corpus/frames"
    ))
}

fn hello() -> Vec<u8> {
    let hello = FromInit::Hello {
        protocol: VERSION,
        build: "b".into(),
        processes: Vec::new(),
        input_sources: true,
        logs: false,
    };
    encode_control(&hello).unwrap()
}

fn listen(directory: &Path) -> Link {
    let (link, _) = Link::listen(directory).unwrap();
    link.expect(std::process::id() as i32);
    link
}

async fn connect(directory: &Path) -> UnixStream {
    UnixStream::connect(directory.join(SOCKET_NAME)).await.unwrap()
}

/// Attach to the process that the corpus speaks of, and take its output for as long as there is any.
async fn take_output(link: Link) -> u64 {
    let Ok(attachment) = link.attach(&"p1".parse().unwrap()).await else {
        return 0;
    };
    let mut out = attachment.take_output(Stream::Stdout).unwrap();
    let mut taken = 0;
    while let Ok(Some(_)) = out.next().await {
        taken += 1;
    }
    taken
}

/// Send what there is, which fence may not want to hear to its end; then fence has to hang up.
async fn say(peer: &mut UnixStream, stream: &[u8], cuts: &[usize]) {
    for piece in hostile::pieces(stream, cuts) {
        if peer.write_all(piece).await.is_err() {
            break;
        }
    }
    let _ = peer.shutdown().await;
    let mut scrap = Vec::new();
    let _ = peer.take(1 << 20).read_to_end(&mut scrap).await;
}

async fn survives(stream: &[u8], cuts: &[usize]) {
    let directory = tempfile::tempdir().unwrap();
    let link = listen(directory.path());
    let mut peer = connect(directory.path()).await;
    // The first frame apart: fence asks nothing before it is greeted.
    let length = stream.first_chunk().map_or(0, |length| u32::from_be_bytes(*length)) as usize;
    let (greeting, rest) = stream.split_at(stream.len().min(length.saturating_add(4)));
    let _ = peer.write_all(greeting).await;
    if rest.is_empty() {
        let _ = peer.shutdown().await;
    }
    let greeted = tokio::select! {
        greeted = link.connected() => greeted.is_ok(),
        _ = peer.readable() => false,
    };
    let waiting = greeted.then(|| tokio::spawn(take_output(link.clone())));
    if greeted {
        peer.readable().await.unwrap();
    }
    say(&mut peer, rest, cuts).await;
    if let Some(waiting) = waiting {
        waiting.await.unwrap();
    }
    let mut next = connect(directory.path()).await;
    next.write_all(&hello()).await.unwrap();
    link.connected().await.unwrap();
    link.close();
}

fn bounded(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(DEADLINE, work)
            .await
            .expect("something waited without end")
    });
}

#[test]
fn the_corpus_ends_its_own_connection_at_most() {
    for sample in corpus() {
        bounded(survives(&sample, &[4096]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn spoilt_streams_end_their_own_connection_at_most(
        stream in hostile::spoilt(corpus()), cuts in hostile::cuts(), greets in any::<bool>(),
    ) {
        let stream = if greets { [hello(), stream].concat() } else { stream };
        bounded(survives(&stream, &cuts));
    }
}

#[test]
fn more_output_than_the_window_ends_the_connection() {
    let attached = FromInit::Attached {
        seq: 1,
        process: 1,
        stdout_from: 0,
        stderr_from: 0,
        tty: false,
        exit: None,
    };
    let mut flood = encode_control(&attached).unwrap();
    for _ in 0..=WINDOW as usize / MAX_DATA {
        flood.extend(fence_init::frame::encode_output(1, Stream::Stdout, &vec![b'x'; MAX_DATA]).unwrap());
    }
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let link = listen(directory.path());
        let mut peer = connect(directory.path()).await;
        peer.write_all(&hello()).await.unwrap();
        link.connected().await.unwrap();
        let taking = tokio::spawn(take_output(link));
        peer.readable().await.unwrap();
        say(&mut peer, &flood, &[flood.len()]).await;
        assert!(taking.await.unwrap() <= WINDOW / MAX_DATA as u64);
    });
}

#[test]
fn ends_of_processes_that_nobody_knows_do_not_pile_up() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let link = listen(directory.path());
        let mut peer = connect(directory.path()).await;
        peer.write_all(&hello()).await.unwrap();
        for number in 0..=MAX_STRANGERS {
            let exited = FromInit::Exited {
                id: format!("p{number}"),
                exit: Exit::Code(0),
            };
            if peer.write_all(&encode_control(&exited).unwrap()).await.is_err() {
                break;
            }
        }
        // Fence hangs up, though this side does not.
        let mut answers = Vec::new();
        let _ = peer.read_to_end(&mut answers).await;
        link.close();
    });
}
