//! Garden: ports of the node that lead into containers.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tests::garden::{ContainerSpec, PortMapping, Process, ProcessSpec};
use tests::harness::{ContainerOf, LIMIT, Node, until};

type Story = anyhow::Result<()>;

/// A server in the container that answers every connection with the word.
fn serve(container: &ContainerOf, port: u32, word: &str) -> anyhow::Result<Process> {
    let script = format!("echo {word} > /tmp/word; exec nc -ll -p {port} -e cat /tmp/word");
    Ok(container.run(&ProcessSpec::script(&script))?)
}

fn fetch(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

fn wait_for_answer(address: &str, word: &str) {
    let answer = until(&format!("{address} answers"), LIMIT, || fetch(address));
    assert_eq!(answer.trim(), word, "{address}");
}

#[test]
fn a_port_is_assigned_from_the_pool() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    let first = web.garden.net_in("web", 0, 8080)?;
    let second = web.garden.net_in("web", 0, 0)?;
    assert_eq!(first.container_port, 8080);
    assert_eq!(second.container_port, second.host_port);
    assert_ne!(first.host_port, second.host_port);
    for mapping in [first, second] {
        let pool = u32::from(node.first_port)..u32::from(node.first_port) + 32;
        assert!(pool.contains(&mapping.host_port), "{mapping:?} is outside {pool:?}");
    }
    let mapped = web.garden.info("web")?.mapped_ports.unwrap_or_default();
    assert_eq!(
        mapped.iter().map(|port| port.host_port).collect::<Vec<_>>(),
        [first.host_port, second.host_port]
    );
    Ok(())
}

#[test]
fn a_running_container_is_reached_over_loopback_and_the_nodes_address() -> Story {
    let node = Node::fence_only();
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    let _server = serve(&web, 8080, "hello")?;
    let port = web.garden.net_in("web", 0, 8080)?.host_port;
    wait_for_answer(&format!("127.0.0.1:{port}"), "hello");
    let info = web.garden.info("web")?;
    for address in [&info.external_ip, &info.host_ip] {
        wait_for_answer(&format!("{address}:{port}"), "hello");
    }
    Ok(())
}

#[test]
fn ports_can_be_chosen_and_asked_for_at_creation() -> Story {
    let node = Node::fence_only();
    let chosen = u32::from(node.first_port) + 7;
    let netin = vec![
        PortMapping {
            host_port: chosen,
            container_port: 80,
        },
        PortMapping {
            host_port: 0,
            container_port: 81,
        },
    ];
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        netin,
        ..ContainerSpec::default()
    })?;
    let mapped = web.garden.info("web")?.mapped_ports.unwrap_or_default();
    let of = |port: u32| {
        mapped
            .iter()
            .find(|mapping| mapping.container_port == port)
            .map(|mapping| mapping.host_port)
    };
    assert_eq!(of(80), Some(chosen));
    let assigned = of(81).ok_or_else(|| anyhow::anyhow!("no port leads to 81: {mapped:?}"))?;
    let (_one, _two) = (serve(&web, 80, "one")?, serve(&web, 81, "two")?);
    until("the chosen port answers", LIMIT, || {
        fetch(&format!("127.0.0.1:{chosen}"))
    });
    until("the assigned port answers", LIMIT, || {
        fetch(&format!("127.0.0.1:{assigned}"))
    });
    Ok(())
}

#[test]
fn a_port_in_use_is_refused_and_free_after_destroy() -> Story {
    let node = Node::fence_only();
    let chosen = u32::from(node.first_port) + 3;
    let a = node.container(&ContainerSpec {
        handle: "a".into(),
        ..ContainerSpec::default()
    })?;
    let b = node.container(&ContainerSpec {
        handle: "b".into(),
        ..ContainerSpec::default()
    })?;
    a.garden.net_in("a", chosen, 80)?;
    let error = b.garden.net_in("b", chosen, 80).unwrap_err();
    assert!(error.to_string().contains(&chosen.to_string()), "{error}");
    let _server = serve(&a, 80, "a")?;
    wait_for_answer(&format!("127.0.0.1:{chosen}"), "a");
    a.garden.destroy("a")?;
    assert_eq!(
        fetch(&format!("127.0.0.1:{chosen}")),
        None,
        "nothing answers where the container was"
    );
    b.garden.net_in("b", chosen, 80)?;
    let _server = serve(&b, 80, "b")?;
    wait_for_answer(&format!("127.0.0.1:{chosen}"), "b");
    Ok(())
}

#[test]
fn a_port_that_something_else_listens_on_is_not_taken_away() -> Story {
    let node = Node::fence_only();
    let other = TcpListener::bind(("0.0.0.0", node.first_port))?;
    let web = node.container(&ContainerSpec {
        handle: "web".into(),
        ..ContainerSpec::default()
    })?;
    assert!(web.garden.net_in("web", u32::from(node.first_port), 80).is_err());
    let assigned = web.garden.net_in("web", 0, 80)?;
    assert_ne!(assigned.host_port, u32::from(node.first_port));
    drop(other);
    Ok(())
}

#[test]
fn a_container_that_is_not_there_gets_no_port() {
    let node = Node::fence_only();
    let error = node.garden().net_in("nobody", 0, 80).unwrap_err();
    assert_eq!(error.kind(), Some("ContainerNotFoundError"));
}
