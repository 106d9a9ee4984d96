//! One agent per node: a lock that the system takes back when its holder ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use cluster::nodes::Paths;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, Result};

/// Held for as long as this process is the node's agent.
pub struct Lock {
    _held: Flock<File>,
}

impl Lock {
    /// Become the node's agent, unless another is. Makes the directory of the agent's socket, which a reboot empties.
    pub fn take(paths: &Paths) -> Result<Self> {
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
            Ok(held) => Ok(Lock { _held: held }),
            Err((_, Errno::EWOULDBLOCK)) => {
                Err(Error::refused("the agent of this node runs already").hint("kato process list"))
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// Whether nobody is the node's agent.
    pub fn is_free(paths: &Paths) -> bool {
        Lock::take(paths).is_ok()
    }
}
