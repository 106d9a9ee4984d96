//! Kato's side of the agent's socket: one question, one answer, never a hang.

use std::io;
use std::path::Path;
use std::time::Duration;

use cluster::nodes::{NodeFile, Paths};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::wire::{Action, Answer, Failure, FailureKind, MAX_ANSWER, Question, Report, VERSION};
use crate::error::{Error, Result};

/// How long the agent may take to answer, beyond the time it was given for what it does.
const ANSWER: Duration = Duration::from_secs(5);
/// How long it is looked who listens where nobody answers.
const LOOK: Duration = Duration::from_secs(1);

/// Ask the agent. Not answering is an error of the kind "unreachable".
pub async fn ask(paths: &Paths, action: Action) -> Result<Report> {
    let bound = action.within().map(|within| within.saturating_add(ANSWER));
    let answer = match exchange(paths, action, bound).await {
        Ok(line) => serde_json::from_str(&line).map_err(io::Error::from),
        Err(error) => Err(error),
    };
    match answer {
        Ok(Answer::Done(report)) => Ok(*report),
        Ok(Answer::Failed(failure)) => Err(failed(failure)),
        Err(error) => Err(not_reached(paths, error).await),
    }
}

/// Whether an agent answers, whatever it says. One that is being ended still takes connections, and is not there; one
/// that takes a question and never answers is an error, as is one that this user may not ask.
pub async fn is_there(paths: &Paths) -> Result<bool> {
    match exchange(paths, Action::List, Some(ANSWER)).await {
        Ok(_) => Ok(true),
        Err(error) if is_in_the_way(&error) => Err(not_reached(paths, error).await),
        Err(_) => Ok(false),
    }
}

/// Whether there is an agent all the same.
fn is_in_the_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        // More questions are open than an agent that answers would leave.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::PermissionDenied
    )
}

/// The line that the agent answers with, within a bound if there is one.
async fn exchange(paths: &Paths, action: Action, bound: Option<Duration>) -> io::Result<String> {
    match bound {
        Some(bound) => timeout(bound, exchange_lines(paths, action))
            .await
            .unwrap_or_else(|_| Err(late(bound))),
        None => exchange_lines(paths, action).await,
    }
}

async fn exchange_lines(paths: &Paths, action: Action) -> io::Result<String> {
    let stream = UnixStream::connect(paths.agent_socket()).await?;
    let (reader, mut writer) = stream.into_split();
    let mut question = serde_json::to_vec(&Question {
        version: VERSION,
        action,
    })?;
    question.push(b'\n');
    writer.write_all(&question).await?;
    let mut line = String::new();
    BufReader::new(reader.take(MAX_ANSWER)).read_line(&mut line).await?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

fn late(bound: Duration) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no answer within {} s", bound.as_secs_f32()),
    )
}

async fn not_reached(paths: &Paths, error: io::Error) -> Error {
    use io::ErrorKind::*;
    if let Err(missing) = NodeFile::load(paths)
        && missing.is_missing()
    {
        return missing.into();
    }
    let socket = paths.agent_socket();
    let (message, hint) = match error.kind() {
        NotFound | ConnectionRefused => ("the agent of this node does not run", "kato start".to_owned()),
        // What was asked may have been begun; the next agent goes on with what is wanted.
        ConnectionReset | BrokenPipe | UnexpectedEof => (
            "the agent of this node ended before it answered",
            "kato start".to_owned(),
        ),
        PermissionDenied => (
            "only root may speak to the agent of this node",
            "run the command as root".to_owned(),
        ),
        TimedOut | WouldBlock => ("the agent of this node does not answer", how_to_replace(&socket).await),
        _ => (
            "the agent of this node does not answer",
            "kato process restart agent".to_owned(),
        ),
    };
    Error::unreachable(format!("{message} ({})", socket.display()))
        .because(error)
        .hint(hint)
}

/// What helps where an agent takes no orders: the system knows who listens at its socket.
async fn how_to_replace(socket: &Path) -> String {
    let connected = timeout(LOOK, UnixStream::connect(socket)).await;
    let listener = connected.ok().and_then(io::Result::ok);
    match listener.and_then(|stream| stream.peer_cred().ok()?.pid()) {
        Some(pid) => format!("kill -9 {pid} && kato start"),
        None => "end `kato agent`, then kato start".to_owned(),
    }
}

fn failed(failure: Failure) -> Error {
    let error = match failure.kind {
        FailureKind::Failed => Error::failed(failure.message),
        FailureKind::Refused => Error::refused(failure.message),
        FailureKind::NotFound => Error::not_found(failure.message),
        FailureKind::TimedOut => Error::unreachable(failure.message),
    };
    error.hint(failure.hint).detail(failure.log)
}
