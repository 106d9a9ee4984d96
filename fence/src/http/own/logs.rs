//! `GET /fence/v1/containers/H/logs`: what was kept of a container's output, a line of JSON an entry.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::HANDLE;
use super::error::Error;
use super::stream::{Query, Stream};
use crate::http::container;
use crate::http::hijack::Hijacked;
use crate::http::json;
use crate::http::segments::Segments;
use crate::supervisor::{self, Hold, LogFilter, LogPosition, Logs, Supervisor};

/// The most entries that can be asked for from the end.
const MAX_TAIL: u64 = 100_000;
/// How often a client that is sent nothing hears that fence is there.
const ALIVE: Duration = Duration::from_secs(15);

struct Asked {
    logs: Logs,
    filter: LogFilter,
    at: LogPosition,
    follow: bool,
    _hold: Hold,
}

/// Send what is kept, and, where that is asked for, what comes.
pub async fn show(supervisor: Supervisor, path: Segments, connection: Hijacked) {
    let asked = match asked(&supervisor, &path, Query::of(&connection)).await {
        Ok(asked) => asked,
        Err(error) => return error.refuse(connection).await,
    };
    let Some((mut stream, mut other)) = Stream::begin(connection, "application/x-ndjson").await else {
        return;
    };
    let done = tokio::select! {
        sent = send(asked, &mut stream) => sent.is_ok(),
        () = other.ended() => true,
    };
    if done {
        stream.finish(other).await;
    }
}

async fn asked(supervisor: &Supervisor, path: &Segments, query: Query) -> Result<Asked, Error> {
    let (handle, hold) = container(supervisor, path.at(HANDLE))?;
    let logs = supervisor.logs(&handle)?;
    let wrong = |name: &str| Error::invalid(format!("{name} makes no sense"));
    let filter = LogFilter {
        process: match query.text("process") {
            Some(name) => Some(name.parse().map_err(|_| wrong("process"))?),
            None => None,
        },
        stream: match query.text("stream") {
            None => None,
            Some("stdout") => Some(supervisor::Stream::Stdout),
            Some("stderr") => Some(supervisor::Stream::Stderr),
            Some(_) => return Err(Error::invalid("stream is stdout or stderr".into())),
        },
        since: match query.text("since") {
            Some(time) => Some(
                time.parse::<Timestamp>()
                    .map_err(|_| wrong("since, a time as in RFC 3339,"))?,
            ),
            None => None,
        },
    };
    let at = match (query.number("after")?, query.number("tail")?) {
        (Some(after), _) => LogPosition::after(after),
        (None, Some(count)) => {
            let count = usize::try_from(count.min(MAX_TAIL)).unwrap_or(usize::MAX);
            logs.tail(count, &filter).await?
        }
        (None, None) => LogPosition::default(),
    };
    Ok(Asked {
        logs,
        filter,
        at,
        follow: query.flag("follow", false)?,
        _hold: hold,
    })
}

async fn send(mut asked: Asked, stream: &mut Stream) -> io::Result<()> {
    loop {
        let batch = asked.logs.read(asked.at, &asked.filter).await;
        let batch = batch.map_err(io::Error::other)?;
        asked.at = batch.at;
        let mut lines = Vec::new();
        if batch.missed > 0 {
            lines.extend(json::line(&json!({ "missed": batch.missed })));
        }
        batch.entries.iter().for_each(|entry| lines.extend(json::line(entry)));
        stream.send(&lines).await?;
        if !batch.end {
            continue;
        }
        if !asked.follow {
            break;
        }
        match tokio::time::timeout(ALIVE, asked.logs.changed()).await {
            Ok(Some(())) => {}
            // It went with its container.
            Ok(None) => break,
            Err(_) => stream.send(b"\n").await?,
        }
    }
    stream.send(b"{\"end\":true}\n").await
}
