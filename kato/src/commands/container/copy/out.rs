//! Out of a container: unpacked on this machine, or as an archive on standard output.

use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use files::{Rights, Root};
use tokio::sync::mpsc;

use super::{Failure, LeftOut, PIECES, Side};
use crate::error::Error;
use crate::fence_api::{Archive, Client};

/// What comes from a container gets no rights on this machine.
const RIGHTS: Rights = Rights {
    owners: false,
    special: false,
};

pub async fn copy(
    client: &Client,
    handle: &str,
    user: &str,
    source: &str,
    to: &Side<'_>,
    moved: &AtomicU64,
) -> Result<LeftOut, Failure> {
    if matches!(to, Side::Stream) && io::stdout().is_terminal() {
        let error = Error::usage("an archive is nothing for a terminal").hint("kato container copy --help");
        return Err(Failure::Here(error));
    }
    let mut archive = client.files_out(handle, user, source).await.map_err(Failure::Fence)?;
    let first = archive.next().await.map_err(Failure::Fence)?.unwrap_or_default();
    // Every member begins with its name; an archive of nothing is zeros.
    if first.first().is_none_or(|byte| *byte == 0) {
        let error = Error::not_found(format!("there is no {source} in {handle}"));
        return Err(Failure::Here(
            error.hint(format!("kato container run {handle} -- ls -la")),
        ));
    }
    match to {
        Side::Path(path) => unpacked(archive, first, path, moved).await,
        _ => streamed(archive, first, moved).await,
    }
}

async fn streamed(mut archive: Archive, first: Bytes, moved: &AtomicU64) -> Result<LeftOut, Failure> {
    let mut piece = Some(first);
    while let Some(data) = piece {
        moved.fetch_add(data.len() as u64, Ordering::Relaxed);
        let written = io::stdout().lock().write_all(&data);
        written.map_err(|error| Failure::Here(Error::stdout(error)))?;
        piece = archive.next().await.map_err(Failure::Fence)?;
    }
    io::stdout()
        .lock()
        .flush()
        .map_err(|error| Failure::Here(Error::stdout(error)))?;
    Ok(LeftOut::default())
}

async fn unpacked(mut archive: Archive, first: Bytes, path: &str, moved: &AtomicU64) -> Result<LeftOut, Failure> {
    let failed = |error: io::Error| Failure::Here(Error::failed(format!("could not write to {path}")).because(error));
    std::fs::create_dir_all(path).map_err(failed)?;
    let root = Root::open(Path::new(path)).map_err(|errno| failed(errno.into()))?;
    let (pieces, received) = mpsc::channel(PIECES);
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut left_out = LeftOut::default();
        let input = Pieces {
            received,
            piece: Bytes::new(),
        };
        let done = files::unpack(input, root, RIGHTS, |line| left_out.add(line));
        done.map(|()| left_out)
    });
    let mut next = Ok(Some(first));
    while let Ok(Some(data)) = &next {
        moved.fetch_add(data.len() as u64, Ordering::Relaxed);
        if pieces.send(Ok(data.clone())).await.is_err() {
            break;
        }
        next = archive.next().await;
    }
    if next.is_err() {
        // So that what is there of it is not taken for the whole.
        let _ = pieces.send(Err(io::ErrorKind::UnexpectedEof.into())).await;
    }
    drop(pieces);
    let unpacked = unpacking.await.map_err(io::Error::other).map_err(failed)?;
    next.map_err(Failure::Fence)?;
    unpacked.map_err(|error| failed(io::Error::other(error)))
}

/// What an unpacking thread reads.
struct Pieces {
    received: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            match self.received.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
