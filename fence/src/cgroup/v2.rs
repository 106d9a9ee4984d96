//! Version 2: one hierarchy for all controllers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::parse::{limit, number, number_if_any, table};
use super::{Cpu, Error, Memory, Pids, Usage};

const US: u64 = 1000;
/// What version 1 says of no limit.
const NO_LIMIT: u64 = 9_223_372_036_854_771_712;
/// A name of version 1, and the one that version 2 has for the same.
const SAME: [(&str, &str); 3] = [("rss", "anon"), ("cache", "file"), ("mapped_file", "file_mapped")];
/// What version 1 also counts of everything below a cgroup, which is all that version 2 counts.
const WITH_TOTAL: [&str; 12] = [
    "active_anon",
    "active_file",
    "cache",
    "inactive_anon",
    "inactive_file",
    "mapped_file",
    "pgfault",
    "pgmajfault",
    "rss",
    "swap",
    "unevictable",
    "swapcached",
];

/// The folder, by the line `0::/system.slice/docker-ID.scope`.
pub fn folder(root: &Path, table: &str) -> PathBuf {
    let path = table.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    root.join(path.trim_start_matches('/'))
}

pub fn usage(folder: &Path) -> Result<Usage, Error> {
    Ok(Usage {
        memory: memory(folder)?,
        cpu: cpu(folder)?,
        pids: Pids {
            current: number(&folder.join("pids.current"))?,
            max: limit(&folder.join("pids.max"))?,
        },
    })
}

fn memory(folder: &Path) -> Result<Memory, Error> {
    let mut stat = table(&folder.join("memory.stat"))?;
    let current = number(&folder.join("memory.current"))?;
    let swap = number_if_any(&folder.join("memory.swap.current"))?;
    let limit_bytes = limit(&folder.join("memory.max"))?;
    let used = current.saturating_add(swap);
    let usage_bytes = used.saturating_sub(stat.get("inactive_file").copied().unwrap_or(0));
    stat.insert("swap".into(), swap);
    stat.insert("hierarchical_memory_limit".into(), limit_bytes.unwrap_or(NO_LIMIT));
    name_as_before(&mut stat);
    Ok(Memory {
        stat,
        usage_bytes,
        limit_bytes,
    })
}

fn name_as_before(stat: &mut BTreeMap<String, u64>) {
    for (old, new) in SAME {
        if let Some(value) = stat.get(new).copied() {
            stat.insert(old.into(), value);
        }
    }
    for name in WITH_TOTAL {
        if let Some(value) = stat.get(name).copied() {
            stat.insert(format!("total_{name}"), value);
        }
    }
}

fn cpu(folder: &Path) -> Result<Cpu, Error> {
    let stat = table(&folder.join("cpu.stat"))?;
    let of = |name: &str| stat.get(name).copied().unwrap_or(0).saturating_mul(US);
    Ok(Cpu {
        usage_ns: of("usage_usec"),
        user_ns: of("user_usec"),
        system_ns: of("system_usec"),
    })
}
