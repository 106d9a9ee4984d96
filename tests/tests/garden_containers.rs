//! Garden: containers from create to destroy, and what is said of them in between.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Barrier;
use std::thread;

use tests::garden::{ContainerSpec, CpuLimits, Error, Limits, MemoryLimits, PidLimits, ProcessSpec};
use tests::harness::{Node, cgroup, docker};
use uuid::Uuid;

type Story = anyhow::Result<()>;

fn named(handle: &str) -> ContainerSpec {
    ContainerSpec {
        handle: handle.into(),
        ..ContainerSpec::default()
    }
}

#[test]
fn the_server_answers_and_has_room() -> Story {
    let node = Node::fence_only();
    node.garden().ping()?;
    let capacity = node.garden().capacity()?;
    assert!(
        capacity.memory_in_bytes > 0 && capacity.disk_in_bytes > 0,
        "{capacity:?}"
    );
    assert!(
        capacity.schedulable_disk_in_bytes > 0 && capacity.max_containers > 0,
        "{capacity:?}"
    );
    assert_eq!(node.garden().list(&[])?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_container_without_a_handle_gets_a_fresh_uuid() -> Story {
    let node = Node::fence_only();
    let first = node.garden().create(&ContainerSpec::default())?;
    let second = node.garden().create(&ContainerSpec::default())?;
    assert_ne!(first, second);
    Uuid::parse_str(&first)?;
    Uuid::parse_str(&second)?;
    Ok(())
}

#[test]
fn a_handle_in_use_is_refused_in_gardens_words() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    assert_eq!(garden.create(&named("web"))?, "web");
    let error = garden.create(&named("web")).unwrap_err();
    assert_eq!(error.to_string(), "Handle 'web' already in use");
    assert_eq!((error.status(), error.kind()), (Some(500), Some("")));
    assert_eq!(garden.list(&[])?, ["web"]);
    assert_eq!(node.containers_in_docker().len(), 1);
    Ok(())
}

#[test]
fn of_creates_with_one_handle_at_once_one_succeeds() -> Story {
    let node = Node::fence_only();
    let (garden, together) = (node.garden(), Barrier::new(4));
    let results: Vec<_> = thread::scope(|scope| {
        let create = || {
            together.wait();
            garden.create(&named("one"))
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (made, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for error in refused {
        assert_eq!(error.unwrap_err().to_string(), "Handle 'one' already in use");
    }
    assert_eq!(node.containers_in_docker().len(), 1);
    Ok(())
}

#[test]
fn a_failed_create_leaves_nothing_behind() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    let mut spec = named("web");
    spec.image.uri = "docker:///exampleco/not-there#1".into();
    let error = garden.create(&spec).unwrap_err();
    assert!(error.to_string().contains("exampleco/not-there:1"), "{error}");
    assert_eq!(garden.list(&[])?, Vec::<String>::new());
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    assert_eq!(garden.create(&named("web"))?, "web");
    Ok(())
}

#[test]
fn many_are_created_and_destroyed_at_once() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    let handles: BTreeSet<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| garden.create(&ContainerSpec::default())))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Result<_, _>>()
    })?;
    assert_eq!(handles.len(), 6);
    assert_eq!(garden.list(&[])?.into_iter().collect::<BTreeSet<_>>(), handles);
    thread::scope(|scope| {
        let threads: Vec<_> = handles
            .iter()
            .map(|handle| scope.spawn(|| garden.destroy(handle)))
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })?;
    assert_eq!(garden.list(&[])?, Vec::<String>::new());
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

