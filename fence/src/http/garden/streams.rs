//! The side connections of a process: one output each, raw, closed at its end.
//!
//! Output that nobody asked for in time and that no longer fitted into the buffer is marked by a line in its place. An
//! output goes on where the way to its process broke and is there again. Where it is not for a while, the end of what is
//! no end is marked by a line too: the protocol has no other words for it.

use http::StatusCode;

use super::{Error, HANDLE, KEY};
use crate::http::container;
use crate::http::hijack::{Hijacked, Writer, gone};
use crate::http::output;
use crate::http::segments::Segments;
use crate::supervisor::{Chunk, Hold, OutputReader, Stream, Supervisor};
use tokio::io::AsyncWriteExt;

/// Where in the path the attachment is named.
const STREAM: usize = 5;
/// As on the main connection: the name without the chunks.
const HEAD: [(&str, &str); 1] = [("Transfer-Encoding", "chunked")];

/// What stands where an output ends before its process does.
const CUT_OFF: &[u8] = b"\n[fence: this output is cut off here; attach again for what follows]\n";

/// Pass on one output of an attachment until it ends. An unknown attachment has none.
pub async fn output(supervisor: Supervisor, path: Segments, stream: Stream, mut connection: Hijacked) {
    match find(&supervisor, &path, stream, &mut connection).await {
        Ok((hold, output)) => pass_on(connection, hold, output).await,
        Err(error) => error.refuse(connection).await,
    }
}

async fn find(
    supervisor: &Supervisor,
    path: &Segments,
    stream: Stream,
    connection: &mut Hijacked,
) -> Result<(Hold, Option<OutputReader>), Error> {
    let (handle, hold) = container(supervisor, path.at(HANDLE))?;
    connection.body().await?;
    let process = path.at(KEY).parse().ok();
    let output = process.and_then(|process| supervisor.take_output(&handle, &process, path.at(STREAM), stream));
    Ok((hold, output))
}

async fn pass_on(mut connection: Hijacked, hold: Hold, output: Option<OutputReader>) {
    if connection.begin(StatusCode::OK, &HEAD, b"").await.is_err() {
        return;
    }
    if let Some(mut output) = output {
        tokio::select! {
            () = copy(&mut output, &mut connection.writer) => {}
            () = gone(&mut connection.reader) => return,
            () = connection.closing.cancelled() => {}
        }
    }
    drop(hold);
    connection.finish().await;
}

/// Until the end of the output, or until either side fails.
async fn copy(reader: &mut OutputReader, writer: &mut Writer) {
    loop {
        let written = match output::next_over_breaks(reader).await {
            Ok(Some(Chunk::Data(data))) => writer.write_all(&data).await,
            Ok(Some(Chunk::Dropped(bytes))) => {
                writer
                    .write_all(format!("\n[fence: {bytes} bytes of output were dropped here]\n").as_bytes())
                    .await
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!("an output was cut off, its process goes on: {}", error.chain());
                // A client that is gone does not miss it.
                let _ = writer.write_all(CUT_OFF).await;
                return;
            }
        };
        if written.is_err() || writer.flush().await.is_err() {
            return;
        }
        reader.delivered();
    }
}
