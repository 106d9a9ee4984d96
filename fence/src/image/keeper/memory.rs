//! Which image was in use when an earlier fence ended: a name and an id in one file, written whole.
//!
//! It is a hint for the next start, not a promise: what cannot be read is as if it was never there, what cannot be
//! written is told in the log. The keeper owns the file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::fault;

/// How much is read of what an earlier fence remembered, in bytes.
const MAX_MEMORY: u64 = 64 * 1024;

/// What is kept on disk.
#[derive(Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) name: String,
    pub(super) id: String,
}

/// The file.
pub(super) struct Memory {
    path: PathBuf,
}

impl Memory {
    pub(super) fn new(path: PathBuf) -> Memory {
        Memory { path }
    }

    /// What an earlier fence used, where it is known.
    pub(super) async fn read(&self) -> Option<Remembered> {
        let file = tokio::fs::File::open(&self.path).await.ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_MEMORY).read_to_end(&mut bytes).await.ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Write down that this image is in use now.
    pub(super) fn keep(&self, name: &str, id: &str) {
        let remembered = Remembered {
            name: name.to_owned(),
            id: id.to_owned(),
        };
        let fresh = self.path.with_extension("new");
        let written = serde_json::to_vec(&remembered)
            .map_err(std::io::Error::other)
            .and_then(|json| std::fs::write(&fresh, json))
            .inspect(|()| fault::point("image/written"))
            .and_then(|()| std::fs::rename(&fresh, &self.path))
            .inspect(|()| fault::point("image/remembered"));
        if let Err(error) = written {
            let path = self.path.display();
            tracing::warn!(%path, %error, "could not write down which image is in use");
        }
    }
}
