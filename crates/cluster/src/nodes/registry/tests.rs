//! What the records promise, in memory and on SQLite.

use serde_json::json;

use super::*;
use crate::nodes::report::report_key;
use crate::nodes::{DockerSettings, NodeFile, default_realm};
use crate::process::{OrderAction, Process, give};
use crate::realms::Realms;
use crate::store::memory::MemoryStore;
use crate::store::sqlite::SqliteStore;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn record(id: u128, called: &str) -> Record {
    let mut node = NodeFile::micro(&name(called), DockerSettings::default());
    node.id = Uuid::from_u128(id);
    Record::of_node(&node, "admin")
}

/// Both homes, the second with its directory.
async fn homes() -> (Vec<Arc<dyn Store>>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::create(&directory.path().join("tree.db")).await.unwrap();
    (vec![Arc::new(MemoryStore::new()), Arc::new(sqlite)], directory)
}

async fn realm_of(store: &Arc<dyn Store>, node: &str) -> Option<serde_json::Value> {
    let entry = store.get(&config::member_key(&name(node))).await.unwrap()?;
    Some(serde_json::from_slice(&entry.value).unwrap())
}

#[tokio::test]
async fn a_node_is_found_by_what_it_is_called() {
    let mut one = record(0xa1b2_0000_0000_0000_0000_0000_0000_0001, "one");
    one.addresses = vec!["10.0.0.1".parse().unwrap()];
    let two = record(0xa1b2_ffff_0000_0000_0000_0000_0000_0002, "a1b2");
    let three = record(0xc000_0000_0000_0000_0000_0000_0000_0003, "10.0.0.1");
    let nodes = [one.clone(), two.clone(), three.clone()];
    let found = |word: &str| find_among(&nodes, word).map(|node| node.name.to_string());
    assert_eq!(found("one").unwrap(), "one");
    assert_eq!(found(&one.id.to_string()).unwrap(), "one");
    assert_eq!(found("A1B20000").unwrap(), "one");
    // A name goes before an address and before the beginning of an id.
    assert_eq!(found("a1b2").unwrap(), "a1b2");
    assert_eq!(found("10.0.0.1").unwrap(), "10.0.0.1");
    assert!(matches!(found("c00"), Err(Error::NoNode { .. })));
    let Err(Error::NoNode { near: Some(near), .. }) = found("onne") else {
        panic!("no name is near")
    };
    assert_eq!(near.as_str(), "one");
    let nodes = [one, record(0xa1b2_0000_0000_0000_0000_0000_0000_0009, "nine")];
    assert!(matches!(find_among(&nodes, "a1b20"), Err(Error::Ambiguous { nodes, .. }) if nodes.len() == 2));
}

#[tokio::test]
async fn names_and_ids_stay_unique_whoever_asks_at_once() {
    let (homes, _directory) = homes().await;
    for store in homes {
        let nodes = Nodes::new(Arc::clone(&store));
        let (one, other) = (record(1, "one"), record(2, "one"));
        let (first, second) = tokio::join!(nodes.add(&one), nodes.add(&other));
        let refused = [first, second].into_iter().find_map(Result::err).unwrap();
        assert!(matches!(refused, Error::NameTaken { .. }), "{refused}");
        let there = nodes.list().await.unwrap().remove(0);
        let same = Record {
            name: name("two"),
            ..there.clone()
        };
        assert!(matches!(nodes.add(&same).await, Err(Error::IdTaken { .. })));
        // Who is there already is not in its own way by its name.
        assert!(matches!(nodes.add(&there).await, Err(Error::IdTaken { .. })));
        nodes.add(&record(3, "three")).await.unwrap();
        let rename = nodes.change(Uuid::from_u128(3), |node| {
            node.name = name("one");
            Ok(())
        });
        assert!(matches!(rename.await, Err(Error::NameTaken { id, .. }) if id == there.id));
        let names: Vec<String> = nodes
            .list()
            .await
            .unwrap()
            .iter()
            .map(|node| node.name.to_string())
            .collect();
        assert_eq!(names, ["one", "three"]);
    }
}

