//! The disks that containers need: fence's own and Docker's. What is full is told as long as it is, and the inventory's
//! reserve is made again once there is room.
//!
//! Where Docker keeps its data is asked of it when it comes back; the tree's disk is kato's business.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statvfs::{Statvfs, statvfs};
use tokio::time::Instant;

use super::Supervisor;
use super::repair::Subject;

/// What has to be free for a container's record and directory, with some to spare.
const NEEDED: u64 = 1024 * 1024;
/// What has to be free where containers write, or a twentieth of the disk where that is less: there is time to act before
/// the last of it is gone.
const NEEDED_BY_DOCKER: u64 = 512 * 1024 * 1024;
const NEEDED_SHARE: u64 = 20;

impl Supervisor {
    /// Tell which disks are full by now.
    pub(super) fn look_at_disks(&self) {
        let parts = self.parts();
        // The directory of the containers is made with the first one.
        let run_dir = parts.run_dir.parent().unwrap_or(&parts.run_dir);
        for directory in [parts.inventory.directory(), run_dir] {
            let what = || {
                let path = directory.display();
                format!("the disk of {path} is full: no container can be created")
            };
            self.look_at_disk(directory, |_| NEEDED, what);
        }
        let docker = self.engine_disk().clone();
        if let Some(directory) = &docker {
            let what = || {
                let path = directory.display();
                format!("the disk of {path}, where Docker keeps images and containers, is nearly full")
            };
            let needed = |size| NEEDED_BY_DOCKER.min(size / NEEDED_SHARE);
            self.look_at_disk(directory, needed, what);
        }
    }

    /// The same, with what is to be done about it.
    pub(super) async fn see_to_disks(&self) {
        self.look_at_disks();
        if let Err(error) = self.parts().inventory.keep_reserve().await {
            tracing::warn!(
                error = crate::chain::chain(&error),
                "could not keep room on the inventory's disk"
            );
        }
    }

    /// Ask the engine where it keeps its data, if that is not known. A next comparison asks again where it does not say.
    pub(super) async fn find_engine_disk(&self) {
        if self.engine_disk().is_some() {
            return;
        }
        match self.parts().engine.host().await {
            Ok(host) => *self.engine_disk() = Some(PathBuf::from(host.data_dir)),
            Err(error) => return tracing::debug!(%error, "could not ask where the engine keeps its data"),
        }
        self.look_at_disks();
    }

    /// It may be another one from now on.
    pub(super) fn forget_engine_disk(&self) {
        let known = self.engine_disk().take();
        if let Some(directory) = known {
            self.repairs().done(&Subject::Disk(directory));
        }
    }

    fn look_at_disk(&self, directory: &Path, needed: impl Fn(u64) -> u64, what: impl FnOnce() -> String) {
        let subject = Subject::Disk(directory.to_owned());
        let Some(why) = shortage(statvfs(directory), needed) else {
            return self.repairs().done(&subject);
        };
        let mut repairs = self.repairs();
        if !repairs.is_due(&subject, Instant::now()) {
            return;
        }
        tracing::error!(path = %directory.display(), why, "a disk is full");
        repairs.failed(&subject, Instant::now(), what(), why);
    }
}

/// Why this disk is short, if it is, given what a disk of its size needs. One that cannot be measured is none's business
/// here.
fn shortage(measured: Result<Statvfs, Errno>, needed: impl Fn(u64) -> u64) -> Option<String> {
    let disk = measured.ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
    let (free, needed) = (bytes(disk.blocks_available()), needed(bytes(disk.blocks())));
    if free < needed {
        return Some(format!(
            "{} KiB are free, {} KiB are needed",
            free / 1024,
            needed / 1024
        ));
    }
    // A file system without a fixed number of files says that it has none at all.
    (disk.files() > 0 && disk.files_available() == 0).then(|| "no more files can be made on it".to_owned())
}
