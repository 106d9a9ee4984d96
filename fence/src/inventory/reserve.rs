//! Room on the inventory's disk that nothing else can take: a destroy has to be written down, and SQLite needs room to
//! write down even that something is gone. Blocking.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Enough for the ends of some hundred containers: the records' pages in the log.
const BYTES: usize = 2 * 1024 * 1024;
/// Written at a time.
static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];

/// The room.
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The room beside the database at `path`.
    pub(super) fn beside(path: &Path) -> Reserve {
        Reserve {
            path: path.with_file_name("reserve"),
        }
    }

    /// Have it, if there is room for it and at least as much for others.
    pub(super) fn keep(&self) {
        if self.path.exists() || !self.has_room() {
            return;
        }
        if let Err(error) = self.fill() {
            tracing::debug!(%error, "no room can be kept on the inventory's disk");
            self.give();
        }
    }

    /// Let others have the room. Says whether there was any.
    pub(super) fn give(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }

    fn has_room(&self) -> bool {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let Ok(disk) = nix::sys::statvfs::statvfs(directory) else {
            return false;
        };
        let wanted = 2 * BYTES as u64;
        disk.blocks_available().saturating_mul(disk.fragment_size()) >= wanted
    }

    /// Written, since not every file system can promise room otherwise.
    fn fill(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = match options.write(true).create_new(true).mode(0o600).open(&self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
            opened => opened?,
        };
        for _ in 0..BYTES / BLOCK.len() {
            file.write_all(&BLOCK)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_until_it_is_given_and_then_again() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&dir.path().join("inventory.db"));
        assert!(!reserve.give());
        reserve.keep();
        reserve.keep();
        assert_eq!(fs::metadata(&reserve.path).unwrap().len(), BYTES as u64);
        assert!(reserve.give() && !reserve.path.exists());
        reserve.keep();
        assert!(reserve.path.exists());
    }
}
