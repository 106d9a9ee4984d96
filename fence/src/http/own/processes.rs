//! Run and attach on one upgraded connection: input, both outputs and the exit, in frames.
//!
//! Back-pressure is the socket's, both ways: a process whose output is not read waits once the buffers are full, and
//! so does a client whose input is not read. A client that goes away ends its attachment and nothing else. What it
//! says is in [`super::input`].

use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{StatusCode, Uri};
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use super::delivery::{Heard, Output};
use super::error::Error;
use super::frames::{FrameWriter, PROTOCOL, ToClient};
use super::input::{self, Taken};
use super::{HANDLE, PROCESS, wire};
use crate::http::garden::process_spec;
use crate::http::head::RequestHead;
use crate::http::hijack::{Hijacked, Writer};
use crate::http::json;
use crate::http::relay::{AFTERWARDS, WINDOW};
use crate::http::segments::{self, Segments};
use crate::http::{container, process_id};
use crate::supervisor::{Attachment, Hold, InputSource, ProcessControl, Stream, Supervisor};

/// How long a frame that is being sent may hold up the end.
const SETTLE: Duration = Duration::from_secs(1);
/// How long those attached may take to leave before another is attached beside them. Whoever was killed has left, but it
/// may not have been noticed yet; of those who stay nothing is known but that they have not left.
const LEAVING: Duration = Duration::from_millis(500);
const STOPPING: &str = "fence is stopping; the process goes on";

/// Why an attachment ends before its process.
pub enum Early {
    /// The client is gone: nobody is left to be told.
    ClientLeft,
    /// Fence goes; the next one has the process.
    Stopping,
    /// The way to the container's first process broke; it will be there again in a moment.
    Lost(String),
    /// What the client is told.
    Told(String),
}

impl From<std::io::Error> for Early {
    fn from(_: std::io::Error) -> Early {
        Early::ClientLeft
    }
}

impl From<crate::supervisor::Error> for Early {
    fn from(error: crate::supervisor::Error) -> Early {
        match error.is_temporary() {
            true => Early::Lost(error.chain()),
            false => Early::Told(error.chain()),
        }
    }
}

/// Run a process, attached; or, with `?detached=true`, only start it.
pub async fn run(supervisor: Supervisor, path: Segments, mut connection: Hijacked) {
    let detached = asked(&connection, "detached");
    match start(&supervisor, &path, &mut connection).await {
        Ok((hold, attachment)) if detached => hand_over(connection, hold, attachment).await,
        Ok((hold, attachment)) => converse(connection, hold, attachment).await,
        Err(error) => error.refuse(connection).await,
    }
}

async fn start(
    supervisor: &Supervisor,
    path: &Segments,
    connection: &mut Hijacked,
) -> Result<(Hold, Attachment), Error> {
    let (handle, hold) = container(supervisor, path.at(HANDLE))?;
    check(&connection.head)?;
    let mut spec = process_spec(json::decode(&connection.body().await?)?)?;
    spec.log = asked(connection, "log");
    let attachment = supervisor.run(&handle, spec).await?;
    Ok((hold, attachment))
}

/// Whether the query asks for this.
fn asked(connection: &Hijacked, what: &str) -> bool {
    segments::query(&connection.head.uri).contains(&(what.into(), "true".into()))
}

/// The name of the source that the client says its input is of.
fn source_name(uri: &Uri) -> Result<Option<u64>, Error> {
    let query = segments::query(uri);
    let Some((_, name)) = query.iter().find(|(key, _)| key == "stdin_source") else {
        return Ok(None);
    };
    let wrong = |_| Error::invalid(format!("stdin_source is no number: {name}"));
    name.parse().map(Some).map_err(wrong)
}

/// The client's source, with what the process has of it.
async fn source(uri: &Uri, control: &ProcessControl) -> Option<InputSource> {
    let name = source_name(uri).ok().flatten()?;
    match control.input_source(name).await {
        Ok(source) => source,
        Err(error) => {
            // The attachment will hear of it too, and ends.
            tracing::debug!("could not learn what a process has of its input: {}", error.chain());
            None
        }
    }
}

