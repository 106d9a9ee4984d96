//! One agent per node: a lock that the system takes back when its holder ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use cluster::nodes::Paths;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::time::{Instant, sleep};

use crate::error::{Error, Result};

/// How long an agent that was told to end, or killed, may take until it is gone.
const PREDECESSOR: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// Held for as long as this process is the node's agent.
pub struct Lock {
    _held: Flock<File>,
}

impl Lock {
    /// Become the node's agent, unless another is and stays. Makes the directory of the agent's socket, which a reboot
    /// empties.
    pub async fn take(paths: &Paths) -> Result<Self> {
        let deadline = Instant::now() + PREDECESSOR;
        loop {
            if let Some(lock) = Lock::try_take(paths)? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                return Err(Error::refused("the agent of this node runs already").hint("kato process list"));
            }
            sleep(LOOK).await;
        }
    }

    /// Whether nobody is the node's agent.
    pub fn is_free(paths: &Paths) -> Result<bool> {
        Ok(Lock::try_take(paths)?.is_some())
    }

    /// The lock, unless another process has it.
    fn try_take(paths: &Paths) -> Result<Option<Self>> {
        let path = paths.kato_run().join("agent.lock");
        let failed = |error: io::Error| Error::failed(format!("could not lock {}", path.display())).because(error);
        std::fs::create_dir_all(paths.kato_run()).map_err(failed)?;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Some(Lock { _held: held })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_predecessor_that_is_ending_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::from_root(Some(root.path()));
        let first = Lock::take(&paths).await.unwrap();
        assert!(!Lock::is_free(&paths).unwrap());
        let mut second = Box::pin(Lock::take(&paths));
        assert!(timeout(Duration::ZERO, &mut second).await.is_err());
        drop(first);
        let _second = second.await.unwrap();
        let third = Lock::take(&paths).await.map(drop).unwrap_err();
        assert_eq!(
            third.report(),
            "kato: the agent of this node runs already\nhint: kato process list\n"
        );
    }
}
