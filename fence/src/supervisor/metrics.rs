//! What containers use at this moment: read from the kernel's own counters, which need neither the engine nor anything
//! in the container to answer.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::sys::statvfs::statvfs;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::entry::Entry;
use super::{Error, Result, Supervisor};
use crate::cgroup::{self, Places};
use crate::container::Handle;

/// How long what was counted on a disk is good for: counting takes the longer the more files there are.
const DISK_IS_GOOD: Duration = Duration::from_secs(10);
/// The most files that are counted of one container; beyond them its use is at least what was counted.
const MAX_COUNTED: u64 = 200_000;
/// The deepest folder that is counted.
const MAX_DEPTH: usize = 128;
const FOLDER: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
/// How many containers' files are counted at the same time.
const COUNTING: usize = 2;
/// The most images whose size is remembered.
const MAX_IMAGES: usize = 256;

/// What one container uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Metrics {
    pub memory: Memory,
    pub cpu: Cpu,
    pub disk: Disk,
    /// Where it has a network of its own.
    pub network: Option<Network>,
    pub pids: Pids,
    pub age_ns: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// What counts against the limit and cannot be taken back at once.
    pub usage_bytes: u64,
    /// `None` = no limit.
    pub limit_bytes: Option<u64>,
    /// The kernel's own numbers.
    pub stat: std::collections::BTreeMap<String, u64>,
}

/// Time on processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cpu {
    pub usage_ns: u64,
    pub user_ns: u64,
    pub system_ns: u64,
}

/// Files: all, and those that are not the image's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    pub total_bytes: u64,
    pub total_inodes: u64,
    pub exclusive_bytes: u64,
    pub exclusive_inodes: u64,
}

/// What came in and went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Network {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    pub current: u64,
    /// `None` = no limit.
    pub max: Option<u64>,
}

/// What was counted a moment ago.
pub(super) struct Counted {
    /// By instance.
    disks: Mutex<HashMap<String, (Instant, Use)>>,
    /// Sizes by image id.
    images: Mutex<HashMap<String, u64>>,
    counting: Semaphore,
}

impl Default for Counted {
    fn default() -> Counted {
        Counted {
            disks: Mutex::default(),
            images: Mutex::default(),
            counting: Semaphore::new(COUNTING),
        }
    }
}

/// A folder that is being counted, and the names in it that were not yet.
type Folder = (OwnedFd, std::vec::IntoIter<CString>);

/// What files take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    bytes: u64,
    inodes: u64,
}

impl Supervisor {
    /// What a container uses at this moment.
    pub async fn metrics(&self, handle: &Handle) -> Result<Metrics> {
        let entry = self.entry(handle)?;
        self.check_running(&entry, "measure")?;
        let (pid, engine_id) = {
            let record = entry.record();
            (record.pid, record.engine_id.clone())
        };
        let usage = Places::of(pid, &engine_id).and_then(|places| places.usage(Path::new(cgroup::ROOT)));
        let usage = usage.map_err(|source| Error::Measure {
            handle: handle.clone(),
            source,
        })?;
        Ok(Metrics {
            memory: Memory {
                usage_bytes: usage.memory.usage_bytes,
                limit_bytes: usage.memory.limit_bytes,
                stat: usage.memory.stat,
            },
            cpu: Cpu {
                usage_ns: usage.cpu.usage_ns,
                user_ns: usage.cpu.user_ns,
                system_ns: usage.cpu.system_ns,
            },
            disk: self.disk(&entry, pid).await,
            network: network(pid),
            pids: Pids {
                current: usage.pids.current,
                max: usage.pids.max,
            },
            age_ns: age(&entry.record().created),
        })
    }

    async fn disk(&self, entry: &Entry, pid: i32) -> Disk {
        let own = self.own_files(entry, pid).await;
        let image = self.image_size(entry).await;
        Disk {
            total_bytes: own.bytes.saturating_add(image),
            total_inodes: own.inodes,
            exclusive_bytes: own.bytes,
            exclusive_inodes: own.inodes,
        }
    }

    /// What is in the container's own layer; nothing where the engine stores it in another way.
    async fn own_files(&self, entry: &Entry, pid: i32) -> Use {
        let counted = &self.inner.counted;
        let known = |now: Instant| {
            let disks = counted.disks.lock().unwrap_or_else(PoisonError::into_inner);
            let (at, known) = *disks.get(&entry.instance)?;
            (now.duration_since(at) < DISK_IS_GOOD).then_some(known)
        };
        if let Some(known) = known(Instant::now()) {
            return known;
        }
        let _turn = counted.counting.acquire().await;
        // Whoever had the turn before may have counted the same.
        if let Some(known) = known(Instant::now()) {
            return known;
        }
        let count = move || own_layer(pid).map(|layer| files_in(&layer)).unwrap_or_default();
        let found = tokio::task::spawn_blocking(count).await.unwrap_or_default();
        let now = Instant::now();
        let mut disks = counted.disks.lock().unwrap_or_else(PoisonError::into_inner);
        disks.retain(|_, (at, _)| now.duration_since(*at) < DISK_IS_GOOD);
        disks.insert(entry.instance.clone(), (now, found));
        found
    }