#[tokio::test]
async fn a_new_name_takes_the_realm_along_and_frees_the_old_one() {
    let (homes, _directory) = homes().await;
    for store in homes {
        let nodes = Nodes::new(Arc::clone(&store));
        nodes.add(&record(1, "one")).await.unwrap();
        assert_eq!(realm_of(&store, "one").await, Some(json!("default")));
        let renamed = nodes.change(Uuid::from_u128(1), |node| {
            node.name = name("uno");
            Ok(())
        });
        assert_eq!(renamed.await.unwrap().name, name("uno"));
        assert_eq!(realm_of(&store, "one").await, None);
        assert_eq!(realm_of(&store, "uno").await, Some(json!("default")));
        nodes.add(&record(2, "one")).await.unwrap();
        assert_eq!(nodes.find("uno").await.unwrap().id, Uuid::from_u128(1));
    }
}

#[tokio::test]
async fn changes_at_once_are_all_made() {
    let (homes, _directory) = homes().await;
    for store in homes {
        let nodes = Nodes::new(store);
        nodes.add(&record(1, "one")).await.unwrap();
        let change = |zone: &'static str, address: &'static str| {
            nodes.change(Uuid::from_u128(1), move |node| {
                node.zone = name(zone);
                node.addresses.push(address.parse().unwrap());
                Ok(())
            })
        };
        let (a, b, c) = tokio::join!(
            change("a", "10.0.0.1"),
            change("b", "10.0.0.2"),
            change("c", "10.0.0.3")
        );
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert_eq!(nodes.get(Uuid::from_u128(1)).await.unwrap().unwrap().addresses.len(), 3);
        let refused = nodes.change(Uuid::from_u128(1), |_| {
            Err(Error::Refused {
                reason: "not today".into(),
            })
        });
        assert!(matches!(refused.await, Err(Error::Refused { .. })));
    }
}

