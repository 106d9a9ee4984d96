//! What each kind of certificate may do in the config store, a line each, through the gateway of a real core.

use cluster::identity::{Credential, Pki};
use cluster::store::etcd::{Credentials, Endpoints, EtcdStore};
use cluster::store::{Error, LeaseId, Page, Store, Txn};

use crate::harness::{Node, until};

async fn reads(store: &EtcdStore, prefix: &str) -> bool {
    allowed(store.range(prefix, Page::ALL).await.map(drop))
}

async fn writes(store: &EtcdStore, key: &str) -> bool {
    allowed(store.txn(Txn::new().put(key, "x")).await.map(drop))
}

#[track_caller]
fn allowed(done: cluster::store::Result<()>) -> bool {
    match done {
        Ok(()) => true,
        Err(Error::NotGranted { .. }) => false,
        Err(error) => panic!("neither done nor denied: {error:?}"),
    }
}

/// The lease of a node's sign of life, which every node may read.
async fn node_lease(store: &EtcdStore, id: uuid::Uuid) -> LeaseId {
    let key = cluster::nodes::report::alive_key(id);
    let alive = store.get(&key).await.expect("a sign of life").expect("it is there");
    alive.lease.expect("it has a lease")
}

pub fn administrator(file: &std::path::Path) -> EtcdStore {
    let credential = Credential::load(file).expect("a credential");
    let credentials = Credentials {
        ca: credential.ca.into(),
        certificate: credential.certificate.into(),
        key: credential.key.into(),
    };
    EtcdStore::new(Endpoints::Given(credential.endpoints), Some(credentials))
}

#[test]
fn each_may_do_what_it_needs_and_nothing_else() {
    let core = Node::core();
    let node = Node::attached("edge", &core);
    let (own, other) = (node.file().id, core.file().id);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = node.store(&core);
        for prefix in ["config/", "node/", "realm/", "state/", &format!("wanted/{own}/")] {
            assert!(reads(&store, prefix).await, "a node reads {prefix}");
        }
        let others = format!("wanted/{other}/");
        for prefix in ["secret/", "history/", "pairing/", "admin/", "", &others] {
            assert!(!reads(&store, prefix).await, "a node does not read {prefix:?}");
        }
        for key in ["alive", "report"] {
            let key = format!("state/{own}/{key}");
            assert!(writes(&store, &key).await, "a node writes {key}");
        }
        let record = format!("node/by-id/{own}");
        let (state, order) = (format!("state/{other}/report"), format!("wanted/{own}/fence"));
        let (note, more) = (format!("state/{own}/note"), format!("state/{own}/report2"));
        for key in [
            "config/cluster/fence/x",
            "secret/x",
            "admin/me",
            "pairing/token/x",
            "realm/x",
            &record,
            &state,
            &order,
            &note,
            &more,
        ] {
            assert!(!writes(&store, key).await, "a node does not write {key}");
        }
        let somewhere = ["https://127.0.0.1:1".to_owned()];
        assert!(
            store.admin().add_learner(&somewhere).await.is_err(),
            "a node makes no members"
        );
        assert!(store.admin().alarms().await.is_err(), "a node does not see alarms");
        assert!(store.compact(1).await.is_err(), "a node does not make others forget");
        let lease = node_lease(&core.store(&core), other).await;
        assert!(
            matches!(store.keep_alive(lease).await, Err(Error::NoLease { .. })),
            "a node has no other's lease"
        );
        store.revoke(lease).await.expect("there is none, to this node");
        assert!(
            core.store(&core).keep_alive(lease).await.is_ok(),
            "the lease is as it was"
        );

        let admin = administrator(&core.paths().credential_file());
        assert!(
            reads(&admin, "").await && writes(&admin, "secret/x").await,
            "an administrator may do all with keys"
        );
        assert!(
            admin.admin().add_learner(&somewhere).await.is_err(),
            "members are the core's matter"
        );
    });
}

#[test]
fn a_member_of_the_store_takes_no_orders_from_its_peers_certificate() {
    let core = Node::core();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let pki = Pki::new(core.paths().pki());
    let peer = core.store_as(&pki.peer_certificate(), &pki.node_key(), &pki.ca());
    assert!(
        runtime.block_on(peer.get("node/endpoints")).is_err(),
        "the members' CA opens no client's way"
    );
    let server = core.store_as(&pki.config_certificate(), &pki.node_key(), &pki.ca());
    assert!(
        runtime.block_on(server.get("node/endpoints")).is_err(),
        "a server is no user"
    );
}

#[test]
fn a_revoked_administrator_is_out_and_the_name_may_be_given_again() {
    let core = Node::core();
    core.done(&["admin", "create", "alice", "-o", "first.yml"]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let first = administrator(&core.root().join("first.yml"));
    assert!(runtime.block_on(reads(&first, "config/")));
    core.refused(3, &["admin", "create", "alice", "-o", "second.yml"]);
    core.done(&["admin", "revoke", "alice"]);
    until("the administrator is out", || {
        runtime.block_on(first.get("config/head")).is_err()
    });
    core.done(&["admin", "create", "alice", "-o", "second.yml"]);
    let second = administrator(&core.root().join("second.yml"));
    until("the new one is in", || {
        runtime.block_on(second.get("config/head")).is_ok()
    });
    assert!(
        runtime.block_on(first.get("config/head")).is_err(),
        "the old credential stays useless"
    );
}

#[test]
fn who_has_no_credential_is_told_where_to_get_one() {
    let core = Node::core();
    let node = Node::attached("edge", &core);
    assert_eq!(node.done(&["config", "get", "fence", "max_containers"]), "256");
    for words in [
        &["config", "set", "fence", "max_containers", "7"][..],
        &["config", "get", "--reveal"],
        &["config", "history"],
        &["config", "rollback", "1"],
        &["role", "add", "config"],
        &["realm", "create", "eu"],
        &["process", "restart", "-n", "core", "config"],
    ] {
        let said = node.refused(3, words);
        assert!(
            said.contains("it needs an administrator's credential") && said.contains("--credential FILE"),
            "{words:?}: {said}"
        );
    }
}
