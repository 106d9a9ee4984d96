//! The limits the kernel really holds a process to, from cgroup files of either version.

use std::fs;
use std::path::{Path, PathBuf};

/// What the cgroups of a process allow it; `None` = no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    pub memory_bytes: Option<u64>,
    pub memory_and_swap_bytes: Option<u64>,
    pub pids: Option<u64>,
    pub cpu_shares: Option<u64>,
}

/// Read the limits of the process with this pid on the host.
#[track_caller]
pub fn limits_of(pid: i32) -> InForce {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup"));
    let table = table.unwrap_or_else(|error| panic!("could not read the cgroups of process {pid}: {error}"));
    match v1_folder(&table, "memory") {
        Some(memory) => InForce {
            memory_bytes: number(&memory, "memory.limit_in_bytes"),
            memory_and_swap_bytes: number(&memory, "memory.memsw.limit_in_bytes"),
            pids: v1_folder(&table, "pids").and_then(|folder| number(&folder, "pids.max")),
            cpu_shares: v1_folder(&table, "cpu").and_then(|folder| number(&folder, "cpu.shares")),
        },
        None => {
            let folder = v2_folder(&table);
            let memory_bytes = number(&folder, "memory.max");
            let swap = number(&folder, "memory.swap.max");
            InForce {
                memory_bytes,
                memory_and_swap_bytes: memory_bytes.zip(swap).map(|(memory, swap)| memory + swap),
                pids: number(&folder, "pids.max"),
                cpu_shares: number(&folder, "cpu.weight").map(shares_of_weight),
            }
        }
    }
}

/// `7:memory:/docker/ID`: the folder of a controller in its own hierarchy.
fn v1_folder(table: &str, controller: &str) -> Option<PathBuf> {
    table.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let mount = Path::new("/sys/fs/cgroup").join(controllers);
        let named = controllers.split(',').any(|name| name == controller);
        let mount = if mount.exists() {
            mount
        } else {
            Path::new("/sys/fs/cgroup").join(controller)
        };
        named.then(|| mount.join(path.trim_start_matches('/')))
    })
}

/// `0::/system.slice/docker-ID.scope`: the folder in the one hierarchy.
fn v2_folder(table: &str) -> PathBuf {
    let path = table.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'))
}

/// The file's number; `max`, or as good as that, is no limit.
#[track_caller]
fn number(folder: &Path, file: &str) -> Option<u64> {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("could not read {}: {error}", path.display()));
    text.trim().parse().ok().filter(|number| *number < 1 << 62)
}

/// The inverse of how runtimes turn CPU shares into a weight; exact for 1024 only within rounding.
fn shares_of_weight(weight: u64) -> u64 {
    2 + (weight.max(1) - 1) * 262_142 / 9_999
}