    /// 0 where the engine does not know it any more.
    async fn image_size(&self, entry: &Entry) -> u64 {
        let id = entry.record().image.id.clone();
        let images = &self.inner.counted.images;
        let known = images.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
        if let Some(size) = known {
            return size;
        }
        let Ok(image) = self.parts().engine.image(&id).await else {
            return 0;
        };
        let mut images = images.lock().unwrap_or_else(PoisonError::into_inner);
        if images.len() >= MAX_IMAGES {
            images.clear();
        }
        images.insert(id, image.size_bytes);
        image.size_bytes
    }
}

/// The directory with what the container wrote: the upper one of the overlay that is its root.
fn own_layer(pid: i32) -> Option<PathBuf> {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
    let options = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let target = before.split(' ').nth(4)?;
        let mut after = after.split(' ');
        (target == "/" && after.next()? == "overlay")
            .then(|| after.next_back())
            .flatten()
    })?;
    let upper = options.split(',').find_map(|option| option.strip_prefix("upperdir="))?;
    Some(PathBuf::from(upper))
}

/// How much is in a container's layer.
fn files_in(layer: &Path) -> Use {
    // One on a file system of its own, which is how its size is bounded: that knows what is in use.
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    let outside = layer.parent().and_then(Path::parent);
    if outside.is_some_and(|outside| device(outside) != device(layer))
        && let Ok(disk) = statvfs(layer)
    {
        return Use {
            bytes: (disk.blocks() - disk.blocks_free().min(disk.blocks())) * disk.fragment_size(),
            inodes: disk.files() - disk.files_free().min(disk.files()),
        };
    }
    count(layer)
}

/// All files below, up to a bound. A file of several names counts as often. The container changes them meanwhile as it
/// likes: every folder is opened from the one above, so that none leads elsewhere.
fn count(layer: &Path) -> Use {
    let mut found = Use::default();
    let mut open: Vec<Folder> = nix::fcntl::open(layer, FOLDER, Mode::empty())
        .ok()
        .and_then(folder)
        .into_iter()
        .collect();
    while let Some((dir, names)) = open.last_mut() {
        let Some(name) = names.next() else {
            open.pop();
            continue;
        };
        // What goes away meanwhile takes no room.
        let Ok(stat) = fstatat(&*dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else {
            continue;
        };
        found.bytes = found
            .bytes
            .saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0) * 512);
        found.inodes += 1;
        if found.inodes >= MAX_COUNTED {
            break;
        }
        let is_folder = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
        if is_folder && open.len() < MAX_DEPTH {
            let below = open
                .last()
                .and_then(|(dir, _)| openat(dir, name.as_c_str(), FOLDER, Mode::empty()).ok());
            open.extend(below.and_then(folder));
        }
    }
    found
}

/// A folder with what is in it, as far as it is counted.
fn folder(dir: OwnedFd) -> Option<Folder> {
    let listed = Dir::from_fd(dir.try_clone().ok()?).ok()?.into_iter().flatten();
    let names = listed.map(|entry| entry.file_name().to_owned());
    let names = names.filter(|name| ![&b"."[..], b".."].contains(&name.to_bytes()));
    let names: Vec<CString> = names.take(MAX_COUNTED as usize).collect();
    Some((dir, names.into_iter()))
}

/// What passed all interfaces of the network that the process is in, but its loopback.
fn network(pid: i32) -> Option<Network> {
    interfaces(&fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?)
}

fn interfaces(table: &str) -> Option<Network> {
    let mut sum: Option<Network> = None;
    for line in table.lines().skip(2) {
        let (name, counters) = line.split_once(':')?;
        if name.trim() == "lo" {
            continue;
        }
        let counters: Vec<u64> = counters
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let (rx, tx) = (*counters.first()?, *counters.get(8)?);
        let sum = sum.get_or_insert_default();
        sum.rx_bytes = sum.rx_bytes.saturating_add(rx);
        sum.tx_bytes = sum.tx_bytes.saturating_add(tx);
    }
    sum
}

fn age(created: &str) -> u64 {
    let Ok(created) = created.parse::<jiff::Timestamp>() else {
        return 0;
    };
    let age = jiff::Timestamp::now().as_nanosecond() - created.as_nanosecond();
    u64::try_from(age).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_summed_without_the_loopback() {
        let head = "Inter-|   Receive  |  Transmit\n face |bytes    packets |bytes\n";
        let lo = "    lo:    3293      31    0    0    0     0          0         0     3293      31    0    0    0     0       0          0\n";
        let eth = "  eth0: 100 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n  eth1:5 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n";
        let expected = Network {
            rx_bytes: 105,
            tx_bytes: 27,
        };
        assert_eq!(interfaces(&format!("{head}{lo}{eth}")), Some(expected));
        assert_eq!(interfaces(&format!("{head}{lo}")), None);
        assert_eq!(interfaces(""), None);
    }

    #[test]
    fn files_are_counted_and_links_are_not_followed() {
        let layer = tempfile::tempdir().unwrap();
        fs::create_dir(layer.path().join("dir")).unwrap();
        fs::write(layer.path().join("dir/file"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/usr", layer.path().join("link")).unwrap();
        let found = count(layer.path());
        assert_eq!(found.inodes, 3);
        assert!((100_000..200_000).contains(&found.bytes), "{found:?}");
        assert_eq!(count(Path::new("/does/not/exist")), Use::default());
    }

    #[test]
    fn an_age_is_never_negative() {
        assert!(age("2000-01-01T00:00:00Z") > 1 << 58);
        assert_eq!(age("2200-01-01T00:00:00Z"), 0);
        assert_eq!(age(""), 0);
    }
}
