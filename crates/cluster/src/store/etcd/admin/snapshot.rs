//! A snapshot: all of etcd, its users and history as well, in one file that `etcdctl snapshot restore` takes.

use std::io;
use std::path::Path;
use std::time::Duration;

use etcd_client::{Client, SnapshotStreaming};
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::super::failure::classify;
use super::Admin;
use crate::store::{Error, Result};

/// How long the next piece may take.
const PIECE: Duration = Duration::from_secs(10);
/// The largest snapshot: the largest quota that etcd recommends.
pub const MAX_SNAPSHOT: u64 = 8 * 1024 * 1024 * 1024;
const ATTEMPT: &str = "take a snapshot";

impl Admin {
    /// Write a snapshot to a file at `path`, for its owner alone, and return its size in bytes. The file is there whole
    /// or not at all; one that was there is replaced.
    pub async fn snapshot(&self, path: &Path) -> Result<u64> {
        let mut pieces = self
            .ask(ATTEMPT, |mut client: Client| async move { client.snapshot().await })
            .await?;
        let failed = |source: io::Error| Error::Failed {
            attempt: "write a snapshot of what is",
            place: self.connector.place(),
            source: format!("{}: {source}", path.display()).into(),
        };
        let directory = path
            .parent()
            .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let new = NamedTempFile::with_prefix_in(".new-", directory).map_err(failed)?;
        let mut file = File::from_std(new.reopen().map_err(failed)?);
        let mut size = 0;
        while let Some(piece) = self.next(&mut pieces).await? {
            size += piece.len() as u64;
            if size > MAX_SNAPSHOT {
                return Err(failed(io::ErrorKind::FileTooLarge.into()));
            }
            file.write_all(&piece).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        new.persist(path).map_err(|error| failed(error.error))?;
        std::fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)?;
        Ok(size)
    }

    /// The next piece; none after the last one. A stream that breaks off is an error.
    async fn next(&self, pieces: &mut SnapshotStreaming) -> Result<Option<Vec<u8>>> {
        match timeout(PIECE, pieces.message()).await {
            Ok(Ok(piece)) => Ok(piece.map(|piece| piece.blob().to_vec())),
            Ok(Err(error)) => Err(classify(error).into_error(ATTEMPT, &self.connector.place())),
            Err(_) => Err(Error::Unavailable {
                place: self.connector.place(),
                source: format!("the snapshot stopped for {} s", PIECE.as_secs()).into(),
            }),
        }
    }
}