/// Attach to a process that runs already.
pub async fn attach(supervisor: Supervisor, path: Segments, mut connection: Hijacked) {
    match find(&supervisor, &path, &mut connection).await {
        Ok((hold, attachment)) => converse(connection, hold, attachment).await,
        Err(error) => error.refuse(connection).await,
    }
}

async fn find(
    supervisor: &Supervisor,
    path: &Segments,
    connection: &mut Hijacked,
) -> Result<(Hold, Attachment), Error> {
    let (handle, hold) = container(supervisor, path.at(HANDLE))?;
    check(&connection.head)?;
    connection.body().await?;
    let process = process_id(&handle, path.at(PROCESS))?;
    let attachment = supervisor.attach_after(&handle, &process, LEAVING).await?;
    Ok((hold, attachment))
}

fn check(head: &RequestHead) -> Result<(), Error> {
    source_name(&head.uri)?;
    if head.names(CONNECTION, "upgrade") && head.names(UPGRADE, PROTOCOL) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "this needs the fields `Connection: Upgrade` and `Upgrade: {PROTOCOL}`"
    )))
}

/// Tell the client what it started and hear what it says of the input, until it leaves. It is sent no output: all of it
/// is for whoever attaches next, and the connection is closed only when the attachment is no longer in their way.
async fn hand_over(mut connection: Hijacked, hold: Hold, attachment: Attachment) {
    if switch(&mut connection).await.is_ok() {
        let writer = Mutex::new(FrameWriter::new(&mut connection.writer));
        let (control, taken) = (attachment.control(), Taken::default());
        if greet(&attachment, None, None, &writer).await.is_ok() {
            let heard = Heard::new(false);
            tokio::select! {
                _left = input::obey(&mut connection.reader, &control, None, &taken, &heard, &writer) => {}
                () = connection.closing.cancelled() => {}
            }
        }
    }
    attachment.leave();
    drop((hold, connection));
}

async fn switch(connection: &mut Hijacked) -> std::io::Result<()> {
    let fields = [("Connection", "Upgrade"), ("Upgrade", PROTOCOL)];
    connection.begin(StatusCode::SWITCHING_PROTOCOLS, &fields, b"").await
}

async fn converse(mut connection: Hijacked, hold: Hold, attachment: Attachment) {
    let acks = asked(&connection, "output_acks");
    let source = source(&connection.head.uri, &attachment.control()).await;
    if switch(&mut connection).await.is_err() {
        return;
    }
    let writer = Mutex::new(FrameWriter::new(&mut connection.writer));
    let (control, taken, heard) = (attachment.control(), Taken::default(), Heard::new(acks));
    let ended = tokio::select! {
        ended = pass_on(&attachment, source, &heard, &writer) => ended,
        ended = input::obey(&mut connection.reader, &control, source, &taken, &heard, &writer) => Err(ended),
        _held = between_frames(&connection.closing, &writer) => Err(Early::Stopping),
    };
    drop((attachment, hold));
    if tell_end(ended, &taken, &writer).await.is_ok() {
        connection.finish().await;
    }
}

/// Wait until fence stops, and then for a moment in which no frame is half-sent: what was sent and passed on until
/// then is told exactly, and a client that comes back misses nothing and gets nothing twice.
async fn between_frames<'a, 'b>(
    closing: &CancellationToken,
    writer: &'a Frames<'b>,
) -> Option<MutexGuard<'a, FrameWriter<'b, Writer>>> {
    closing.cancelled().await;
    tokio::time::timeout(SETTLE, writer.lock()).await.ok()
}

