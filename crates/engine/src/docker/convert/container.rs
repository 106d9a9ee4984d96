//! Docker's containers and their figures, in our words.

use bollard::models;

use super::super::Call;
use super::{count, labels, senseless};
use crate::{Container, ContainerId, ContainerSpec, ContainerState, ImageId, Limits, Mount, Port, Result, Stats};

/// What stands for "no memory limit" where Docker takes a number only: the most that a 64-bit kernel counts.
pub(in crate::docker) const UNLIMITED_MEMORY: i64 = i64::MAX & !0xfff;

/// The memory limit that a container was given, 0 = none.
pub(in crate::docker) fn memory_limit(found: &models::ContainerInspectResponse) -> u64 {
    match found.host_config.as_ref().and_then(|config| config.memory) {
        Some(UNLIMITED_MEMORY..) | None => 0,
        limit => count(limit),
    }
}

pub(in crate::docker) fn container(call: &Call, found: models::ContainerInspectResponse) -> Result<Container> {
    let state = found.state.ok_or_else(|| senseless(call, "state"))?;
    let created: jiff::Timestamp = found
        .created
        .and_then(|created| created.parse().ok())
        .ok_or_else(|| senseless(call, "date of creation"))?;
    let now = container_state(state.status.as_ref().map(AsRef::as_ref).unwrap_or_default());
    // Ours are on one network at most; the address is empty while the container does not run.
    let settings = found.network_settings.unwrap_or_default();
    let network = settings
        .networks
        .and_then(|all| all.into_values().next())
        .unwrap_or_default();
    Ok(Container {
        id: ContainerId(found.id.ok_or_else(|| senseless(call, "container id"))?),
        name: plain_name(&found.name.unwrap_or_default()),
        labels: labels(found.config.and_then(|config| config.labels)),
        image: ImageId(found.image.unwrap_or_default()),
        state: now,
        pid: state.pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0),
        created: created.as_second(),
        ip: network.ip_address.unwrap_or_default(),
        gateway: network.gateway.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or(false),
        exit_code: state.exit_code.filter(|_| now == ContainerState::Exited),
        ports: ports(settings.ports.as_ref()),
    })
}

pub(in crate::docker) fn summary(call: &Call, found: models::ContainerSummary) -> Result<Container> {
    // Further names are links from other containers and have a second slash.
    let names = found.names.unwrap_or_default();
    let name = names.iter().find(|name| name.matches('/').count() <= 1);
    Ok(Container {
        id: ContainerId(found.id.ok_or_else(|| senseless(call, "container id"))?),
        name: name.map(|name| plain_name(name)).unwrap_or_default(),
        labels: labels(found.labels),
        image: ImageId(found.image_id.unwrap_or_default()),
        state: container_state(found.state.as_ref().map(AsRef::as_ref).unwrap_or_default()),
        pid: 0,
        created: found.created.unwrap_or(0),
        ip: String::new(),
        gateway: String::new(),
        oom_killed: false,
        exit_code: None,
        ports: Vec::new(),
    })
}

/// What a container was made with.
pub(in crate::docker) fn spec(found: models::ContainerInspectResponse) -> ContainerSpec {
    let memory = memory_limit(&found);
    let host = found.host_config.unwrap_or_default();
    let config = found.config.unwrap_or_default();
    let given = |number: Option<i64>| {
        number
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| *number > 0)
    };
    let mounts = host.mounts.unwrap_or_default().into_iter().map(|mount| Mount {
        source: mount.source.unwrap_or_default(),
        target: mount.target.unwrap_or_default(),
        read_only: mount.read_only.unwrap_or(false),
    });
    ContainerSpec {
        image: config.image.unwrap_or_default(),
        command: config.entrypoint.unwrap_or_default(),
        hostname: config.hostname.unwrap_or_default(),
        labels: labels(config.labels),
        mounts: mounts.collect(),
        limits: Limits {
            memory_bytes: Some(memory).filter(|memory| *memory > 0),
            cpu_shares: given(host.cpu_shares),
            pids: given(host.pids_limit),
        },
        privileged: host.privileged.unwrap_or(false),
        ports: ports(host.port_bindings.as_ref()),
        restarts: host.restart_policy.and_then(|policy| policy.name).is_some_and(|name| {
            !matches!(
                name,
                models::RestartPolicyNameEnum::NO | models::RestartPolicyNameEnum::EMPTY
            )
        }),
        ..ContainerSpec::default()
    }
}

