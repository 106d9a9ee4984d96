//! The agent's socket: for root alone, one question a connection, everything bounded.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::desk::Desk;
use super::wire::{Action, Answer, Failure, FailureKind, MAX_QUESTION, Question, VERSION};

/// How many questions may be open at once; more wait.
const MAX_OPEN: usize = 256;
/// How long a question may take to arrive, and an answer to be taken.
const TALK: Duration = Duration::from_secs(5);

/// Open the socket. Whoever calls holds the agent's lock, so that a socket found here is a dead one's.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Nobody can connect by the name it has until its mode is right.
    let unready = PathBuf::from(format!("{}.new", path.display()));
    match std::fs::remove_file(&unready) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&unready)?;
    std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&unready, path)?;
    Ok(listener)
}

/// Answer until dropped; answers under way are in `open_answers`.
pub async fn serve(listener: UnixListener, desk: Arc<Desk>, open_answers: TaskTracker) {
    let open = Arc::new(Semaphore::new(MAX_OPEN));
    loop {
        // The semaphore is never closed, so that an error cannot happen; without a permit nothing is served.
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = Arc::clone(&desk);
                open_answers.spawn(async move {
                    if let Err(error) = answer(stream, &desk).await {
                        debug!(%error, "a question was not answered");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, say: it passes, and must not become a busy loop.
                warn!(%error, "could not accept a connection");
                tokio::time::sleep(TALK).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, desk: &Desk) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(MAX_QUESTION));
    timeout(TALK, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Question>(&line) {
        Ok(question) => {
            // Nobody waits any more for who went away; what was ordered goes on.
            let only_waits = matches!(question.action, Action::Ready { .. });
            tokio::select! {
                answer = desk.answer(question.action) => answer,
                () = gone(&mut reader), if only_waits => return Ok(()),
            }
        }
        Err(error) => not_understood(&line, &error),
    };
    timeout(TALK, writer.write_all(&encode(&answer)?)).await??;
    Ok(())
}

/// Returns when the peer has closed its side, or has sent more than any question is long. What it sends is thrown away.
async fn gone(reader: &mut (impl AsyncBufReadExt + Unpin)) {
    while let Ok(bytes) = reader.fill_buf().await
        && !bytes.is_empty()
    {
        let count = bytes.len();
        reader.consume(count);
    }
}

fn not_understood(line: &str, error: &serde_json::Error) -> Answer {
    #[derive(serde::Deserialize)]
    struct Head {
        version: u32,
    }
    let theirs = serde_json::from_str::<Head>(line).map_or(0, |head| head.version);
    let message = format!("the agent does not understand the question: {error}");
    let hint = if theirs > VERSION {
        "kato process restart agent"
    } else {
        ""
    };
    Answer::Failed(Failure {
        kind: FailureKind::Refused,
        message,
        hint: hint.into(),
        log: Vec::new(),
    })
}

fn encode(answer: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(answer)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::backoff::Timing;
    use super::super::memory::Memory;
    use super::super::process_control::fake::FakeProcesses;
    use super::super::supervisor::Supervisor;
    use super::*;
    use crate::fence_api;
    use cluster::nodes::Paths;
    use tokio_util::sync::CancellationToken;

    /// An agent without processes, and its socket.
    fn served() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let memory = Memory::load(&directory.path().join("agent.json")).unwrap();
        let control = Arc::new(FakeProcesses::default());
        let desk = Desk {
            supervisor: Supervisor::start_up(Vec::new(), control, memory, Timing::default()),
            agent: super::super::own_info(),
            fence: fence_api::Client::new(&Paths::from_root(Some(directory.path()))),
            shutdown: CancellationToken::new(),
            standing: tokio::sync::watch::Sender::new(None),
        };
        tokio::spawn(serve(bind(&socket).unwrap(), Arc::new(desk), TaskTracker::new()));
        (directory, socket)
    }

    /// What the agent answers to these bytes.
    async fn said(socket: &Path, question: &[u8]) -> String {
        let mut stream = UnixStream::connect(socket).await.unwrap();
        stream.write_all(question).await.unwrap();
        let mut answer = String::new();
        // An agent that hangs up before it has read everything may break the connection.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn the_socket_is_for_its_owner_alone() {
        let (_directory, socket) = served();
        assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        // An agent that was killed leaves it behind.
        drop(bind(&socket).unwrap());
    }

    #[tokio::test]
    async fn a_question_is_answered_with_one_line() {
        let (_directory, socket) = served();
        let answer = said(&socket, b"{\"version\":1,\"action\":\"list\"}\n").await;
        let Answer::Done(report) = serde_json::from_str(&answer).unwrap() else {
            panic!("{answer}")
        };
        assert_eq!((report.agent.pid, report.processes.len()), (std::process::id(), 1));
        assert!(answer.ends_with('\n'));
    }

    #[tokio::test]
    async fn what_is_not_understood_is_said_and_what_never_ends_is_cut_off() {
        let (_directory, socket) = served();
        let later = said(&socket, b"{\"version\":9,\"action\":\"fly\"}\n").await;
        assert!(
            later.contains("refused") && later.contains("kato process restart agent"),
            "{later}"
        );
        for nonsense in [
            b"\n".to_vec(),
            b"\xff\xfe\n".to_vec(),
            vec![b'x'; 2 * MAX_QUESTION as usize],
        ] {
            said(&socket, &nonsense).await;
        }
        assert!(
            said(&socket, b"{\"version\":1,\"action\":\"list\"}\n")
                .await
                .contains("done")
        );
    }

    #[tokio::test]
    async fn who_waits_and_goes_on_talking_is_noticed_when_it_leaves() {
        let (_directory, socket) = served();
        let ready = b"{\"version\":1,\"action\":\"ready\",\"processes\":[\"fence\"],\"within_ms\":null}\n";
        let chatter = [&ready[..], &vec![b'x'; 2 * MAX_QUESTION as usize]].concat();
        for _ in 0..MAX_OPEN + 1 {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            let _ = stream.write_all(&chatter).await;
        }
        let list = said(&socket, b"{\"version\":1,\"action\":\"list\"}\n");
        assert!(timeout(2 * TALK, list).await.unwrap().contains("done"));
    }

    /// Questions, good ones and others, but none that ends the agent: that is not what is asked here.
    fn corpus() -> Vec<Vec<u8>> {
        hostile::corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/questions"))
    }

    #[test]
    fn whatever_is_asked_the_agent_answers_or_hangs_up_and_goes_on() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (_directory, socket) = runtime.block_on(async { served() });
        let ask = |question: &[u8]| {
            let asking = async {
                let mut stream = UnixStream::connect(&socket).await.unwrap();
                let _ = stream.write_all(question).await;
                // Nothing more is coming, so that a question without an end is one too.
                let _ = stream.shutdown().await;
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
                answer
            };
            runtime
                .block_on(async { timeout(2 * TALK, asking).await })
                .expect("the agent neither answers nor hangs up")
        };
        for question in corpus() {
            ask(&question);
        }
        let config = proptest::prelude::ProptestConfig {
            source_file: Some(file!()),
            ..proptest::prelude::ProptestConfig::with_cases(200)
        };
        let spoilt = proptest::test_runner::TestRunner::new(config).run(&hostile::spoilt(corpus()), |question| {
            let answer = ask(&question);
            proptest::prop_assert!(answer.is_empty() || serde_json::from_slice::<Answer>(&answer).is_ok());
            Ok(())
        });
        spoilt.unwrap();
        let list = ask(b"{\"version\":1,\"action\":\"list\"}\n");
        assert!(String::from_utf8_lossy(&list).contains("done"));
    }

    #[tokio::test]
    async fn who_says_nothing_keeps_nobody_from_asking() {
        let (_directory, socket) = served();
        let _silent = UnixStream::connect(&socket).await.unwrap();
        assert!(
            said(&socket, b"{\"version\":1,\"action\":\"list\"}\n")
                .await
                .contains("done")
        );
    }
}