/// The last frames. An error means that the client did not get them.
async fn tell_end(ended: Result<i32, Early>, taken: &Taken, writer: &Frames<'_>) -> std::io::Result<()> {
    let failed = |error: &str, again| (ToClient::Failed, json::line(&wire::Failed { error, again }));
    let (kind, last) = match ended {
        Ok(exit_status) => (ToClient::Exited, json::line(&wire::Exited { exit_status })),
        Err(Early::Stopping) => failed(STOPPING, true),
        Err(Early::Lost(error)) => failed(&error, true),
        Err(Early::Told(error)) => failed(&error, false),
        Err(Early::ClientLeft) => return Err(std::io::ErrorKind::BrokenPipe.into()),
    };
    taken.tell(writer).await?;
    writer.lock().await.send(kind, &last).await
}

/// Frames to one client, from several sources.
pub type Frames<'a> = Mutex<FrameWriter<'a, Writer>>;

/// The first frame.
async fn greet(
    attachment: &Attachment,
    source: Option<InputSource>,
    from: Option<wire::From>,
    writer: &Frames<'_>,
) -> std::io::Result<()> {
    let first = wire::Attached {
        process_id: attachment.process_id().as_str(),
        stream_id: attachment.stream_id(),
        tty: attachment.has_tty(),
        stdin_window: WINDOW,
        stdin_from: source.map(|source| source.position()),
        from,
    };
    writer.lock().await.send(ToClient::Attached, &json::line(&first)).await
}

/// Send all output, then give the exit status.
async fn pass_on(
    attachment: &Attachment,
    source: Option<InputSource>,
    heard: &Heard,
    writer: &Frames<'_>,
) -> Result<i32, Early> {
    let mut stdout = Output::take(attachment, Stream::Stdout, heard);
    let mut stderr = Output::take(attachment, Stream::Stderr, heard);
    let from = wire::From {
        stdout_from: stdout.as_ref().map_or(0, Output::position),
        stderr_from: stderr.as_ref().map_or(0, Output::position),
    };
    let sending = async {
        greet(attachment, source, Some(from), writer).await?;
        tokio::try_join!(send(stdout.as_mut(), writer), send(stderr.as_mut(), writer))?;
        Ok(attachment.wait().await?.0)
    };
    let sent = tokio::select! {
        sent = sending => sent,
        () = heard.left() => Err(Early::ClientLeft),
    };
    if let Err(Early::ClientLeft) = sent {
        // What it said last may still be on its way.
        let _ = tokio::time::timeout(SETTLE, heard.left()).await;
        // Its output is for others now. Its input may still wait for the process, which ends this before long.
        drop((stdout, stderr));
        tokio::time::sleep(2 * AFTERWARDS).await;
    }
    sent
}

async fn send(output: Option<&mut Output<'_>>, writer: &Frames<'_>) -> Result<(), Early> {
    match output {
        Some(output) => output.send(writer).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::supervisor;

    /// The bytes a client is sent last.
    async fn told(ended: Result<i32, Early>) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(4096);
        let mut server: Writer = Box::new(server);
        {
            let writer = Mutex::new(FrameWriter::new(&mut server));
            tell_end(ended, &Taken::default(), &writer).await.unwrap();
        }
        drop(server);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    fn handle() -> crate::container::Handle {
        "h".parse().unwrap()
    }

    #[tokio::test]
    async fn a_client_whose_process_is_out_of_reach_for_a_moment_is_told_to_come_again() {
        let lost = supervisor::Error::InitUnreachable {
            handle: handle(),
            reason: "the connection was lost".into(),
        };
        let last = told(Err(lost.into())).await;
        let json: serde_json::Value = serde_json::from_slice(&last[5..]).unwrap();
        assert_eq!((last[0], &json["again"]), (5, &true.into()));
        assert!(json["error"].as_str().unwrap().contains("lost"), "{json}");
    }

    #[tokio::test]
    async fn a_client_is_not_told_to_come_again_for_what_does_not_pass() {
        let refused = supervisor::Error::ProcessRefused {
            handle: handle(),
            message: "no".into(),
        };
        let last = told(Err(refused.into())).await;
        let json: serde_json::Value = serde_json::from_slice(&last[5..]).unwrap();
        assert_eq!((last[0], &json["again"]), (5, &false.into()));
    }
}
