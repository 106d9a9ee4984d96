//! A core and members of the config store that are at other addresses than they were: all addresses of loopback are this
//! machine's, and 192.0.2.1 is nobody's.

use std::fs;

use cluster::identity::Pki;
use cluster::store::etcd::{EndpointsFile, EtcdStore};

use crate::harness::{Node, until};
use crate::membership::kill_agent;

fn root(core: &Node) -> EtcdStore {
    let pki = Pki::new(core.paths().pki());
    core.store_as(&pki.root_certificate(), &pki.root_key(), &pki.ca())
}

fn endpoints(node: &Node) -> Vec<String> {
    let read = EndpointsFile::read(&node.paths().endpoints_file());
    read.map(|file| file.endpoints).unwrap_or_default()
}

/// Have the node look for the store where nothing answers.
fn mislead(node: &Node) {
    let file = EndpointsFile {
        endpoints: vec!["https://127.0.0.1:1".to_owned()],
    };
    file.write(&node.paths().endpoints_file()).expect("endpoints");
}

fn certificate(node: &Node) -> String {
    fs::read_to_string(Pki::new(node.paths().pki()).node_certificate()).expect("a certificate")
}

#[test]
fn a_core_goes_to_another_address_and_its_nodes_find_it_there() {
    let core = Node::core();
    let node = Node::attached("edge", &core);
    let door = core.door();
    let new = door.replace("127.0.0.1", "127.0.0.2");
    let ports = endpoints(&core)[0].clone();
    let refused = core.refused(
        3,
        &[
            "node",
            "setup",
            "core",
            "127.0.0.2",
            "--port",
            new.rsplit_once(':').expect("a port").1,
        ],
    );
    assert!(
        refused.contains(&format!("hint: kato node reattach {new}")),
        "{refused}"
    );
    // Twice, as after it broke off.
    for _ in 0..2 {
        let said = core.done(&["node", "reattach", &new]);
        assert!(said.contains(&format!("is the core at {new} now")), "{said}");
    }
    let moved = vec![ports.replace("127.0.0.1", "127.0.0.2")];
    assert_eq!(endpoints(&core), moved);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let members = runtime.block_on(root(&core).admin().members()).expect("members");
    assert_eq!(members[0].client_urls, moved);
    assert!(members[0].peer_urls[0].contains("//127.0.0.2:"), "{members:?}");
    assert_eq!(core.done(&["config", "get", "cluster", "endpoint"]), "127.0.0.2");
    until("the others can read where it is", || endpoints(&node) == moved);

    // Where the old address leads nowhere, a node is told.
    mislead(&node);
    let before = certificate(&node);
    let said = node.done(&["node", "reattach", &new]);
    assert!(said.contains(&format!("finds its core at {new} now")), "{said}");
    assert_eq!(
        (endpoints(&node), node.file().cluster.expect("a cluster").core),
        (moved.clone(), new.clone())
    );
    assert_ne!(certificate(&node), before);
    assert_eq!(node.done(&["config", "get", "cluster", "endpoint"]), "127.0.0.2");

    // One that knows the core by a name that still leads there asks by itself.
    mislead(&node);
    until("the node has asked where the store is", || endpoints(&node) == moved);
}

#[test]
fn a_member_at_another_address_becomes_one_there() {
    let core = Node::core();
    let node = Node::attached("edge", &core);
    core.said(&["role", "add", "-n", "edge", "--timeout", "60", "config"]);
    kill_agent(&node);
    // As it is when a machine comes up with another address than it had.
    let settings = node.paths().etcd().join("etcd.yml");
    let text = fs::read_to_string(&settings).expect("settings");
    fs::write(&settings, text.replace("127.0.0.1", "192.0.2.1")).expect("settings");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let admin = root(&core).admin();
    let id = node.file().id.to_string();
    let member = || {
        runtime
            .block_on(admin.members())
            .ok()?
            .into_iter()
            .find(|member| member.name == id)
    };
    let before = member().expect("a member");
    let elsewhere = [before.peer_urls[0].replace("127.0.0.1", "192.0.2.1")];
    runtime
        .block_on(admin.move_member(before.id, &elsewhere))
        .expect("it is moved");
    node.done(&["start", "--timeout", "60"]);
    until("the others find it where it is", || {
        member().is_some_and(|member| member.peer_urls == before.peer_urls && !member.is_learner)
    });
    assert_ne!(member().expect("a member").id, before.id);
    core.done(&["config", "set", "fence", "docker/image", "example/app:3"]);
    assert_eq!(node.done(&["config", "get", "fence", "docker/image"]), "example/app:3");
}
