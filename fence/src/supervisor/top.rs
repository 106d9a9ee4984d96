//! What runs in a container at this moment, read from `/proc` by its control group.
//!
//! Everything a process can choose about itself (its name, its arguments) is taken as hostile: bounded, and text
//! without a meaning here.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use super::{Error, Result, Supervisor};
use crate::container::{Handle, State};

/// The most processes that are listed.
const MAX_PROCESSES: usize = 4096;
/// The most that is read of a command line, in bytes.
const MAX_COMMAND: u64 = 4096;
/// The most that is read of any other file of a process, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// One process of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopProcess {
    /// In the container's own numbering.
    pub pid: i32,
    pub host_pid: i32,
    /// Its user's number in the container.
    pub user: u32,
    /// Its state, as the kernel has it in one letter.
    pub state: String,
    pub rss_bytes: u64,
    pub cpu_ns: u64,
    /// Its arguments, or its name in brackets where it has none.
    pub command: String,
}

impl Supervisor {
    /// The processes of a container, its first one included; none where it does not run.
    pub async fn top(&self, handle: &Handle) -> Result<Vec<TopProcess>> {
        let entry = self.entry(handle)?;
        let (pid, state) = {
            let record = entry.record();
            (record.pid, record.state)
        };
        if pid == 0 || !matches!(state, State::Active | State::Stopped) {
            return Ok(Vec::new());
        }
        let read = tokio::task::spawn_blocking(move || processes(Path::new("/proc"), pid)).await;
        let read = read.unwrap_or_else(|_| Err(std::io::Error::other("its reader has failed")));
        read.map_err(|source| Error::Files {
            attempt: "read the processes in",
            path: "/proc".into(),
            source,
        })
    }
}

/// The processes below this first one's control group.
fn processes(proc: &Path, first: i32) -> std::io::Result<Vec<TopProcess>> {
    let Some(group) = group(proc, first) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(proc)? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if self::group(proc, pid).is_some_and(|of| is_within(&of, &group)) {
            // One that has just ended is none.
            found.extend(process(&proc.join(name), pid));
        }
        if found.len() == MAX_PROCESSES {
            break;
        }
    }
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

/// The control group of a process: of the hierarchy that counts processes, else of the unified one.
fn group(proc: &Path, pid: i32) -> Option<String> {
    let text = read(&proc.join(pid.to_string()).join("cgroup"), MAX_FILE)?;
    let path = |wanted: fn(&str) -> bool| {
        text.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            wanted(controllers).then(|| path.to_owned())
        })
    };
    // The root is nobody's.
    path(|names| names.split(',').any(|name| name == "pids"))
        .or_else(|| path(str::is_empty))
        .filter(|path| path != "/")
}

fn is_within(path: &str, group: &str) -> bool {
    let rest = path.strip_prefix(group);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn process(directory: &Path, host_pid: i32) -> Option<TopProcess> {
    let status = read(&directory.join("status"), MAX_FILE)?;
    let field = |name: &str| {
        // The process's own name, in which line feeds are escaped, is the value of the first line alone.
        let line = status.lines().skip(1).find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix(':')).map(str::trim)
    };
    let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    let pid = field("NSpid")?.split_whitespace().next_back()?.parse().ok()?;
    let uid = field("Uid").and_then(number).and_then(|uid| u32::try_from(uid).ok())?;
    let maps = read(&directory.join("uid_map"), MAX_FILE).unwrap_or_default();
    Some(TopProcess {
        pid,
        host_pid,
        user: inside(&maps, uid),
        state: field("State")?.chars().take(1).collect(),
        rss_bytes: field("VmRSS").and_then(number).unwrap_or(0).saturating_mul(1024),
        cpu_ns: cpu_time(&read(&directory.join("stat"), MAX_FILE)?)?,
        command: command(directory, &status),
    })
}

/// The number that a user of the host has in a container.
fn inside(maps: &str, uid: u32) -> u32 {
    let of = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().ok());
        let (inner, outer, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let offset = u64::from(uid).checked_sub(outer).filter(|offset| *offset < count)?;
        u32::try_from(inner + offset).ok()
    };
    maps.lines().find_map(of).unwrap_or(uid)
}

/// User and system time; the name before them may have anything in it.
fn cpu_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(|word| word.parse::<u64>().ok());
    let (user, system) = (ticks.next()??, ticks.next()??);
    // What the kernel shows is in hundredths of a second, whatever it counts in.
    Some(user.saturating_add(system).saturating_mul(10_000_000))
}

fn command(directory: &Path, status: &str) -> String {
    let line = read(&directory.join("cmdline"), MAX_COMMAND).unwrap_or_default();
    let line = line.trim_end_matches('\0').replace('\0', " ");
    if !line.is_empty() {
        return line;
    }
    let name = status.lines().next().and_then(|line| line.strip_prefix("Name:"));
    format!("[{}]", name.unwrap_or_default().trim())
}

fn read(path: &Path, most: u64) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(proc: &Path, pid: i32, cgroup: &str, name: &str, cmdline: &[u8]) {
        let directory = proc.join(pid.to_string());
        fs::create_dir(&directory).unwrap();
        let status =
            format!("Name:\t{name}\nState:\tS (sleeping)\nUid:\t100033\t0\t0\t0\nNSpid:\t{pid}\t7\nVmRSS:\t 12 kB\n");
        let stat = format!("{pid} ({name}) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0");
        fs::write(directory.join("cgroup"), cgroup).unwrap();
        fs::write(directory.join("status"), status).unwrap();
        fs::write(directory.join("stat"), stat).unwrap();
        fs::write(directory.join("cmdline"), cmdline).unwrap();
        fs::write(directory.join("uid_map"), "0 100000 65536\n").unwrap();
    }

    #[test]
    fn processes_are_those_of_the_group_and_what_they_call_themselves_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let v1 = |path: &str| format!("9:memory:/other\n4:pids:{path}\n0::/\n");
        put(dir.path(), 50, &v1("/docker/abc"), "init", b"fence-init\0");
        put(
            dir.path(),
            51,
            &v1("/docker/abc/below"),
            "a) R 9 9 9",
            b"sh\0-c\0\x1b[2J\xff\0",
        );
        put(dir.path(), 52, &v1("/docker/abcd"), "other", b"");
        fs::write(dir.path().join("uptime"), "").unwrap();
        let mut found = processes(dir.path(), 50).unwrap();
        found.sort_by_key(|process| process.host_pid);
        assert_eq!(found.len(), 2);
        let hostile = TopProcess {
            pid: 7,
            host_pid: 51,
            user: 33,
            state: "S".into(),
            rss_bytes: 12 * 1024,
            cpu_ns: 2_000_000_000,
            command: "sh -c \u{1b}[2J\u{fffd}".into(),
        };
        assert_eq!(found[1], hostile);
    }

    #[test]
    fn the_unified_hierarchy_alone_will_do_and_the_root_is_no_container() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), 60, "0::/system.slice/docker-1.scope\n", "kworker", b"");
        put(dir.path(), 61, "0::/\n", "init", b"");
        assert_eq!(processes(dir.path(), 60).unwrap()[0].command, "[kworker]");
        assert!(processes(dir.path(), 61).unwrap().is_empty());
        assert!(processes(dir.path(), 99).unwrap().is_empty(), "it has ended");
    }
}
