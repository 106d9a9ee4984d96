//! Containers: their life, calls that can be repeated, and the errors of those that cannot be done.

use super::{Bench, SIGKILL, nobody};
use crate::{ContainerSpec, ContainerState, Error, Labels, Limits, Mount, NetworkMode, Port};

/// All promises about containers.
pub async fn containers(bench: Bench) {
    a_life(&bench).await;
    exit_codes_are_kept(&bench).await;
    a_running_container_is_removed(&bench).await;
    a_frozen_container_goes_on_or_is_removed(&bench).await;
    who_is_not_there_is_not_found(&bench).await;
    a_name_is_taken_once(&bench).await;
    impossible_requests_are_refused(&bench).await;
    lists_are_by_all_labels(&bench).await;
    what_it_was_made_with_is_told(&bench).await;
    a_port_of_the_host_leads_to_one_container(&bench).await;
}

async fn a_frozen_container_goes_on_or_is_removed(bench: &Bench) {
    let engine = &bench.engine;
    let id = bench.started("frozen", &bench.spec()).await;
    let pid = engine.inspect(&id).await.unwrap().pid;
    for _ in 0..2 {
        engine.pause(&id).await.expect("also where it is frozen already");
        let now = engine.inspect(&id).await.unwrap();
        assert_eq!((now.state, now.pid), (ContainerState::Paused, pid));
    }
    for _ in 0..2 {
        engine.resume(&id).await.expect("also where it is not frozen");
        assert_eq!(engine.inspect(&id).await.unwrap().state, ContainerState::Running);
    }
    engine.pause(&id).await.unwrap();
    engine.remove(&id).await.expect("also where it is frozen");
    assert!(engine.pause(&id).await.unwrap_err().is_not_found());
    let stopped = engine.create(&bench.name("not-running"), &bench.spec()).await.unwrap();
    assert!(engine.pause(&stopped).await.is_err());
    engine.remove(&stopped).await.unwrap();
}

async fn what_it_was_made_with_is_told(bench: &Bench) {
    let engine = &bench.engine;
    let made = ContainerSpec {
        hostname: "by-name".into(),
        mounts: vec![Mount {
            source: "/tmp".into(),
            target: "/mnt".into(),
            read_only: true,
        }],
        limits: Limits {
            memory_bytes: Some(64 << 20),
            cpu_shares: Some(512),
            pids: Some(32),
        },
        ports: vec![Port {
            container: 80,
            host: 61_999,
        }],
        restarts: true,
        ..bench.spec()
    };
    let id = engine.create(&bench.name("made"), &made).await.unwrap();
    let told = engine.spec(&id).await.unwrap();
    let expected = ContainerSpec {
        network: told.network.clone(),
        // An image may have labels of its own.
        labels: told.labels.clone(),
        ..made.clone()
    };
    assert_eq!(told, expected);
    assert!(
        made.labels
            .iter()
            .all(|(key, value)| told.labels.get(key) == Some(value))
    );
    engine.remove(&id).await.unwrap();
    assert!(engine.spec(&id).await.unwrap_err().is_not_found());
}

async fn a_port_of_the_host_leads_to_one_container(bench: &Bench) {
    let engine = &bench.engine;
    let (mut port, mut spec) = published(bench);
    let name = bench.name("port");
    let mut id = engine.create(&name, &spec).await.unwrap();
    // Whatever else runs here may have taken the port meanwhile.
    if engine.start(&id).await.is_err() {
        engine.remove(&id).await.unwrap();
        (port, spec) = published(bench);
        id = engine.create(&name, &spec).await.unwrap();
        engine.start(&id).await.unwrap();
    }
    assert_eq!(engine.inspect(&id).await.unwrap().ports, [port]);
    let other = engine.create(&bench.name("port-too"), &spec).await.unwrap();
    let error = engine.start(&other).await.unwrap_err();
    assert!(
        matches!(&error, Error::Failed { reason, .. } if reason.contains("allocated")),
        "{error:?}"
    );
    engine.remove(&id).await.unwrap();
    engine.start(&other).await.expect("the port is free again");
    engine.kill(&other, SIGKILL).await.unwrap();
    bench.until(&other, ContainerState::Exited).await;
    assert_eq!(engine.inspect(&other).await.unwrap().ports, []);
    engine.remove(&other).await.unwrap();
}

fn published(bench: &Bench) -> (Port, ContainerSpec) {
    let port = Port {
        container: 80,
        host: free_port(),
    };
    let spec = ContainerSpec {
        ports: vec![port],
        network: NetworkMode::Bridge,
        ..bench.spec()
    };
    (port, spec)
}

fn free_port() -> u16 {
    let held = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    held.local_addr().unwrap().port()
}

