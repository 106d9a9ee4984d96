//! What the fake is given, read as Docker reads it: names, and archives that are read to their end and thrown away.

use tokio::io::AsyncReadExt;

use crate::{BadName, Error, ImageName, Result, TarStream};

/// How an archive is read: in pieces of this size.
const PIECE: usize = 64 << 10;

/// How long an archive is.
pub(super) async fn read_to_end(attempt: &str, mut tar: TarStream) -> Result<u64> {
    let (mut piece, mut size) = (vec![0; PIECE], 0);
    loop {
        match tar.read(&mut piece).await {
            Ok(0) => return Ok(size),
            Ok(read) => size += read as u64,
            Err(error) => {
                return Err(Error::Failed {
                    attempt: attempt.to_owned(),
                    reason: format!("its archive cannot be read: {error}"),
                });
            }
        }
    }
}

pub(super) fn image_name(attempt: &str, name: &str) -> Result<ImageName> {
    name.parse().map_err(|bad: BadName| Error::Refused {
        attempt: attempt.to_owned(),
        reason: bad.to_string(),
    })
}

pub(super) fn untagged_refused(attempt: &str, name: ImageName) -> Result<ImageName> {
    match name.digest() {
        None => Ok(name),
        Some(_) => {
            let reason = "an image cannot be given a digest".to_owned();
            Err(Error::Refused {
                attempt: attempt.to_owned(),
                reason,
            })
        }
    }
}
