//! Containers that have the network, the processes and the IPC of another one.

use super::{Bench, SIGKILL};
use crate::{ContainerId, ContainerSpec, ContainerState, IpcMode, NetworkMode, ProcessMode};

/// All promises about containers that join another one.
pub async fn joining(bench: Bench) {
    a_guest_runs_beside_its_host_and_ends_with_it(&bench).await;
    who_does_not_run_cannot_be_joined(&bench).await;
    what_is_not_open_cannot_be_joined(&bench).await;
}

fn host(bench: &Bench) -> ContainerSpec {
    ContainerSpec {
        ipc: IpcMode::Open,
        ..bench.spec()
    }
}

fn guest(bench: &Bench, of: &ContainerId) -> ContainerSpec {
    ContainerSpec {
        network: NetworkMode::Of(of.clone()),
        processes: ProcessMode::Of(of.clone()),
        ipc: IpcMode::Of(of.clone()),
        ..bench.spec()
    }
}

async fn a_guest_runs_beside_its_host_and_ends_with_it(bench: &Bench) {
    let engine = &bench.engine;
    let host = bench.started("host", &host(bench)).await;
    let [one, other] = [
        bench.started("guest", &guest(bench, &host)).await,
        bench.started("other-guest", &guest(bench, &host)).await,
    ];
    let shown = bench.until(&one, ContainerState::Running).await;
    assert!(shown.pid != 0 && shown.ip.is_empty(), "{shown:?}");
    engine.kill(&one, SIGKILL).await.unwrap();
    bench.until(&one, ContainerState::Exited).await;
    assert_eq!(engine.inspect(&host).await.unwrap().state, ContainerState::Running);
    engine.kill(&host, SIGKILL).await.unwrap();
    bench.until(&other, ContainerState::Exited).await;
    for id in [one, other, host] {
        engine.remove(&id).await.unwrap();
    }
}

async fn who_does_not_run_cannot_be_joined(bench: &Bench) {
    let engine = &bench.engine;
    let host = engine.create(&bench.name("idle-host"), &host(bench)).await.unwrap();
    let id = engine.create(&bench.name("early-guest"), &guest(bench, &host)).await;
    // Whether it is said when it is made or when it is started is the engine's affair.
    if let Ok(id) = id {
        assert!(engine.start(&id).await.is_err(), "a guest of nobody runs");
        engine.remove(&id).await.unwrap();
    }
    engine.remove(&host).await.unwrap();
}

async fn what_is_not_open_cannot_be_joined(bench: &Bench) {
    let engine = &bench.engine;
    let host = bench.started("closed-host", &bench.spec()).await;
    let id = engine.create(&bench.name("curious-guest"), &guest(bench, &host)).await;
    if let Ok(id) = id {
        assert!(engine.start(&id).await.is_err(), "a guest has what is not open");
        engine.remove(&id).await.unwrap();
    }
    engine.remove(&host).await.unwrap();
}