#[test]
fn lists_are_filtered_by_all_properties_given() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    for (handle, owner, stack) in [("a", "ann", "x"), ("b", "ann", "y"), ("c", "bob & co", "x")] {
        let properties = [("owner", owner), ("stack", stack)].map(|(k, v)| (k.to_owned(), v.to_owned()));
        garden.create(&ContainerSpec {
            properties: BTreeMap::from(properties),
            ..named(handle)
        })?;
    }
    assert_eq!(garden.list(&[])?.len(), 3);
    assert_eq!(garden.list(&[("owner", "ann"), ("stack", "y")])?, ["b"]);
    assert_eq!(garden.list(&[("owner", "bob & co")])?, ["c"]);
    assert_eq!(garden.list(&[("owner", "ann"), ("stack", "z")])?, Vec::<String>::new());
    assert_eq!(garden.list(&[("colour", "red")])?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_container_is_found_from_create_to_destroy_and_no_longer() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    garden.create(&named("web"))?;
    assert!(garden.lookup("web")?);
    garden.destroy("web")?;
    assert!(!garden.lookup("web")?);
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    assert_eq!(garden.info("web").unwrap_err().to_string(), "unknown handle: web");
    assert_eq!(garden.create(&named("web"))?, "web");
    Ok(())
}

#[test]
fn the_info_tells_state_addresses_and_properties() -> Story {
    let node = Node::fence_only();
    let properties = BTreeMap::from([("owner".to_owned(), "ann".to_owned())]);
    let container = node.container(&ContainerSpec {
        properties,
        ..named("web")
    })?;
    let info = container.garden.info("web")?;
    assert_eq!(info.state, "active");
    info.container_ip.parse::<IpAddr>()?;
    info.host_ip.parse::<IpAddr>()?;
    info.external_ip.parse::<IpAddr>()?;
    assert_eq!(info.events.unwrap_or_default(), Vec::<String>::new());
    assert_eq!(info.mapped_ports.unwrap_or_default(), []);
    let properties = info.properties.unwrap_or_default();
    assert_eq!(properties.get("owner").map(String::as_str), Some("ann"));
    assert_eq!(properties.get("garden.network.external-ip"), Some(&info.external_ip));
    let addresses = container.shell("ip -4 addr show")?;
    assert!(
        addresses.contains(&info.container_ip),
        "{addresses} does not have {}",
        info.container_ip
    );
    Ok(())
}

#[test]
fn the_container_knows_its_name() -> Story {
    let node = Node::fence_only();
    let handle = format!("{}-{}", "x".repeat(40), "web.1_of-ann");
    let container = node.container(&named(&handle))?;
    let ip = container.garden.info(&handle)?.container_ip;
    let host = container.shell("hostname")?;
    let host = host.trim();
    assert!(host.len() <= 49 && host.ends_with("of-ann"), "{host}");
    let hosts = container.shell("cat /etc/hosts")?;
    let has = |address: &str, name: &str| {
        hosts
            .lines()
            .any(|line| line.split_whitespace().next() == Some(address) && line.split_whitespace().any(|w| w == name))
    };
    assert!(has("127.0.0.1", "localhost") && has(&ip, host), "{hosts}");
    Ok(())
}

#[test]
fn the_engines_container_is_marked_as_ours() -> Story {
    let node = Node::fence_only();
    let container = node.container(&ContainerSpec::default())?;
    let labels = docker::labels(&node.inspect(&container.handle));
    assert_eq!(labels.get("io.fence.node").cloned(), node.id());
    Uuid::parse_str(&labels["io.fence.instance"])?;
    Ok(())
}

#[test]
fn limits_are_in_force() -> Story {
    let node = Node::fence_only();
    let limits = Limits {
        memory_limits: MemoryLimits {
            limit_in_bytes: 64 << 20,
        },
        cpu_limits: CpuLimits {
            limit_in_shares: 512,
            weight: 0,
        },
        pid_limits: PidLimits { max: 40 },
        ..Limits::default()
    };
    let container = node.container(&ContainerSpec {
        limits,
        ..ContainerSpec::default()
    })?;
    let in_force = cgroup::limits_of(node.first_pid(&container.handle));
    assert_eq!(in_force.memory_bytes, Some(64 << 20));
    assert_eq!(in_force.pids, Some(40));
    assert!(
        in_force.cpu_shares.is_some_and(|shares| (460..=530).contains(&shares)),
        "{in_force:?}"
    );
    if let Some(with_swap) = in_force.memory_and_swap_bytes {
        assert_eq!(with_swap, 64 << 20);
    }
    let process = container.run(&ProcessSpec::new("cat", &[]))?;
    let pids = node.pids_named(&container.handle, "cat");
    assert_eq!(
        pids.into_iter().map(cgroup::limits_of).collect::<Vec<_>>(),
        [in_force],
        "the limits of a process in it"
    );
    process.close_stdin()?;
    assert_eq!(process.wait()?, 0);
    Ok(())
}