/// The host has one port on each of its kinds of address; they are one here.
fn ports(map: Option<&models::PortMap>) -> Vec<Port> {
    let mut all = Vec::new();
    for (inside, bindings) in map.into_iter().flatten() {
        let Some(container) = inside.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else {
            continue;
        };
        for binding in bindings.iter().flatten() {
            if let Some(host) = binding.host_port.as_ref().and_then(|port| port.parse().ok()) {
                all.push(Port { container, host });
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn plain_name(name: &str) -> String {
    name.trim_start_matches('/').to_owned()
}

fn container_state(word: &str) -> ContainerState {
    match word {
        "created" => ContainerState::Created,
        "running" | "restarting" | "stopping" => ContainerState::Running,
        "paused" => ContainerState::Paused,
        "exited" => ContainerState::Exited,
        _ => ContainerState::Removing,
    }
}

pub(in crate::docker) fn stats(found: models::ContainerStatsResponse, memory_limit: u64) -> Stats {
    let memory = found.memory_stats.unwrap_or_default();
    let parts = memory.stats.unwrap_or_default();
    let cpu = found.cpu_stats.and_then(|cpu| cpu.cpu_usage).unwrap_or_default();
    let networks = found.networks.unwrap_or_default();
    Stats {
        memory_bytes: memory.usage.unwrap_or(0),
        memory_limit_bytes: memory_limit,
        // The first is cgroup v1's name, the second v2's.
        memory_cache_bytes: parts
            .get("total_inactive_file")
            .or(parts.get("inactive_file"))
            .copied()
            .unwrap_or(0),
        cpu_usage_ns: cpu.total_usage.unwrap_or(0),
        cpu_user_ns: cpu.usage_in_usermode.unwrap_or(0),
        cpu_system_ns: cpu.usage_in_kernelmode.unwrap_or(0),
        pids: found.pids_stats.and_then(|pids| pids.current).unwrap_or(0),
        rx_bytes: networks.values().filter_map(|network| network.rx_bytes).sum(),
        tx_bytes: networks.values().filter_map(|network| network.tx_bytes).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker tells it on a host with cgroup v2, where file memory has other names.
    const V2: &str = r#"{
        "memory_stats": { "usage": 5000, "stats": { "inactive_file": 700, "file": 900 }, "limit": 99999 },
        "cpu_stats": { "cpu_usage": { "total_usage": 3, "usage_in_usermode": 2, "usage_in_kernelmode": 1 } },
        "pids_stats": { "current": 4, "limit": 18446744073709551615 },
        "networks": { "eth0": { "rx_bytes": 10, "tx_bytes": 20 }, "eth1": { "rx_bytes": 1, "tx_bytes": 2 } }
    }"#;
    const V1: &str = r#"{
        "memory_stats": { "usage": 5000, "stats": { "inactive_file": 1, "total_inactive_file": 700 } },
        "cpu_stats": { "cpu_usage": { "total_usage": 3, "usage_in_usermode": 2, "usage_in_kernelmode": 1 } },
        "pids_stats": { "current": 4 }
    }"#;

    #[test]
    fn figures_mean_the_same_in_both_versions_of_cgroups() {
        let v2 = stats(serde_json::from_str(V2).unwrap(), 8000);
        let v1 = stats(serde_json::from_str(V1).unwrap(), 8000);
        let expected = Stats {
            memory_bytes: 5000,
            memory_limit_bytes: 8000,
            memory_cache_bytes: 700,
            cpu_usage_ns: 3,
            cpu_user_ns: 2,
            cpu_system_ns: 1,
            pids: 4,
            rx_bytes: 0,
            tx_bytes: 0,
        };
        assert_eq!(v1, expected);
        assert_eq!(
            v2,
            Stats {
                rx_bytes: 11,
                tx_bytes: 22,
                ..expected
            }
        );
    }

    #[test]
    fn a_limit_out_of_reach_is_none() {
        let limit = |memory: i64| {
            let text = format!(r#"{{"HostConfig": {{"Memory": {memory}}}}}"#);
            memory_limit(&serde_json::from_str(&text).unwrap())
        };
        assert_eq!(
            [limit(0), limit(4096), limit(UNLIMITED_MEMORY), limit(-1)],
            [0, 4096, 0, 0]
        );
    }
}
