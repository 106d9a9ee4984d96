//! Files into a container and out of it, as tar streams. The container's own first program reads and writes them, as one
//! more process in there: whatever paths and links are like, nothing outside is in reach.
//!
//! Such a process is nobody's but fence's: it is in no list, cannot be attached to, and goes with whoever asked for it;
//! see [`crate::init`]. Nothing of a stream is kept for later.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fence_init::protocol::{BIN_DIR, BIN_NAME, SpawnSpec, TAR_IN, TAR_OUT};
use tokio::task::JoinHandle;

use super::entry::Entry;
use super::{Error, Result, Supervisor};
use crate::container::{Handle, MAX_PATH, MAX_USER, ProcessId};
use crate::init::{self, Chunk, Stream};

/// How long a stream may make no progress in the container.
const STUCK: Duration = Duration::from_secs(60);
/// How much of a stream waits in the container for fence, in bytes.
const BUFFER: usize = 256 * 1024;
/// The most that is kept of what is said to be wrong, in bytes.
const MAX_COMPLAINT: usize = 4 * 1024;
/// The exit status of an init that does not know this use of it.
const TOO_OLD: i32 = 1;

const IN: &str = "streaming in";
const OUT: &str = "streaming out";

impl Supervisor {
    /// Begin to unpack a tar stream in the container: as `user` (empty: root), below `destination`, which is made where it
    /// is missing; a relative one is below the user's home.
    pub async fn files_in(&self, handle: &Handle, user: &str, destination: &str) -> Result<FilesIn> {
        let transfer = self.transfer(handle, IN, [TAR_IN, user, destination]).await?;
        Ok(FilesIn { transfer })
    }

    /// Begin to pack `source` as a tar stream. What is not there is an empty archive.
    pub async fn files_out(&self, handle: &Handle, user: &str, source: &str) -> Result<FilesOut> {
        let transfer = self.transfer(handle, OUT, [TAR_OUT, user, source]).await?;
        let mut output = transfer.attachment.take_output(Stream::Stdout);
        // It packs nothing before its input has ended, so that no output comes before somebody asked for it.
        output.iter_mut().for_each(init::OutputReader::open);
        transfer
            .attachment
            .control()
            .close_input()
            .await
            .map_err(|error| transfer.lost(error))?;
        Ok(FilesOut { transfer, output })
    }

    async fn transfer(&self, handle: &Handle, what: &'static str, arguments: [&str; 3]) -> Result<Transfer> {
        let entry = self.entry(handle)?;
        let [_, user, path] = arguments;
        if user.len() > MAX_USER || path.len() > MAX_PATH || [user, path].iter().any(|text| text.contains('\0')) {
            return Err(refused(handle, what, "the user or the path cannot be one"));
        }
        self.check_running(&entry, "copy files")?;
        self.check_time_left()?;
        let id = ProcessId::internal();
        let spec = SpawnSpec {
            id: id.to_string(),
            path: format!("{BIN_DIR}/{BIN_NAME}"),
            args: arguments.map(str::to_owned).to_vec(),
            dir: "/".into(),
            buffer: BUFFER,
            ..SpawnSpec::default()
        };
        let attachment = entry.link.spawn(spec, id).await.map_err(|error| match error {
            init::Error::Refused(failure) => refused(handle, what, &failure.message),
            other => unreachable(handle, &other),
        })?;
        let complaint = attachment
            .take_output(Stream::Stderr)
            .map(|errors| tokio::spawn(gather(errors)));
        Ok(Transfer {
            entry,
            what,
            attachment,
            complaint,
        })
    }
}

/// A stream into a container. Dropped, it ends there too.
pub struct FilesIn {
    transfer: Transfer,
}

impl FilesIn {
    /// Pass on the next piece; waits while the container does not take it. `false` = it takes no more, see
    /// [`finish`](FilesIn::finish).
    pub async fn write(&mut self, data: Bytes) -> Result<bool> {
        let attachment = &self.transfer.attachment;
        let control = attachment.control();
        let written = tokio::select! {
            biased;
            _ = attachment.wait() => return Ok(false),
            written = tokio::time::timeout(STUCK, control.write(data, None)) => written,
        };
        match written {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) => Err(self.transfer.lost(error)),
            Err(_) => Err(self.transfer.stuck()),
        }
    }

    /// The stream is complete: wait until all of it is unpacked.
    pub async fn finish(mut self) -> Result<()> {
        let closed = self.transfer.attachment.control().close_input().await;
        closed.map_err(|error| self.transfer.lost(error))?;
        self.transfer.end().await
    }
}

/// A stream out of a container. Dropped, it ends there too.
pub struct FilesOut {
    transfer: Transfer,
    output: Option<init::OutputReader>,
}

impl FilesOut {
    /// The next piece. `None` = that was all, and all was well.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(output) = &mut self.output {
            // What was given before was passed on, or nobody would ask for more.
            output.delivered();
            match tokio::time::timeout(STUCK, output.next()).await {
                Ok(Ok(Some(Chunk::Data(data)))) => return Ok(Some(data)),
                Ok(Ok(None)) => {}
                Ok(Ok(Some(Chunk::Dropped(_)))) => {
                    return Err(refused(&self.transfer.entry.handle, OUT, "a part of it was lost"));
                }
                Ok(Err(error)) => return Err(self.transfer.lost(error)),
                Err(_) => return Err(self.transfer.stuck()),
            }
            self.output = None;
        }
        self.transfer.end().await.map(|()| None)
    }
}

/// The process in the container that a stream goes through.
struct Transfer {
    entry: Arc<Entry>,
    what: &'static str,
    attachment: init::Attachment,
    complaint: Option<JoinHandle<String>>,
}

impl Transfer {
    /// Wait until the process has ended; an error says what it complained of.
    async fn end(&mut self) -> Result<()> {
        let Ok(exit) = tokio::time::timeout(STUCK, self.attachment.wait()).await else {
            return Err(self.stuck());
        };
        let complaint = match self.complaint.take() {
            Some(complaint) => complaint.await.unwrap_or_default(),
            None => String::new(),
        };
        let why = match exit.status() {
            0 => return Ok(()),
            TOO_OLD => "the container runs the first process of an older fence, which cannot copy files; make it anew",
            status if complaint.is_empty() => &format!("it ended with status {status}"),
            _ => &complaint,
        };
        Err(refused(&self.entry.handle, self.what, why))
    }

    fn lost(&self, error: init::Error) -> Error {
        unreachable(&self.entry.handle, &error)
    }

    fn stuck(&self) -> Error {
        let why = format!("nothing moved in the container for {} s", STUCK.as_secs());
        refused(&self.entry.handle, self.what, &why)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(complaint) = self.complaint.take() {
            complaint.abort();
        }
        self.entry.link.discard(self.attachment.process());
    }
}

/// What a process says on its error output, up to a bound; the rest is thrown away.
async fn gather(mut errors: init::OutputReader) -> String {
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = errors.next().await {
        if let Chunk::Data(data) = chunk {
            let room = MAX_COMPLAINT - text.len();
            text.extend_from_slice(&data[..data.len().min(room)]);
        }
        errors.delivered();
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}

fn refused(handle: &Handle, what: &'static str, why: &str) -> Error {
    Error::Copy {
        handle: handle.clone(),
        what,
        message: why.to_owned(),
    }
}

fn unreachable(handle: &Handle, error: &init::Error) -> Error {
    Error::InitUnreachable {
        handle: handle.clone(),
        reason: error.to_string(),
    }
}
