//! The host's processes, as /proc shows them.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Whether the process runs (a zombie does not).
pub fn is_alive(pid: i32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| !matches!(rest.trim_start().chars().next(), Some('Z' | 'X'))),
        Err(_) => false,
    }
}

/// All processes but this one that carry the folder in their arguments or environment: those a node consists of.
pub fn of_root(root: &Path) -> Vec<i32> {
    let needle = root.as_os_str().as_encoded_bytes();
    let own = std::process::id();
    all()
        .filter(|pid| u32::try_from(*pid).is_ok_and(|pid| pid != own) && mentions(*pid, needle))
        .collect()
}

/// All processes of a container but its first, whose pid on the host is given: their pids there and their names.
pub fn of_container(first: i32) -> Vec<(i32, String)> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(wanted) = namespace(first) else {
        return Vec::new();
    };
    let inside = all().filter(|pid| *pid != first && namespace(*pid).as_ref() == Some(&wanted));
    inside
        .filter_map(|pid| {
            Some((
                pid,
                fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned(),
            ))
        })
        .collect()
}

/// Kill the process; one that is gone is as wanted.
pub fn kill_hard(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Ask the process to end.
pub fn terminate(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn mentions(pid: i32, needle: &[u8]) -> bool {
    ["cmdline", "environ"].into_iter().any(|file| {
        let content = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        content.windows(needle.len()).any(|window| window == needle)
    })
}
