//! Whether this fence is the first since the machine was started: a mark in the run directory, with the kernel's boot
//! id, is not there yet or of another boot.
//!
//! Neither would do alone: a node below a root of its own has a run directory that a boot does not empty, and the boot
//! id of a container that is a machine of its own stays the same when that is restarted.

use std::io;
use std::path::{Path, PathBuf};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The mark.
pub(super) struct Boot {
    mark: PathBuf,
}

impl Boot {
    /// The mark in this run directory.
    pub(super) fn of(run_dir: &Path) -> Boot {
        Boot {
            mark: run_dir.join("started"),
        }
    }

    /// Whether no fence was ready since the machine was started. Where that cannot be told, one was: containers that
    /// run are looked at in any case.
    pub(super) fn is_first_start(&self) -> bool {
        match (std::fs::read_to_string(&self.mark), std::fs::read_to_string(BOOT_ID)) {
            (Ok(mark), Ok(now)) => mark != now,
            (Err(error), _) => error.kind() == io::ErrorKind::NotFound,
            (Ok(_), Err(_)) => false,
        }
    }

    /// From now on this fence is not the first.
    pub(super) fn note(&self) -> io::Result<()> {
        std::fs::write(&self.mark, std::fs::read_to_string(BOOT_ID)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_start_is_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let boot = Boot::of(directory.path());
        assert!(boot.is_first_start());
        boot.note().unwrap();
        assert!(!Boot::of(directory.path()).is_first_start());
        std::fs::write(directory.path().join("started"), "another boot\n").unwrap();
        assert!(boot.is_first_start());
    }
}
