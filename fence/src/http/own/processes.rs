//! Run and attach on one upgraded connection: input, both outputs and the exit, in frames.
//!
//! Back-pressure is the socket's, both ways: a process whose output is not read waits once the buffers are full, and
//! so do a client's signals behind input that the process does not read. A client that goes away ends its attachment
//! and nothing else.

use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use http::header::{CONNECTION, UPGRADE};
use tokio::sync::Mutex;

use super::error::Error;
use super::frames::{self, FrameWriter, FromClient, PROTOCOL, ToClient};
use super::{HANDLE, PROCESS, wire};
use crate::container::WindowSize;
use crate::http::garden::process_spec;
use crate::http::head::RequestHead;
use crate::http::hijack::{Hijacked, Reader, Writer};
use crate::http::json;
use crate::http::segments::Segments;
use crate::http::{container, process_id};
use crate::supervisor::{Attachment, Chunk, Hold, OutputReader, ProcessControl, Stream, Supervisor};

const STOPPING: &str = "fence is stopping; the process goes on";

/// Why an attachment ends before its process.
enum Early {
    /// The client is gone: nobody is left to be told.
    ClientLeft,
    Told(String),
}

impl From<std::io::Error> for Early {
    fn from(_: std::io::Error) -> Early {
        Early::ClientLeft
    }
}

impl From<crate::supervisor::Error> for Early {
    fn from(error: crate::supervisor::Error) -> Early {
        Early::Told(error.chain())
    }
}

/// Run a process, attached.
pub async fn run(supervisor: Supervisor, path: Segments, mut connection: Hijacked) {
    match start(&supervisor, &path, &mut connection).await {
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
    check_upgrade(&connection.head)?;
    let spec = process_spec(json::decode(&connection.body().await?)?)?;
    let attachment = supervisor.run(&handle, spec).await?;
    Ok((hold, attachment))
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
    check_upgrade(&connection.head)?;
    connection.body().await?;
    let process = process_id(&handle, path.at(PROCESS))?;
    let attachment = supervisor.attach(&handle, &process).await?;
    Ok((hold, attachment))
}

fn check_upgrade(head: &RequestHead) -> Result<(), Error> {
    if head.names(CONNECTION, "upgrade") && head.names(UPGRADE, PROTOCOL) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "this needs the fields `Connection: Upgrade` and `Upgrade: {PROTOCOL}`"
    )))
}

async fn converse(mut connection: Hijacked, hold: Hold, attachment: Attachment) {
    let fields = [("Connection", "Upgrade"), ("Upgrade", PROTOCOL)];
    if connection
        .begin(StatusCode::SWITCHING_PROTOCOLS, &fields, b"")
        .await
        .is_err()
    {
        return;
    }
    let writer = Mutex::new(FrameWriter::new(&mut connection.writer));
    let ended = tokio::select! {
        ended = output(&attachment, &writer) => ended,
        ended = input(&mut connection.reader, attachment.control()) => Err(ended),
        () = connection.closing.cancelled() => Err(Early::Told(STOPPING.to_owned())),
    };
    drop((attachment, hold));
    let mut writer = writer.into_inner();
    let told = match ended {
        Ok(exit_status) => {
            writer
                .send(ToClient::Exited, &json::line(&wire::Exited { exit_status }))
                .await
        }
        Err(Early::Told(error)) => {
            writer
                .send(ToClient::Failed, &json::line(&wire::Failed { error: &error }))
                .await
        }
        Err(Early::ClientLeft) => return,
    };
    if told.is_ok() {
        connection.finish().await;
    }
}

type Frames<'a> = Mutex<FrameWriter<'a, Writer>>;

/// Send all output, then give the exit status.
async fn output(attachment: &Attachment, writer: &Frames<'_>) -> Result<i32, Early> {
    let first = wire::Attached {
        process_id: attachment.process_id().as_str(),
        stream_id: attachment.stream_id(),
        tty: attachment.has_tty(),
    };
    writer
        .lock()
        .await
        .send(ToClient::Attached, &json::line(&first))
        .await?;
    tokio::try_join!(
        copy(attachment.take_output(Stream::Stdout), Stream::Stdout, writer),
        copy(attachment.take_output(Stream::Stderr), Stream::Stderr, writer),
    )?;
    Ok(attachment.wait().await?.0)
}

async fn copy(output: Option<OutputReader>, stream: Stream, writer: &Frames<'_>) -> Result<(), Early> {
    let Some(mut output) = output else {
        return Ok(());
    };
    let kind = match stream {
        Stream::Stdout => ToClient::Stdout,
        Stream::Stderr => ToClient::Stderr,
    };
    while let Some(chunk) = output.next().await? {
        let mut writer = writer.lock().await;
        match chunk {
            Chunk::Data(data) => writer.send(kind, &data).await?,
            Chunk::Dropped(bytes) => {
                let dropped = wire::Dropped {
                    dropped: wire::DroppedPart { stream, bytes },
                };
                writer.send(ToClient::Dropped, &json::line(&dropped)).await?;
            }
        }
        output.delivered();
    }
    Ok(())
}

/// Do what the client says until it leaves or breaks the protocol.
async fn input(reader: &mut Reader, control: ProcessControl) -> Early {
    let mut frames = frames::read_from(reader);
    loop {
        let done = match frames.next().await {
            None => return Early::ClientLeft,
            Some(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Early::Told(format!("a frame makes no sense: {error}"));
            }
            Some(Err(_)) => return Early::ClientLeft,
            Some(Ok(frame)) => act(frames::parse(frame), &control).await,
        };
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("could not pass on what a client said: {}", error.chain()),
            Err(error) => return Early::Told(format!("a frame makes no sense: {error}")),
        }
    }
}

/// The outer error is the client's fault, the inner one the process's affair.
async fn act(frame: FromClient, control: &ProcessControl) -> Result<crate::supervisor::Result<()>, serde_json::Error> {
    Ok(match frame {
        FromClient::Input(data) => control.write(data).await,
        FromClient::EndOfInput => control.close_input().await,
        FromClient::Signal(json) => control.signal(number(&json)?).await,
        FromClient::Resize(json) => {
            let wire::Size { columns, rows } = serde_json::from_slice(&json)?;
            control.resize(WindowSize { columns, rows }).await
        }
        FromClient::Unknown(kind) => {
            tracing::debug!("a client sent a frame of the unknown kind {kind}");
            Ok(())
        }
    })
}

fn number(json: &Bytes) -> Result<i32, serde_json::Error> {
    Ok(serde_json::from_slice::<wire::Signal>(json)?.signal)
}
