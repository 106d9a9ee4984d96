//! `GET /fence/v1/events`: what happened to containers, as server-sent events whose id is the event's number.

use std::time::Duration;

use http::HeaderName;

use super::error::Error;
use super::stream::{Query, Stream, field};
use crate::http::hijack::Hijacked;
use crate::supervisor::{Batch, Supervisor};

/// How many events are looked up at a time.
const BATCH: usize = 256;
/// How often a client of which nothing happens hears that fence is there.
const ALIVE: Duration = Duration::from_secs(15);
/// By which a browser says where it was.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

struct Asked {
    since: u64,
    container: Option<String>,
    follow: bool,
}

/// Send what happened after a number, and, unless told otherwise, what happens from now on.
pub async fn follow(supervisor: Supervisor, connection: Hijacked) {
    let asked = match asked(&supervisor, &connection) {
        Ok(asked) => asked,
        Err(error) => return error.refuse(connection).await,
    };
    let Some((mut stream, mut other)) = Stream::begin(connection, "text/event-stream").await else {
        return;
    };
    let done = tokio::select! {
        sent = send(&supervisor, asked, &mut stream) => sent.is_ok(),
        () = other.ended() => true,
    };
    if done {
        stream.finish(other).await;
    }
}

fn asked(supervisor: &Supervisor, connection: &Hijacked) -> Result<Asked, Error> {
    let query = Query::of(connection);
    let resumed = field(connection, &LAST_EVENT_ID).and_then(|id| id.parse().ok());
    let since = query.number("since")?;
    let follow = query.flag("follow", true)?;
    // Who only wants what comes says nothing of what was.
    let now = || if follow { *supervisor.last_event().borrow() } else { 0 };
    Ok(Asked {
        since: resumed.or(since).unwrap_or_else(now),
        container: query.text("container").map(str::to_owned),
        follow,
    })
}

async fn send(supervisor: &Supervisor, asked: Asked, stream: &mut Stream) -> std::io::Result<()> {
    let mut last = supervisor.last_event();
    let mut at = asked.since;
    loop {
        last.mark_unchanged();
        let batch = supervisor.events_after(at, asked.container.as_deref(), BATCH);
        stream.send(&rendered(&batch)).await?;
        let more = batch.events.len() == BATCH;
        at = batch.upto;
        if more {
            continue;
        }
        if !asked.follow {
            return stream.send(b": end\n\n").await;
        }
        match tokio::time::timeout(ALIVE, last.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ok(()),
            Err(_) => stream.send(b":\n\n").await?,
        }
    }
}

fn rendered(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::new();
    if batch.missed {
        out.extend_from_slice(b"event: missed\ndata: {}\n\n");
    }
    for event in &batch.events {
        // A line of JSON has no line feed in it, whatever the texts are.
        let data = serde_json::to_string(&**event).unwrap_or_default();
        let (number, kind) = (event.number, event.what.name());
        out.extend_from_slice(format!("id: {number}\nevent: {kind}\ndata: {data}\n\n").as_bytes());
    }
    out
}
