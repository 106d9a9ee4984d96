//! Whether this fence is the first since the machine was started: a mark in the run directory, which a boot empties,
//! is not there yet.
//!
//! The kernel's boot id would not do: it is the same for a container that is a machine of its own and is restarted.

use std::path::{Path, PathBuf};

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
        matches!(self.mark.try_exists(), Ok(false))
    }

    /// From now on this fence is not the first.
    pub(super) fn note(&self) -> std::io::Result<()> {
        std::fs::write(&self.mark, "")
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
    }
}
