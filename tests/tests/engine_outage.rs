//! Docker hangs, goes and comes back: what needs it fails soon and says why, what does not goes on, and all heals by itself.

use std::time::{Duration, Instant};

use tests::garden::{ContainerSpec, ProcessSpec};
use tests::harness::{Behaviour, DockerProxy, LIMIT, Node, until};

type Story = anyhow::Result<()>;

const OUTAGES: [Behaviour; 2] = [Behaviour::Hangs, Behaviour::IsGone];

/// A node whose patience with Docker is short, and long enough for a busy machine.
fn node(proxy: &DockerProxy) -> Node {
    Node::behind(proxy.socket(), &[("docker/timeout", "8")])
}

fn wait_for_engine(node: &Node, state: &str) {
    until(&format!("fence tells that Docker is {state}"), LIMIT, || {
        node.status().ok().filter(|status| status["engine"]["state"] == state)
    });
}

#[test]
fn an_outage_is_a_temporary_error_that_heals() -> Story {
    for outage in OUTAGES {
        let proxy = DockerProxy::start();
        let node = node(&proxy);
        let garden = node.garden();
        garden.create(&ContainerSpec {
            handle: "before".into(),
            ..ContainerSpec::default()
        })?;
        proxy.set(outage);
        let start = Instant::now();
        let error = garden
            .create(&ContainerSpec {
                handle: "during".into(),
                ..ContainerSpec::default()
            })
            .unwrap_err();
        assert!(start.elapsed() < LIMIT, "the answer is bounded in time");
        assert_eq!(error.kind(), Some("ServiceUnavailableError"), "{outage:?}: {error}");
        assert!(!garden.lookup("during")?, "{outage:?}");
        wait_for_engine(&node, "unavailable");

        proxy.set(Behaviour::Works);
        wait_for_engine(&node, "ok");
        // What the failed create had begun is undone once Docker can be asked; until then the handle is not free.
        until("the handle can be used", LIMIT, || {
            garden
                .create(&ContainerSpec {
                    handle: "during".into(),
                    ..ContainerSpec::default()
                })
                .ok()
        });
        assert!(garden.lookup("before")?);
        until("nothing of the failed create is left", LIMIT, || {
            (node.containers_in_docker().len() == 2).then_some(())
        });
    }
    Ok(())
}

#[test]
fn processes_do_not_need_docker() -> Story {
    for outage in OUTAGES {
        let proxy = DockerProxy::start();
        let node = node(&proxy);
        let web = node.container(&ContainerSpec {
            handle: "web".into(),
            ..ContainerSpec::default()
        })?;
        let open = web.run(&ProcessSpec::new("cat", &[]))?;
        proxy.set(outage);
        open.write("still here\n")?;
        open.stdout.wait_for("still here\n", LIMIT)?;
        assert_eq!(web.shell("echo new")?, "new\n", "{outage:?}");
        assert_eq!(web.garden.info("web")?.state, "active", "{outage:?}");
        open.close_stdin()?;
        assert_eq!(open.wait()?, 0);
    }
    Ok(())
}

#[test]
fn a_destroy_that_docker_did_not_answer_can_be_repeated() -> Story {
    for outage in OUTAGES {
        let proxy = DockerProxy::start();
        let node = node(&proxy);
        node.garden().create(&ContainerSpec {
            handle: "web".into(),
            ..ContainerSpec::default()
        })?;
        proxy.set(outage);
        let error = node.garden().destroy("web").unwrap_err();
        assert_eq!(error.kind(), Some("ServiceUnavailableError"), "{outage:?}: {error}");
        assert!(node.garden().lookup("web")?, "{outage:?}: it is there until it is gone");
        proxy.set(Behaviour::Works);
        until("the destroy succeeds", LIMIT, || {
            let gone = node.garden().destroy("web");
            let unknown = gone
                .as_ref()
                .is_err_and(|error| error.kind() == Some("ContainerNotFoundError"));
            (gone.is_ok() || unknown).then_some(())
        });
        assert_eq!(node.containers_in_docker(), Vec::<String>::new());
        assert_eq!(node.garden().list(&[])?, Vec::<String>::new());
    }
    Ok(())
}

#[test]
fn a_daemon_that_starts_without_docker_waits_for_it() -> Story {
    let proxy = DockerProxy::start();
    let node = node(&proxy);
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    let process = web.run(&ProcessSpec {
        id: "job".into(),
        ..ProcessSpec::script("echo ready; read word; exit 4")
    })?;
    process.stdout.wait_for("ready", LIMIT)?;
    node.kill_fence();
    proxy.set(Behaviour::IsGone);
    node.spawn_fence();
    wait_for_engine(&node, "unavailable");
    proxy.set(Behaviour::Works);
    node.wait_until_ready();
    wait_for_engine(&node, "ok");
    let again = web.garden.attach("web", "job")?;
    again.write("word\n")?;
    assert_eq!(again.wait()?, 4);
    Ok(())
}

#[test]
fn the_administrator_is_told() -> Story {
    let proxy = DockerProxy::start();
    let node = node(&proxy);
    proxy.set(Behaviour::IsGone);
    wait_for_engine(&node, "unavailable");
    let said = node.kato(&["container", "create"]).expect_code(5);
    assert!(
        said.err().contains("Docker") || said.err().contains("docker"),
        "{}",
        said.err()
    );
    let status = node.kato(&["status"]).expect_code(1);
    assert!(status.out().contains("Docker"), "{}", status.out());
    proxy.set(Behaviour::Works);
    wait_for_engine(&node, "ok");
    until("containers can be made again", Duration::from_secs(20), || {
        (node.kato(&["container", "create"]).code == 0).then_some(())
    });
    Ok(())
}

#[test]
fn answers_that_make_no_sense_or_do_not_end_are_borne() -> Story {
    for odd in [Behaviour::TalksNonsense, Behaviour::Drips] {
        let proxy = DockerProxy::start();
        let node = node(&proxy);
        let web = node.container(&ContainerSpec {
            handle: "web".into(),
            ..ContainerSpec::default()
        })?;
        proxy.set(odd);
        let start = Instant::now();
        let failed = node.kato(&["container", "create", "--handle", "during"]);
        assert!(start.elapsed() < LIMIT, "{odd:?}: the answer is bounded in time");
        assert_ne!(failed.code, 0, "{odd:?}");
        assert!(failed.err().contains("could not create"), "{odd:?}: {}", failed.err());
        assert_eq!(web.shell("echo meanwhile")?, "meanwhile\n", "{odd:?}");
        assert_eq!(web.garden.info("web")?.state, "active", "{odd:?}");
        let status = node.kato(&["status"]).expect_code(1);
        assert!(status.out().contains("Docker"), "{odd:?}: {}", status.out());

        proxy.set(Behaviour::Works);
        wait_for_engine(&node, "ok");
        until("the handle can be used", LIMIT, || {
            (node.kato(&["container", "create", "--handle", "during"]).code == 0).then_some(())
        });
        assert_eq!(web.garden.info("web")?.state, "active", "{odd:?}");
        until("nothing of the failed create is left", LIMIT, || {
            (node.containers_in_docker().len() == 2).then_some(())
        });
    }
    Ok(())
}
