//! One fence a node: a lock that the kernel lets go of when its holder dies.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::Error;

/// How long a dying fence may take to let go of the lock, and how often to look.
const PATIENCE: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(20);

/// Held for as long as the daemon runs.
pub(super) type Lock = Flock<std::fs::File>;

/// Make a directory of this mode, unless it is there.
pub(super) fn directory(path: &Path, mode: u32) -> Result<(), Error> {
    let failed = |source| Error::Directory {
        path: path.display().to_string(),
        source,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)
}

/// Take the lock, or say that another fence has it. One that was killed may hold it for a moment longer.
pub(super) async fn take_soon(path: &Path) -> Result<Lock, Error> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match take(path) {
            Err(Error::AlreadyRunning { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(AGAIN).await;
            }
            done => return done,
        }
    }
}

fn take(path: &Path) -> Result<Lock, Error> {
    let opened = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let file = opened.map_err(|source| Error::Directory {
        path: path.display().to_string(),
        source,
    })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| Error::AlreadyRunning {
        path: path.display().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_fence_is_refused_and_a_dead_one_is_not_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fence.lock");
        let first = take(&path).unwrap();
        assert!(matches!(take(&path), Err(Error::AlreadyRunning { .. })));
        drop(first);
        assert!(take(&path).is_ok());
    }
}
