//! The config store's users follow the records whatever state either is in, and who was put out is cut off in the end.

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
    let is_there = |name: &str| {
        let users = runtime.block_on(root(&core).admin().users()).ok();
        users.map(|users| users.iter().any(|user| user.starts_with(&format!("admin-{name}-"))))
    };
    until("who was revoked is out", || is_there("bob") == Some(false));
    until("the store answers again", || get(&alice).is_ok());
    assert_eq!(is_there("alice"), Some(true));
}

#[test]
fn a_user_that_was_half_made_is_made_whole() {
    let core = Node::core();
    let node = Node::attached("edge", &core);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (store, role) = (node.store(&core), format!("node-{}", node.file().id));
    runtime.block_on(async {
        store.get("node/endpoints").await.expect("the node is in");
        let admin = root(&core).admin();
        let users = admin.users().await.expect("users");
        let user = users.iter().find(|user| user.starts_with(&role)).expect("a user");
        admin.revoke_role(user, &role).await.expect("the role is taken away");
    });
    until("the node is in again", || {
        runtime.block_on(store.get("node/endpoints")).is_ok()
    });
}

#[test]
fn a_cut_that_broke_off_is_made_up_for() {
    let core = Node::core();
    let mark = core.paths().pki().join("cut-needed");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = root(&core);
        let mut watch = store.watch("nothing/", 0).await.expect("a watch");
        std::fs::write(&mark, "").expect("a mark");
        let ended = timeout(Duration::from_secs(60), watch.next()).await;
        assert!(ended.expect("what is open ends").is_err());
    });
    until("it is done", || !mark.exists());
}