#[test]
fn limits_that_cannot_be_are_refused() -> Story {
    let node = Node::fence_only();
    let limits = Limits {
        memory_limits: MemoryLimits { limit_in_bytes: 4096 },
        ..Limits::default()
    };
    let error = node
        .garden()
        .create(&ContainerSpec {
            limits,
            ..ContainerSpec::default()
        })
        .unwrap_err();
    assert!(error.to_string().contains("4096"), "{error}");
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

#[test]
fn destroying_what_is_not_there_is_a_typed_error() {
    let node = Node::fence_only();
    let error = node.garden().destroy("nobody").unwrap_err();
    let Error::Garden { status, body } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (*status, body.kind.as_str(), body.handle.as_str()),
        (404, "ContainerNotFoundError", "nobody")
    );
}

#[test]
fn of_destroys_at_once_one_succeeds() -> Story {
    let node = Node::fence_only();
    let (garden, together) = (node.garden(), Barrier::new(4));
    garden.create(&named("web"))?;
    let results: Vec<_> = thread::scope(|scope| {
        let destroy = || {
            together.wait();
            garden.destroy("web")
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(destroy)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let refused: Vec<String> = results
        .into_iter()
        .filter_map(|result| result.err().map(|error| error.to_string()))
        .collect();
    assert_eq!(refused.len(), 3, "{refused:?}");
    for text in refused {
        assert!(
            ["container already being destroyed", "unknown handle: web"].contains(&text.as_str()),
            "{text}"
        );
    }
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_privileged_container_is_refused() -> Story {
    let node = Node::fence_only();
    let error = node
        .garden()
        .create(&ContainerSpec {
            privileged: true,
            ..ContainerSpec::default()
        })
        .unwrap_err();
    assert!(error.to_string().contains("privileged"), "{error}");
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_handle_that_cannot_be_addressed_is_refused() -> Story {
    let node = Node::fence_only();
    let long = "x".repeat(5_000);
    for handle in [
        "..",
        ".",
        "a/b",
        "../../etc",
        "a b",
        "a\nb",
        "a\u{0}b",
        "a,b",
        "ä",
        "bulk_info",
        long.as_str(),
    ] {
        let error = node.garden().create(&named(handle)).unwrap_err();
        assert!(matches!(error, Error::Garden { .. }), "{handle:?}: {error}");
    }
    assert_eq!(node.containers_in_docker(), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_handle_is_only_a_name_whatever_it_looks_like() -> Story {
    let node = Node::fence_only();
    let garden = node.garden();
    for handle in ["-rf", "$(id)", "'; DROP TABLE containers;--", "%2e%2e", "a+b&c=d#e"] {
        let handle = handle.replace(' ', "_");
        assert_eq!(garden.create(&named(&handle))?, handle);
        assert!(garden.lookup(&handle)?, "{handle}");
        assert_eq!(garden.info(&handle)?.state, "active", "{handle}");
        let (status, stdout, _) = garden.output(&handle, &ProcessSpec::new("echo", &["here"]))?;
        assert_eq!((status, stdout.as_str()), (0, "here\n"), "{handle}");
        garden.destroy(&handle)?;
    }
    assert_eq!(garden.list(&[])?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_node_holds_no_more_containers_than_configured() -> Story {
    let node = Node::with_config(&[("max_containers", "1")]);
    let garden = node.garden();
    assert_eq!(garden.capacity()?.max_containers, 1);
    garden.create(&named("a"))?;
    let error = garden.create(&named("b")).unwrap_err();
    assert!(matches!(error, Error::Garden { .. }), "{error}");
    garden.destroy("a")?;
    assert_eq!(garden.create(&named("b"))?, "b");
    Ok(())
}
