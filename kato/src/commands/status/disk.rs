//! Whether the disk of the config tree and of what the agent remembers has room. The disks of containers are fence's
//! business.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::model::Problem;

/// What has to be free for a change: the tree's journal grows with it, and the agent's file is written anew beside itself.
const NEEDED: u64 = 1024 * 1024;

/// What is wrong with the disk of this directory. One that cannot be measured is none's business here.
pub fn shortage(directory: &Path) -> Option<Problem> {
    let disk = statvfs(directory).ok()?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    let why = if free < NEEDED {
        format!("{} KiB are free, {} KiB are needed", free / 1024, NEEDED / 1024)
    } else if disk.files() > 0 && disk.files_available() == 0 {
        "no more files can be made on it".to_owned()
    } else {
        return None;
    };
    let directory = directory.display();
    Some(Problem {
        problem: format!("the disk of {directory} is full: the configuration cannot be changed: {why}"),
        hint: format!("make room on the disk of {directory}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_measured_is_no_problem() {
        assert_eq!(shortage(Path::new("/nowhere/at/all")), None);
    }

    #[test]
    fn a_file_system_without_room_is_named() {
        // The kernel's own have none.
        let told = shortage(Path::new("/proc")).unwrap();
        assert!(told.problem.contains("the disk of /proc is full"), "{told:?}");
    }
}