async fn a_life(bench: &Bench) {
    let engine = &bench.engine;
    let name = bench.name("life");
    let id = engine.create(&name, &bench.spec()).await.unwrap();

    let created = engine.inspect(&id).await.unwrap();
    assert_eq!(
        (created.state, created.pid, created.exit_code),
        (ContainerState::Created, 0, None)
    );
    assert_eq!(
        (&created.id, &created.name, &created.labels),
        (&id, &name, &bench.labels())
    );
    assert_eq!(created.image, engine.image(&bench.image).await.unwrap().id);
    assert!(created.created > 1_600_000_000, "{created:?}");

    engine.start(&id).await.unwrap();
    engine.start(&id).await.expect("a second start is done already");
    let running = engine.inspect(&id).await.unwrap();
    assert_eq!(
        (running.state, running.exit_code, running.oom_killed),
        (ContainerState::Running, None, false)
    );
    assert!(running.pid > 0);

    engine.kill(&id, SIGKILL).await.unwrap();
    let ended = bench.until(&id, ContainerState::Exited).await;
    assert_eq!((ended.pid, ended.exit_code, ended.oom_killed), (0, Some(137), false));
    engine
        .kill(&id, SIGKILL)
        .await
        .expect("a signal to what does not run is done already");

    engine.start(&id).await.expect("an ended container starts again");
    bench.until(&id, ContainerState::Running).await;
    engine.remove(&id).await.unwrap();
    engine.remove(&id).await.expect("a second removal is done already");
    assert!(engine.inspect(&id).await.unwrap_err().is_not_found());
}

async fn exit_codes_are_kept(bench: &Bench) {
    let id = bench
        .started("exit", &bench.running(&["/bin/sh", "-c", "exit 3"]))
        .await;
    assert_eq!(bench.until(&id, ContainerState::Exited).await.exit_code, Some(3));
    bench.engine.remove(&id).await.unwrap();
}

async fn a_running_container_is_removed(bench: &Bench) {
    let id = bench.started("removed", &bench.spec()).await;
    let (one, other) = tokio::join!(bench.engine.remove(&id), bench.engine.remove(&id));
    one.expect("one removal");
    other.expect("a removal beside another one");
    assert!(bench.engine.inspect(&id).await.unwrap_err().is_not_found());
}

async fn who_is_not_there_is_not_found(bench: &Bench) {
    let (engine, id) = (&bench.engine, nobody());
    let errors = [
        engine.start(&id).await.unwrap_err(),
        engine.kill(&id, SIGKILL).await.unwrap_err(),
        engine.inspect(&id).await.unwrap_err(),
        engine.update(&id, &Limits::default()).await.unwrap_err(),
        engine.stats(&id).await.unwrap_err(),
    ];
    for error in errors {
        assert!(
            matches!(&error, Error::NotFound { what } if what.contains(&id.0)),
            "{error:?}"
        );
    }
    engine.remove(&id).await.expect("what is gone is removed already");

    let image = bench.name("absent");
    let spec = ContainerSpec {
        image: image.clone(),
        ..bench.spec()
    };
    let error = engine.create(&bench.name("without-image"), &spec).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotFound { what } if what.contains(&image)),
        "{error:?}"
    );
}

async fn a_name_is_taken_once(bench: &Bench) {
    let (engine, name) = (&bench.engine, bench.name("taken"));
    let id = engine.create(&name, &bench.spec()).await.unwrap();
    let error = engine.create(&name, &bench.spec()).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    assert_eq!(engine.inspect(&id).await.unwrap().state, ContainerState::Created);
    engine.remove(&id).await.unwrap();
    let again = engine
        .create(&name, &bench.spec())
        .await
        .expect("the name of a removed container is free");
    engine.remove(&again).await.unwrap();
}

async fn impossible_requests_are_refused(bench: &Bench) {
    let mut no_source = bench.spec();
    let mount = Mount {
        source: "/nonexistent/source".into(),
        target: "/mnt".into(),
        read_only: true,
    };
    no_source.mounts.push(mount);
    let mut relative = bench.spec();
    relative.mounts.push(Mount {
        source: "/".into(),
        target: "mnt".into(),
        read_only: true,
    });
    let mut little_memory = bench.spec();
    little_memory.limits.memory_bytes = Some(1 << 20);
    for (what, spec) in [
        ("no-source", no_source),
        ("relative", relative),
        ("little-memory", little_memory),
    ] {
        let error = bench.engine.create(&bench.name(what), &spec).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{what}: {error:?}");
    }
    let error = bench.engine.create("no/name", &bench.spec()).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(
        bench.engine.list(&bench.labels()).await.unwrap().is_empty(),
        "a refused container is there"
    );
}

async fn lists_are_by_all_labels(bench: &Bench) {
    let engine = &bench.engine;
    let with = |extra: &str| {
        let mut spec = bench.spec();
        spec.labels.insert("io.fence.test.extra".to_owned(), extra.to_owned());
        spec
    };
    let one = bench.started("one", &with("1")).await;
    let two = engine.create(&bench.name("two"), &with("2")).await.unwrap();

    let mut all = engine.list(&bench.labels()).await.unwrap();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let shown: Vec<_> = all.iter().map(|container| (&container.id, container.state)).collect();
    assert_eq!(
        shown,
        [(&one, ContainerState::Running), (&two, ContainerState::Created)]
    );
    let seen = engine.inspect(&two).await.unwrap();
    assert_eq!(
        (&all[1].name, &all[1].labels, &all[1].image),
        (&seen.name, &seen.labels, &seen.image)
    );
    assert_eq!(all[1].created, seen.created);

    let found = engine.list(&with("2").labels).await.unwrap();
    assert_eq!(found.iter().map(|container| &container.id).collect::<Vec<_>>(), [&two]);
    assert!(engine.list(&with("3").labels).await.unwrap().is_empty());
    let everything = engine.list(&Labels::new()).await.unwrap();
    assert!(
        [&one, &two]
            .iter()
            .all(|id| everything.iter().any(|container| container.id == **id))
    );
    engine.remove(&one).await.unwrap();
    engine.remove(&two).await.unwrap();
}
