//! Who may use the config store follows the records whatever state they are in, at once and at every member.

use std::time::Duration;

use cluster::identity::Pki;
use cluster::store::etcd::EtcdStore;
use cluster::store::{Store, Txn};
use tokio::time::timeout;

use crate::harness::{Node, until};
use crate::rights::administrator;

fn root(core: &Node) -> EtcdStore {
    let pki = Pki::new(core.paths().pki());
    core.store_as(&pki.root_certificate(), &pki.root_key(), &pki.ca())
}

#[test]
fn one_record_that_cannot_be_read_keeps_nobody_else_in_and_puts_nobody_out() {
    let core = Node::core();
    for name in ["alice", "bob"] {
        core.done(&["admin", "create", name, "-o", &format!("{name}.yml")]);
    }
    let [alice, bob] = ["alice", "bob"].map(|name| administrator(&core.root().join(format!("{name}.yml"))));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let get = |store: &EtcdStore| runtime.block_on(store.get("config/head"));
    assert!(get(&alice).is_ok() && get(&bob).is_ok());
    let spoil = Txn::new().put("admin/alice", "{").put("node/by-id/junk", "{");
    runtime.block_on(root(&core).txn(spoil)).expect("records are spoilt");
    core.done(&["admin", "revoke", "bob"]);
    until("who was revoked is out", || get(&bob).is_err());
    assert!(get(&alice).is_ok(), "whose record is spoilt stays in");
}

#[test]
fn what_is_open_ends_with_the_record_and_nothing_else_does() {
    let core = Node::core();
    let [out, stays] = ["out", "stays"].map(|name| Node::attached(name, &core));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let watched = |node: &Node| {
        runtime
            .block_on(node.store(&core).watch("config/", 0))
            .expect("a watch")
    };
    let (mut ends, mut goes_on) = (watched(&out), watched(&stays));
    core.done(&["node", "unpair", "out"]);
    runtime.block_on(async {
        let ended = timeout(Duration::from_secs(30), async { while ends.next().await.is_ok() {} });
        ended.await.expect("what is open ends");
    });
    core.done(&["config", "set", "fence", "max_containers", "7"]);
    runtime.block_on(async {
        let seen = timeout(Duration::from_secs(30), goes_on.next()).await;
        seen.expect("the change arrives").expect("the watch goes on");
    });
    assert!(runtime.block_on(out.store(&core).get("node/endpoints")).is_err());
}

#[test]
fn etcd_itself_is_reached_by_root_of_its_machine_alone() {
    use std::os::unix::fs::PermissionsExt;
    let core = Node::core();
    let directory = core.paths().etcd();
    assert!(directory.join("etcd:0").exists(), "etcd is at its socket");
    let mode = std::fs::metadata(&directory).expect("a directory").permissions().mode();
    assert_eq!(mode & 0o077, 0, "the directory is root's alone");
    let settings = std::fs::read_to_string(directory.join("etcd.yml")).expect("settings");
    let listens = settings.lines().find(|line| line.starts_with("listen-client-urls"));
    assert_eq!(listens, Some("listen-client-urls: unix://etcd:0"));
}

#[test]
fn a_member_that_was_killed_comes_back_at_its_socket() {
    let core = Node::core();
    let pid = core.json(&["process", "list", "-j"]);
    let config = pid
        .as_array()
        .and_then(|all| all.iter().find(|one| one["process"] == "config"));
    let pid = config.and_then(|one| one["pid"].as_i64()).expect("etcd runs");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it is killed");
    until("the store answers again", || {
        core.kato(&["config", "get", "fence", "docker/image"]).status.success()
            && core
                .kato(&["config", "set", "fence", "max_containers", "9"])
                .status
                .success()
    });
}
