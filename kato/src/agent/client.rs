//! Kato's side of the agent's socket: one question, one answer, never a hang.

use std::io;
use std::time::Duration;

use cluster::nodes::{NodeFile, Paths};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::wire::{Action, Answer, Failure, FailureKind, MAX_ANSWER, Question, Report, VERSION};
use crate::error::{Error, Result};

/// How long the agent may take to answer, beyond the time it was given for what it does.
const ANSWER: Duration = Duration::from_secs(5);

/// Ask the agent. Not answering is an error of the kind "unreachable".
pub async fn ask(paths: &Paths, action: Action) -> Result<Report> {
    let bound = action.within().map(|within| within.saturating_add(ANSWER));
    let exchanged = match bound {
        Some(bound) => timeout(bound, exchange(paths, action))
            .await
            .unwrap_or_else(|_| Err(late(bound))),
        None => exchange(paths, action).await,
    };
    match exchanged.map_err(|error| not_reached(paths, error))? {
        Answer::Done(report) => Ok(*report),
        Answer::Failed(failure) => Err(failed(failure)),
    }
}

/// Whether an agent takes connections. An error where this user may not know.
pub async fn is_there(paths: &Paths) -> Result<bool> {
    let connecting = UnixStream::connect(paths.agent_socket());
    match timeout(ANSWER, connecting).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Err(not_reached(paths, error)),
        Ok(Err(_)) | Err(_) => Ok(false),
    }
}

async fn exchange(paths: &Paths, action: Action) -> io::Result<Answer> {
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
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it ended without an answer",
        ));
    }
    Ok(serde_json::from_str(&line)?)
}

fn late(bound: Duration) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("no answer within {} s", bound.as_secs_f32()),
    )
}

fn not_reached(paths: &Paths, error: io::Error) -> Error {
    if let Err(missing) = NodeFile::load(paths)
        && missing.is_missing()
    {
        return missing.into();
    }
    let socket = paths.agent_socket();
    let (message, hint) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ("the agent of this node does not run", "kato start")
        }
        io::ErrorKind::PermissionDenied => (
            "only root may speak to the agent of this node",
            "run the command as root",
        ),
        _ => ("the agent of this node does not answer", "kato process restart agent"),
    };
    Error::unreachable(format!("{message} ({})", socket.display()))
        .because(error)
        .hint(hint)
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
