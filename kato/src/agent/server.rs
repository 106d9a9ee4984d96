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
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else { return };
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
    let hint = if theirs > VERSION { "kato process restart agent" } else { "" };
    Answer::Failed(Failure { kind: FailureKind::Refused, message, hint: hint.into(), log: Vec::new() })
}

fn encode(answer: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(answer)?;
    bytes.push(b'\n');
    Ok(bytes)
}