#[tokio::test]
async fn what_is_done_together_with_a_node_is_done_or_not_with_it() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let nodes = Nodes::new(Arc::clone(&store));
    let also = Txn::new().put("pairing/pending/x", "1");
    nodes.add_with(&record(1, "one"), &also).await.unwrap();
    assert!(store.get("pairing/pending/x").await.unwrap().is_some());
    let stale = Txn::new().when("pairing/token/y", 7).put("pairing/token/y", "1");
    let refused = nodes.add_with(&record(2, "two"), &stale).await;
    assert!(matches!(refused, Err(Error::Contended { .. })));
    assert!(nodes.get(Uuid::from_u128(2)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_removed_node_leaves_no_state_and_no_order() {
    let (homes, _directory) = homes().await;
    for store in homes {
        let nodes = Nodes::new(Arc::clone(&store));
        let id = Uuid::from_u128(1);
        nodes.add(&record(1, "one")).await.unwrap();
        give(
            store.as_ref(),
            id,
            Process::Fence,
            OrderAction::Stop,
            Duration::from_secs(1),
            "admin",
        )
        .await
        .unwrap();
        store.txn(Txn::new().put(report_key(id), "{}")).await.unwrap();
        for part in 0..2 {
            let notes = (0..100).fold(Txn::new(), |txn, note| {
                txn.put(format!("{}{part}-{note}", state_prefix(id)), "x")
            });
            store.txn(notes).await.unwrap();
        }
        assert_eq!(nodes.remove(id).await.unwrap().name, name("one"));
        let left: Vec<String> = store
            .range("", Page::ALL)
            .await
            .unwrap()
            .entries
            .into_iter()
            .map(|entry| entry.key)
            .collect();
        assert_eq!(left, ["realm/default"]);
        assert!(matches!(nodes.remove(id).await, Err(Error::NoNode { .. })));
    }
}

#[tokio::test]
async fn a_realm_with_nodes_is_not_deleted_and_no_node_comes_into_one_that_is_gone() {
    let (homes, _directory) = homes().await;
    for store in homes {
        let (nodes, realms) = (Nodes::new(Arc::clone(&store)), Realms::new(Arc::clone(&store)));
        let into = |realm: &'static str| {
            nodes.change(Uuid::from_u128(1), move |node| {
                node.realm = name(realm);
                Ok(())
            })
        };
        nodes.add(&record(1, "one")).await.unwrap();
        assert!(matches!(into("eu").await, Err(Error::NoRealm { .. })));
        realms.create(&name("eu"), "alice", "admin").await.unwrap();
        let again = realms.create(&name("eu"), "bob", "admin").await;
        assert!(matches!(again, Err(Error::RealmTaken { .. })));
        into("eu").await.unwrap();
        assert_eq!(realm_of(&store, "one").await, Some(json!("eu")));
        let (realm, members) = realms.show(&name("eu")).await.unwrap();
        assert_eq!((realm.owner.as_str(), members.len()), ("alice", 1));
        let Err(Error::RealmInUse { nodes: in_the_way, .. }) = realms.delete(&name("eu")).await else {
            panic!("a realm with a node was deleted")
        };
        assert_eq!(in_the_way, [name("one")]);
        into("default").await.unwrap();
        // Either the node is there first or the realm is gone first; never both.
        let (came, deleted) = tokio::join!(into("eu"), async { realms.delete(&name("eu")).await });
        assert_ne!(came.is_ok(), deleted.is_ok(), "{came:?}, {deleted:?}");
        assert!(matches!(
            realms.delete(&default_realm()).await,
            Err(Error::RealmNeeded { .. })
        ));
        let Err(Error::NoRealm { near, .. }) = realms.delete(&name("defaul")).await else {
            panic!("there is no such realm")
        };
        assert_eq!(near, Some(default_realm()));
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_does_not_hide_the_others() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let nodes = Nodes::new(Arc::clone(&store));
    nodes.add(&record(1, "one")).await.unwrap();
    store
        .txn(Txn::new().put(by_id_key(Uuid::from_u128(2)), "{"))
        .await
        .unwrap();
    assert_eq!(nodes.list().await.unwrap().len(), 1);
    let broken = nodes.get(Uuid::from_u128(2)).await;
    assert!(matches!(broken, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn a_key_leads_to_one_node_and_is_free_when_that_is_gone() {
    let (homes, _directory) = homes().await;
    for store in homes {
        let nodes = Nodes::new(Arc::clone(&store));
        let with_key = |id, called| Record {
            fingerprint: "00ff".to_owned(),
            ..record(id, called)
        };
        let (one, two) = (with_key(1, "one"), with_key(2, "two"));
        let (first, second) = tokio::join!(nodes.add(&one), nodes.add(&two));
        assert_ne!(first.is_ok(), second.is_ok(), "{first:?}, {second:?}");
        let there = nodes.with_fingerprint("00ff").await.unwrap().unwrap();
        nodes.add(&record(3, "three")).await.unwrap();
        let take = nodes.change(Uuid::from_u128(3), |node| {
            node.fingerprint = "00ff".to_owned();
            Ok(())
        });
        assert!(matches!(take.await, Err(Error::Refused { .. })));
        nodes.remove(there.id).await.unwrap();
        assert_eq!(nodes.with_fingerprint("00ff").await.unwrap(), None);
        nodes.add(&two).await.unwrap();
    }
}

#[tokio::test]
async fn no_name_is_an_id_or_an_address_and_what_is_for_good_goes_by_no_address() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let nodes = Nodes::new(store);
    let mut one = record(1, "one");
    one.addresses = vec!["10.0.0.1".parse().unwrap()];
    nodes.add(&one).await.unwrap();
    for taken in [one.id.to_string(), "10.0.0.1".to_owned()] {
        let refused = nodes.add(&record(2, &taken)).await;
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
        let rename = nodes.change(one.id, |node| {
            node.name = name(&taken);
            Ok(())
        });
        assert!(matches!(rename.await, Err(Error::Refused { .. })));
    }
    assert_eq!(nodes.find("10.0.0.1").await.unwrap(), one);
    assert!(matches!(nodes.find_surely("10.0.0.1").await, Err(Error::NoNode { .. })));
    assert_eq!(nodes.find_surely(&one.id.to_string()).await.unwrap(), one);
}
