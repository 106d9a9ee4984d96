//! Which processes are this init's: all others of its container, or, where it is a guest in the process namespace of
//! another container, those it started and what descends from them.
//!
//! Reads the kernel's tables at each call and remembers nothing.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;

use crate::{living, signals};

/// How often it is looked for processes that began while others were signalled.
const PASSES: usize = 8;

/// Whom "every other process" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of the container: this is its first process.
    Container,
    /// What this process started, and all that descends from it.
    Below,
}

impl Reach {
    /// The reach of a guest: what its processes leave behind becomes its own to reap, not that of the container's first
    /// process.
    pub fn guest() -> nix::Result<Reach> {
        prctl::set_child_subreaper(true)?;
        Ok(Reach::Below)
    }

    /// Signals every other process. That there is none is no error.
    pub fn signal(self, signal: i32) -> nix::Result<()> {
        match self {
            Reach::Container => signals::send_all(signal),
            Reach::Below => {
                signal_below(signal);
                Ok(())
            }
        }
    }

    /// Whether any other process exists, if only to be reaped.
    pub fn any(self) -> bool {
        match self {
            Reach::Container => signals::any_other(),
            Reach::Below => has_children(),
        }
    }

    /// How many live; 0 only where there is not even one to be reaped. `known` is how many of them init started itself:
    /// where /proc is missing or foreign, that is all that can be said.
    pub fn count(self, known: usize) -> u32 {
        match self {
            Reach::Container => living::others(known),
            Reach::Below if !has_children() => 0,
            Reach::Below => {
                let count = living_below(Path::new("/proc")).map_or(known, |below| below.len());
                u32::try_from(count.max(1)).unwrap_or(u32::MAX)
            }
        }
    }
}

/// Who begins between two looks is seen by the next one, and whoever was signalled once is not signalled again.
fn signal_below(signal: i32) {
    let mut done = HashSet::new();
    for _ in 0..PASSES {
        let fresh: Vec<i32> = living_below(Path::new("/proc"))
            .unwrap_or_default()
            .into_iter()
            .filter(|pid| done.insert(*pid))
            .collect();
        if fresh.is_empty() {
            return;
        }
        for pid in fresh {
            // It may have ended by now.
            let _ = signals::send_one(pid, signal);
        }
    }
}

/// Children, whether they live or wait to be reaped. Whatever descends from this process has one of them above it, or is
/// one: orphans come here.
fn has_children() -> bool {
    // SAFETY: the structure is plain numbers, for which zero is a value, and the call only fills it in.
    let outcome = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        Errno::result(libc::waitid(libc::P_ALL, 0, &raw mut info, options))
    };
    outcome != Err(Errno::ECHILD)
}

/// The living processes below this one; nothing where /proc is not that of this process's namespace.
fn living_below(proc: &Path) -> Option<Vec<i32>> {
    let own = i32::try_from(std::process::id()).ok()?;
    if fs::read_link(proc.join("self")).ok()? != Path::new(&own.to_string()) {
        return None;
    }
    let entries = fs::read_dir(proc).ok()?.flatten();
    let all = entries.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read(entry.path().join("stat")).ok()?;
        Some((pid, (living::parent(&stat)?, living::lives(&stat))))
    });
    Some(below(own, &all.collect()))
}

/// The living of those that descend from `top`, given everyone's parent and whether it lives.
fn below(top: i32, all: &HashMap<i32, (i32, bool)>) -> Vec<i32> {
    let mut found = HashSet::from([top]);
    // At most one pass for each generation: the tables of one look may hold a circle where pids were given anew.
    loop {
        let before = found.len();
        found.extend(
            all.iter()
                .filter(|(_, (parent, _))| found.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            break;
        }
    }
    found.remove(&top);
    found.retain(|pid| all.get(pid).is_some_and(|(_, lives)| *lives));
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_over_the_dead_and_others_are_not() {
        let all = HashMap::from([
            (1, (0, true)),
            (10, (1, true)),
            (11, (10, false)),
            (12, (11, true)),
            (13, (10, true)),
            (20, (1, true)),
            (21, (20, true)),
        ]);
        let mut found = below(10, &all);
        found.sort_unstable();
        assert_eq!(found, [12, 13]);
        assert_eq!(below(99, &all), Vec::<i32>::new());
    }

    #[test]
    fn a_circle_has_an_end() {
        assert_eq!(
            below(1, &HashMap::from([(2, (3, true)), (3, (2, true))])),
            Vec::<i32>::new()
        );
    }
}
