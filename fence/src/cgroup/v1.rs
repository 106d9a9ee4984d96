//! Version 1: a hierarchy for each controller, or for a few together.

use std::path::{Path, PathBuf};

use super::parse::{limit, number, number_if_any, table};
use super::{Cpu, Error, Memory, Pids, Usage};

/// How long one tick of the times in `cpuacct.stat` is, the same on every architecture that Linux runs on today.
const TICK_NS: u64 = 10_000_000;

/// The folder of a controller, by a line like `7:cpu,cpuacct:/docker/ID`.
pub fn folder(root: &Path, table: &str, controller: &str) -> Option<PathBuf> {
    table.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        if !controllers.split(',').any(|name| name == controller) {
            return None;
        }
        // Mounted by all names together, by its own, or both.
        let together = root.join(controllers);
        let mount = if together.is_dir() {
            together
        } else {
            root.join(controller)
        };
        Some(mount.join(path.trim_start_matches('/')))
    })
}

pub fn usage(root: &Path, places: &str, memory: &Path) -> Result<Usage, Error> {
    let of = |controller| {
        folder(root, places, controller).ok_or_else(|| Error::Content {
            path: root.join(controller),
        })
    };
    Ok(Usage {
        memory: self::memory(memory)?,
        cpu: cpu(&of("cpuacct")?)?,
        pids: pids(&of("pids")?)?,
    })
}

fn memory(folder: &Path) -> Result<Memory, Error> {
    let stat = table(&folder.join("memory.stat"))?;
    let of = |name: &str| stat.get(name).copied().unwrap_or(0);
    let used = of("total_rss")
        .saturating_add(of("total_cache"))
        .saturating_add(of("total_swap"));
    let usage_bytes = used.saturating_sub(of("total_inactive_file"));
    Ok(Memory {
        usage_bytes,
        limit_bytes: limit(&folder.join("memory.limit_in_bytes"))?,
        stat,
    })
}

fn cpu(folder: &Path) -> Result<Cpu, Error> {
    let ticks = table(&folder.join("cpuacct.stat"))?;
    let of = |name: &str| ticks.get(name).copied().unwrap_or(0).saturating_mul(TICK_NS);
    Ok(Cpu {
        usage_ns: number(&folder.join("cpuacct.usage"))?,
        user_ns: of("user"),
        system_ns: of("system"),
    })
}

/// Counting them can be left out of a kernel, and is in nobody's.
fn pids(folder: &Path) -> Result<Pids, Error> {
    Ok(Pids {
        current: number_if_any(&folder.join("pids.current"))?,
        max: limit(&folder.join("pids.max"))?,
    })
}
