//! Limits and figures, as far as an engine itself tells them.

use super::{Bench, SIGKILL};
use crate::{ContainerState, Error, Limits, NetworkMode};

const MIB: u64 = 1 << 20;

/// All promises about limits and figures.
pub async fn limits(bench: Bench) {
    figures_are_of_a_running_container(&bench).await;
    limits_can_be_changed_and_lifted(&bench).await;
    only_a_network_gives_an_address(&bench).await;
}

async fn figures_are_of_a_running_container(bench: &Bench) {
    let engine = &bench.engine;
    let mut spec = bench.spec();
    spec.limits = Limits {
        memory_bytes: Some(64 * MIB),
        cpu_shares: Some(512),
        pids: Some(32),
    };
    let id = bench.started("figures", &spec).await;
    let stats = engine.stats(&id).await.unwrap();
    assert_eq!(stats.memory_limit_bytes, 64 * MIB);
    assert!(stats.memory_bytes > 0 && stats.memory_bytes <= 64 * MIB, "{stats:?}");
    assert!(stats.pids >= 1, "{stats:?}");

    engine.kill(&id, SIGKILL).await.unwrap();
    bench.until(&id, ContainerState::Exited).await;
    let error = engine.stats(&id).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    engine.remove(&id).await.unwrap();
}

async fn limits_can_be_changed_and_lifted(bench: &Bench) {
    let engine = &bench.engine;
    let mut spec = bench.spec();
    spec.limits.memory_bytes = Some(64 * MIB);
    let id = bench.started("changed", &spec).await;
    // Down, up, away and back: for swap the kernel insists on another order in each direction.
    for memory_bytes in [Some(32 * MIB), Some(256 * MIB), None, Some(48 * MIB)] {
        let limits = Limits {
            memory_bytes,
            cpu_shares: Some(256),
            pids: Some(16),
        };
        engine
            .update(&id, &limits)
            .await
            .unwrap_or_else(|error| panic!("{memory_bytes:?}: {error}"));
        assert_eq!(
            engine.stats(&id).await.unwrap().memory_limit_bytes,
            memory_bytes.unwrap_or(0)
        );
    }
    let too_little = Limits {
        memory_bytes: Some(MIB),
        ..Limits::default()
    };
    let error = engine.update(&id, &too_little).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert_eq!(
        engine.stats(&id).await.unwrap().memory_limit_bytes,
        48 * MIB,
        "a refused change has no effect"
    );
    engine.remove(&id).await.unwrap();
}

async fn only_a_network_gives_an_address(bench: &Bench) {
    for (what, network) in [("bridge", NetworkMode::Bridge), ("none", NetworkMode::None)] {
        let mut spec = bench.spec();
        spec.network = network.clone();
        let id = bench.started(what, &spec).await;
        let shown = bench.engine.inspect(&id).await.unwrap();
        assert_eq!(shown.ip.is_empty(), network == NetworkMode::None, "{shown:?}");
        assert_eq!(shown.gateway.is_empty(), network == NetworkMode::None, "{shown:?}");
        bench.engine.remove(&id).await.unwrap();
    }
}
