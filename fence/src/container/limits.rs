//! What a container may use.

use serde::{Deserialize, Serialize};

/// Limits in force; `None` = unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory and memory+swap alike, in bytes.
    pub memory_bytes: Option<u64>,
    /// Relative weight, 1024 = normal.
    pub cpu_shares: Option<u64>,
    /// Processes and threads, init included.
    pub pids: Option<u64>,
}

/// The least memory a container can start with, in bytes: Docker's own floor is 6 MiB, and init needs its part.
pub const MIN_MEMORY: u64 = 8 * 1024 * 1024;
/// The fewest pids a container can do anything with: init, and one process with a child.
pub const MIN_PIDS: u64 = 3;
/// What the kernel takes as CPU shares.
pub const CPU_SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

impl Limits {
    /// Why these limits cannot be met, if so.
    pub fn problem(&self) -> Option<String> {
        if let Some(memory) = self.memory_bytes
            && memory < MIN_MEMORY
        {
            return Some(format!(
                "a memory limit of {memory} bytes is below the least possible, {MIN_MEMORY}"
            ));
        }
        if self.memory_bytes.is_some_and(|m| m > i64::MAX as u64) {
            return Some("the memory limit is beyond what the kernel can count".into());
        }
        if let Some(shares) = self.cpu_shares
            && !CPU_SHARES.contains(&shares)
        {
            let (low, high) = CPU_SHARES.into_inner();
            return Some(format!("{shares} CPU shares are outside {low} to {high}"));
        }
        if let Some(pids) = self.pids
            && !(MIN_PIDS..=4_194_304).contains(&pids)
        {
            return Some(format!("a limit of {pids} pids is outside {MIN_PIDS} to 4194304"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlimited_and_sensible_limits_pass() {
        assert_eq!(Limits::default().problem(), None);
        let limits = Limits {
            memory_bytes: Some(64 << 20),
            cpu_shares: Some(2),
            pids: Some(16),
        };
        assert_eq!(limits.problem(), None);
    }

    #[test]
    fn impossible_limits_say_why() {
        for limits in [
            Limits {
                memory_bytes: Some(1),
                ..Limits::default()
            },
            Limits {
                memory_bytes: Some(u64::MAX),
                ..Limits::default()
            },
            Limits {
                cpu_shares: Some(1),
                ..Limits::default()
            },
            Limits {
                pids: Some(1),
                ..Limits::default()
            },
        ] {
            assert!(limits.problem().is_some(), "{limits:?}");
        }
    }
}
