//! A snapshot: all of etcd, its history as well, in one file that `etcdctl snapshot restore` takes.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use etcd_client::{Client, SnapshotStreaming};
use sha2::{Digest, Sha256};
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
/// The bytes of the hash at its end, and what the database before it is a multiple of.
const HASH: u64 = 32;
const PAGE: u64 = 512;
const ATTEMPT: &str = "take a snapshot";

/// Whether the file at `path` is a whole snapshot: etcd ends it with the SHA-256 of all before that. Reads all of it.
pub fn check_snapshot(path: &Path) -> io::Result<()> {
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let content = size
        .checked_sub(HASH)
        .filter(|content| *content > 0 && content % PAGE == 0);
    let content = content.ok_or_else(|| damaged("it does not have the size of a snapshot"))?;
    if size > MAX_SNAPSHOT {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let (mut hash, mut part, mut left) = (Sha256::new(), vec![0; 1 << 20], content);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
        let some = &mut part[..most];
        file.read_exact(some)?;
        hash.update(&*some);
        left -= most as u64;
    }
    let mut said = Vec::new();
    file.take(HASH).read_to_end(&mut said)?;
    match hash.finalize().as_slice() == said {
        true => Ok(()),
        false => Err(damaged("its hash is not the one it says")),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_is_not_whole_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        let mut content = vec![7; 3 << 19];
        content.extend(Sha256::digest(&content));
        let check = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            check_snapshot(&path)
        };
        check(&content).unwrap();
        let mut flipped = content.clone();
        flipped[1 << 20] ^= 1;
        for spoilt in [
            &flipped,
            &content[..content.len() - 1],
            &content[..512],
            &content[..32],
            b"",
        ] {
            assert_eq!(check(spoilt).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(check_snapshot(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
