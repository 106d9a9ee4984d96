//! A dockerd that is down, stopped, frozen or restarted: every call ends in time with a temporary error, and the same
//! client works again as soon as dockerd does.
#![allow(clippy::unwrap_used, reason = "tests: what fails is to panic")]

mod common;

use std::time::Duration;

use common::bounded;
use common::dockerd::Dockerd;
use engine::conformance::Bench;
use engine::docker::{Docker, Timeouts};
use engine::{ContainerId, Engine, Error, EventKind, Labels, Limits, Result};
use futures_util::StreamExt;
use tokio::sync::mpsc;

/// Bounds for calls that are to reach them.
const SOON: Timeouts = Timeouts {
    call: Duration::from_secs(2),
    idle: Duration::from_secs(2),
    transfer: Duration::from_secs(20),
};
const CALLS_WHILE_FROZEN: usize = 10;

/// The errors of every kind of call.
async fn errors(docker: &Docker) -> Vec<(&'static str, Error)> {
    let id = ContainerId("c0ffee".to_owned());
    let spec = engine::ContainerSpec {
        image: "any".to_owned(),
        ..Default::default()
    };
    let progress = mpsc::channel(1).0;
    let labels = Labels::new();
    fn error<T>(outcome: Result<T>) -> Error {
        outcome.err().expect("a call without an engine fails")
    }
    let (version, host, create, start, kill, remove, inspect, list) = tokio::join!(
        docker.version(),
        docker.host(),
        docker.create("any", &spec),
        docker.start(&id),
        docker.kill(&id, 9),
        docker.remove(&id),
        docker.inspect(&id),
        docker.list(&labels),
    );
    let limits = Limits::default();
    let (update, stats, image, images, pull, import, tag, untag, events) = tokio::join!(
        docker.update(&id, &limits),
        docker.stats(&id),
        docker.image("any"),
        docker.images(),
        docker.pull("any", None, progress),
        docker.import("any", common::busybox("outage")),
        docker.tag("any", "other"),
        docker.remove_image("any"),
        docker.events(&labels),
    );
    vec![
        ("version", error(version)),
        ("host", error(host)),
        ("create", error(create)),
        ("start", error(start)),
        ("kill", error(kill)),
        ("remove", error(remove)),
        ("inspect", error(inspect)),
        ("list", error(list)),
        ("update", error(update)),
        ("stats", error(stats)),
        ("image", error(image)),
        ("images", error(images)),
        ("pull", error(pull)),
        ("import", error(import)),
        ("tag", error(tag)),
        ("remove_image", error(untag)),
        ("events", error(events)),
    ]
}

#[tokio::test]
async fn a_stopped_engine_is_unavailable_and_heals() {
    let mut dockerd = Dockerd::new();
    let docker = dockerd.client();
    for (call, error) in bounded("calls without an engine", errors(&docker)).await {
        assert!(
            matches!(error, Error::Unavailable { .. }) && error.is_temporary(),
            "{call}: {error:?}"
        );
    }

    dockerd.start().await;
    docker.version().await.expect("the client made before the engine");
    let mut events = docker.events(&Labels::new()).await.unwrap();
    let told = events.next();
    dockerd.stop();
    let end = bounded("events of a stopped engine", told).await;
    assert!(matches!(end, Some(Err(Error::Unavailable { .. }))), "{end:?}");
    assert!(bounded("the end of the stream", events.next()).await.is_none());
    for (call, error) in bounded("calls on a stopped engine", errors(&docker)).await {
        assert!(matches!(error, Error::Unavailable { .. }), "{call}: {error:?}");
    }

    dockerd.start().await;
    docker.version().await.expect("the same client after a restart");
    let bench = Bench::new(std::sync::Arc::new(docker), "none");
    bench.run(works).await;
}

/// An engine that does something again, and tells of it.
async fn works(bench: Bench) {
    let engine = &bench.engine;
    let mut events = engine.events(&bench.labels()).await.unwrap();
    let made = engine
        .import(&bench.name("healed:1"), common::busybox("healed"))
        .await
        .unwrap();
    let told = bounded("an event", events.next()).await.unwrap().unwrap();
    assert_eq!(told.kind, EventKind::ImageChanged(made.id.0));
}

#[tokio::test]
async fn a_frozen_engine_times_out_and_heals() {
    let mut dockerd = Dockerd::new();
    dockerd.start().await;
    let docker = dockerd.client();
    docker.version().await.unwrap();
    let mut events = docker.events(&Labels::new()).await.unwrap();

    let open = open_files();
    dockerd.freeze();
    docker.set_timeouts(SOON);
    for (call, error) in bounded("calls on a frozen engine", errors(&docker)).await {
        assert!(
            matches!(error, Error::TimedOut { .. }) && error.is_temporary(),
            "{call}: {error:?}"
        );
    }
    let again = (0..CALLS_WHILE_FROZEN).map(|_| docker.version());
    for outcome in bounded("more calls", futures_util::future::join_all(again)).await {
        assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
    }
    common::until("connections given up are closed", || open_files() <= open).await;

    dockerd.thaw();
    docker.set_timeouts(Timeouts::default());
    docker.version().await.expect("the same client after the freeze");
    let name = "fence-test-thawed:1";
    docker.import(name, common::busybox("thawed")).await.unwrap();
    bounded("events go on after a freeze", async {
        while !matches!(events.next().await, Some(Ok(event)) if matches!(event.kind, EventKind::ImageChanged(_))) {}
    })
    .await;
}

#[tokio::test]
async fn a_socket_nobody_listens_on_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let docker = Docker::connect(&socket, Timeouts::default());
    let error = docker.version().await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { endpoint, .. } if *endpoint == socket.display().to_string()));
    assert!(error.to_string().contains("refused"), "{error}");
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
