//! What a container uses, in Garden's words.

use crate::http::garden::wire;
use crate::supervisor::Metrics;

/// The members of Garden's memory statistics, by the kernel's names.
const MEMORY: [&str; 31] = [
    "active_anon",
    "active_file",
    "anon",
    "cache",
    "file",
    "hierarchical_memory_limit",
    "hierarchical_memsw_limit",
    "inactive_anon",
    "inactive_file",
    "mapped_file",
    "pgfault",
    "pgmajfault",
    "pgpgin",
    "pgpgout",
    "rss",
    "swap",
    "swapcached",
    "total_active_anon",
    "total_active_file",
    "total_cache",
    "total_inactive_anon",
    "total_inactive_file",
    "total_mapped_file",
    "total_pgfault",
    "total_pgmajfault",
    "total_pgpgin",
    "total_pgpgout",
    "total_rss",
    "total_swap",
    "total_unevictable",
    "unevictable",
];

/// All of them are there, those that this kernel does not count as 0.
pub fn metrics(metrics: Metrics) -> wire::Metrics {
    let stat = &metrics.memory.stat;
    let mut memory_stat: wire::MemoryStat = MEMORY
        .iter()
        .map(|name| (*name, stat.get(*name).copied().unwrap_or(0)))
        .collect();
    memory_stat.insert("TotalUsageTowardLimit", metrics.memory.usage_bytes);
    wire::Metrics {
        memory_stat,
        cpu_stat: wire::CpuStat {
            usage: metrics.cpu.usage_ns,
            user: metrics.cpu.user_ns,
            system: metrics.cpu.system_ns,
        },
        disk_stat: wire::DiskStat {
            total_bytes_used: metrics.disk.total_bytes,
            total_inodes_used: metrics.disk.total_inodes,
            exclusive_bytes_used: metrics.disk.exclusive_bytes,
            exclusive_inodes_used: metrics.disk.exclusive_inodes,
        },
        network_stat: metrics.network.map(|network| wire::NetworkStat {
            rx_bytes: network.rx_bytes,
            tx_bytes: network.tx_bytes,
        }),
        pid_stat: wire::PidStat {
            current: metrics.pids.current,
            max: metrics.pids.max.unwrap_or(0),
        },
        age: metrics.age_ns,
        cpu_entitlement: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;

    #[test]
    fn every_member_is_there_under_gardens_name() {
        let mut some = Metrics::default();
        some.memory.stat.insert("total_rss".into(), 5);
        some.memory.stat.insert("not_gardens".into(), 6);
        some.memory.usage_bytes = 7;
        some.pids.current = 2;
        let line = String::from_utf8(json::line(&metrics(some))).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["MemoryStat"].as_object().unwrap().len(), 32);
        assert_eq!(value["MemoryStat"]["total_rss"], 5);
        assert_eq!(value["MemoryStat"]["TotalUsageTowardLimit"], 7);
        assert_eq!(value["PIDStat"], serde_json::Value::Null);
        assert_eq!(value["PidStat"], serde_json::json!({"Current": 2, "Max": 0}));
        assert_eq!(
            value["CPUStat"],
            serde_json::json!({"Usage": 0, "User": 0, "System": 0})
        );
        assert_eq!(value["NetworkStat"], serde_json::Value::Null);
        assert_eq!(value["CPUEntitlement"], 0);
    }
}
