//! The disks that fence itself needs: what is full is told as long as it is, and the inventory's reserve is made
//! again once there is room.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::statvfs::{Statvfs, statvfs};
use tokio::time::Instant;

use super::Supervisor;
use super::repair::Subject;

/// What has to be free for a container's record and directory, with some to spare.
const NEEDED: u64 = 1024 * 1024;

impl Supervisor {
    /// Tell which disks are full by now.
    pub(super) fn look_at_disks(&self) {
        let parts = self.parts();
        // The directory of the containers is made with the first one.
        let run_dir = parts.run_dir.parent().unwrap_or(&parts.run_dir);
        for directory in [parts.inventory.directory(), run_dir] {
            let subject = Subject::Disk(directory.to_owned());
            match shortage(statvfs(directory)) {
                Some(why) => self.disk_is_short(directory, &subject, why),
                None => self.repairs().done(&subject),
            }
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

    fn disk_is_short(&self, directory: &Path, subject: &Subject, why: String) {
        let mut repairs = self.repairs();
        if !repairs.is_due(subject, Instant::now()) {
            return;
        }
        let path = directory.display();
        tracing::error!(%path, why, "a disk is full");
        let what = format!("the disk of {path} is full: no container can be created");
        repairs.failed(subject, Instant::now(), what, why);
    }
}

/// Why this disk is short, if it is. One that cannot be measured is none's business here.
fn shortage(measured: Result<Statvfs, Errno>) -> Option<String> {
    let disk = measured.ok()?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if free < NEEDED {
        return Some(format!(
            "{} KiB are free, {} KiB are needed",
            free / 1024,
            NEEDED / 1024
        ));
    }
    // A file system without a fixed number of files says that it has none at all.
    (disk.files() > 0 && disk.files_available() == 0).then(|| "no more files can be made on it".to_owned())
}
