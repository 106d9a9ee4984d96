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

/// Returns when the peer has closed its side. Anything else it sends is not read on.
async fn gone(reader: &mut (impl AsyncBufReadExt + Unpin)) {
    match reader.fill_buf().await {
        Ok([]) | Err(_) => {}
        Ok(_) => std::future::pending().await,
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
