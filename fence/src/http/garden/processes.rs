//! Run and attach: the main connection of a process.
//!
//! ```text
//!  client                          fence
//!    │ ── POST …/processes ─────────▶ │  supervisor.run: returns once the program runs
//!    │ ◀─ 201, {process_id,stream_id} │
//!    │ ── {source:0,data}, {signal} ▶ │  input; see `input`
//!    │ ◀─ {process_id,exit_status} ── │  as soon as it has ended; output comes on side connections, see `streams`
//! ```
//!
//! A client that goes away ends its attachment; the process goes on, and its input stays open for whoever attaches
//! next. When fence stops, the client gets an error as the last object and the process goes on too.

use http::StatusCode;

use super::{Error, HANDLE, KEY, convert, input, wire};
use crate::http::hijack::Hijacked;
use crate::http::json;
use crate::http::segments::Segments;
use crate::http::{container, process_id};
use crate::supervisor::{Attachment, Hold, Supervisor};

/// Chunked in name only: what follows the head is the bare objects, which is how Garden's client reads them.
const HEAD: [(&str, &str); 2] = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")];

/// Run a process and talk with its client until either has ended.
pub async fn run(supervisor: Supervisor, path: Segments, mut connection: Hijacked) {
    match start(&supervisor, &path, &mut connection).await {
        Ok((hold, attachment)) => converse(connection, StatusCode::CREATED, hold, attachment).await,
        Err(error) => error.refuse(connection).await,
    }
}

async fn start(
    supervisor: &Supervisor,
    path: &Segments,
    connection: &mut Hijacked,
) -> Result<(Hold, Attachment), Error> {
    let (handle, hold) = container(supervisor, path.at(HANDLE))?;
    let body = connection.body().await?;
    let spec = convert::process_spec(json::decode(&body)?)?;
    let attachment = supervisor.run(&handle, spec).await?;
    Ok((hold, attachment))
}

/// Attach to a process and talk with its client until either has ended.
pub async fn attach(supervisor: Supervisor, path: Segments, mut connection: Hijacked) {
    match find(&supervisor, &path, &mut connection).await {
        Ok((hold, attachment)) => converse(connection, StatusCode::OK, hold, attachment).await,
        Err(error) => error.refuse(connection).await,
    }
}

async fn find(
    supervisor: &Supervisor,
    path: &Segments,
    connection: &mut Hijacked,
) -> Result<(Hold, Attachment), Error> {
    let (handle, hold) = container(supervisor, path.at(HANDLE))?;
    connection.body().await?;
    let process = process_id(&handle, path.at(KEY))?;
    let attachment = supervisor.attach(&handle, &process).await?;
    Ok((hold, attachment))
}

async fn converse(mut connection: Hijacked, status: StatusCode, hold: Hold, attachment: Attachment) {
    let id = attachment.process_id().as_str();
    let first = wire::ProcessStarted {
        process_id: id,
        stream_id: attachment.stream_id(),
    };
    if connection.begin(status, &HEAD, &json::line(&first)).await.is_err() {
        return;
    }
    let last = tokio::select! {
        ended = attachment.wait() => match ended {
            Ok(exit) => wire::ProcessEnded { process_id: id, exit_status: Some(exit.0), error: None },
            Err(error) => wire::ProcessEnded { process_id: id, exit_status: None, error: Some(error.chain()) },
        },
        () = input::follow(&mut connection.reader, attachment.control()) => return,
        () = connection.closing.cancelled() => {
            let error = Some("fence is stopping; the process goes on".to_owned());
            wire::ProcessEnded { process_id: id, exit_status: None, error }
        }
    };
    let last = json::line(&last);
    drop((attachment, hold));
    connection.end_with(&last).await;
}
