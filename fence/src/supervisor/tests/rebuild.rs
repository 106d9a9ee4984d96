//! Inventories that are damaged, missing or behind: no container is lost by it, and what is lost of one is told.

use std::path::{Path, PathBuf};

use super::recovery::{compared_until, problems};
use super::*;
use crate::container::ContainerInfo;

impl Node {
    fn inventory(&self) -> PathBuf {
        self.dir.path().join("inventory.db")
    }

    /// The fence is killed, and this is done to its files before the next one starts.
    async fn harmed(&self, harm: impl FnOnce(&Path)) -> Supervisor {
        for entry in self.supervisor.entries() {
            entry.link.close();
        }
        harm(&self.inventory());
        self.restarted().await
    }

    fn put_aside(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap().flatten();
        let aside = entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name.contains(".corrupt-") || name.contains(".missing-"))
                && !name.ends_with("-wal")
                && !name.ends_with("-shm")
        });
        aside.collect()
    }
}

fn remove_inventory(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

fn remove_copies(path: &Path) {
    std::fs::remove_dir_all(path.with_file_name("containers")).unwrap();
}

/// A container with something of everything.
async fn made(node: &Node, handle: &str) -> ContainerInfo {
    let spec = ContainerSpec {
        ports: vec![PortMapping {
            host_port: 0,
            container_port: 80,
        }],
        properties: Properties::from([("a".to_owned(), "b".to_owned())]),
        env: vec!["A=B".to_owned()],
        grace_time_ns: Some(3_600_000_000_000),
        ..named(handle)
    };
    node.supervisor.create(spec).await.unwrap()
}

fn lasting(mut info: ContainerInfo) -> String {
    info.processes.clear();
    serde_json::to_string(&info).unwrap()
}

#[tokio::test]
async fn a_damaged_inventory_costs_nothing_while_the_copies_are_there() {
    let node = Node::new();
    node.supervisor.reconcile().await.unwrap();
    let info = made(&node, "web_1").await;
    let next = node
        .harmed(|path| {
            remove_inventory(path);
            std::fs::write(path, "garbage".repeat(2000)).unwrap();
        })
        .await;
    assert_eq!(lasting(next.info(&info.handle).await.unwrap()), lasting(info.clone()));
    for _ in 0..3 {
        next.reconcile().await.unwrap();
    }
    assert_eq!(node.engine_has().await, 1);
    assert_eq!(lasting(next.info(&info.handle).await.unwrap()), lasting(info.clone()));
    assert_eq!(node.firewall.forwards().len(), 1);
    let aside = node.put_aside();
    assert_eq!(aside.len(), 1);
    let told = problems(&next).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].why.contains("1 containers are as they were, 0 are known"),
        "{told:?}"
    );
    assert!(told[0].why.contains(&aside[0].display().to_string()), "{told:?}");
    std::fs::remove_file(&aside[0]).unwrap();
    assert_eq!(problems(&next).await, [], "it was seen");
    next.destroy(&info.handle).await.unwrap();
}

#[tokio::test]
async fn containers_of_a_lost_inventory_are_never_taken_for_strays() {
    let node = Node::new();
    node.supervisor.reconcile().await.unwrap();
    let kept = made(&node, "kept").await;
    let odd = made(&node, "odd_name").await;
    let next = node
        .harmed(|path| {
            remove_inventory(path);
            remove_copies(path);
        })
        .await;
    // Before the engine was asked there is nothing to be known of them, and nothing is done.
    assert!(next.infos().await.is_empty());
    node.engine.fail_at(Step::List, 1);
    next.reconcile().await.unwrap_err();
    node.engine.fail_at(Step::Inspect, 1);
    next.reconcile().await.unwrap();
    assert!(
        problems(&next)
            .await
            .iter()
            .any(|problem| problem.what.contains("left alone"))
    );
    compared_until(&next, "both are there", async || next.infos().await.len() == 2).await;
    for _ in 0..20 {
        next.reconcile().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((node.engine_has().await, node.directories()), (2, 2));
    let found = next.info(&kept.handle).await.unwrap();
    assert_eq!(
        (found.engine_id, found.image_id, found.image, found.limits, found.state),
        (kept.engine_id, kept.image_id, kept.image, kept.limits, State::Active)
    );
    assert!(found.events[0].contains("its record was lost"), "{:?}", found.events);
    let renamed = next.info(&"odd-name".parse().unwrap()).await.unwrap();
    assert_eq!(renamed.instance, odd.instance);
    let told = problems(&next).await;
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].why.starts_with("there was none; 0 containers"), "{told:?}");
    // It can be used and destroyed as any other, and told no more.
    until("its init is back", async || {
        next.run(&kept.handle, process("true", &[])).await.is_ok()
    })
    .await;
    next.destroy(&kept.handle).await.unwrap();
    assert_eq!(problems(&next).await.len(), 2);
    std::fs::remove_file(&node.put_aside()[0]).unwrap();
    next.reconcile().await.unwrap();
    assert_eq!(problems(&next).await, []);
    // From now on a stray is one again.
    node.stray(&uuid::Uuid::now_v7().to_string(), "id-of-n1").await;
    next.reconcile().await.unwrap();
    compared_until(&next, "it is gone", async || node.engine_has().await == 1).await;
}

#[tokio::test]
async fn a_handle_that_was_given_again_is_told_apart() {
    let node = Node::new();
    let old = made(&node, "web").await;
    let next = node
        .harmed(|path| {
            remove_inventory(path);
            remove_copies(path);
        })
        .await;
    let new = next.create(named("web")).await.unwrap();
    next.reconcile().await.unwrap();
    assert_eq!(next.info(&new.handle).await.unwrap().instance, new.instance);
    let all = next.infos().await;
    let found = all.iter().find(|info| info.instance == old.instance).unwrap();
    assert!(found.handle.as_str().starts_with("web-"), "{}", found.handle);
}

#[tokio::test]
async fn whether_main_runs_is_init_s_to_tell() {
    let node = Node::new();
    let info = made(&node, "web").await;
    made(&node, "idle").await;
    node.supervisor.start(&info.handle, vec!["sleep".into()]).await.unwrap();
    let next = node
        .harmed(|path| {
            remove_inventory(path);
            remove_copies(path);
        })
        .await;
    next.reconcile().await.unwrap();
    until("it is known", async || {
        let recorded = next.parts().inventory.all().await.unwrap();
        let started = |handle: &str| recorded.iter().any(|r| r.handle.as_str() == handle && r.started);
        started("web") && !started("idle")
    })
    .await;
    assert!(next.info(&info.handle).await.unwrap().started);
}

#[tokio::test]
async fn an_inventory_that_is_behind_takes_nothing_from_anyone() {
    let node = Node::new();
    node.supervisor.reconcile().await.unwrap();
    let early = made(&node, "early").await;
    let saved = node.dir.path().join("saved");
    let inventory = node.supervisor.parts().inventory.clone();
    inventory.save_to(&saved).await;
    let late = made(&node, "late").await;
    node.supervisor
        .set_property(&early.handle, "c", "d".into())
        .await
        .unwrap();
    // An old one was put back, or its log was unreadable.
    let next = node
        .harmed(|path| {
            remove_inventory(path);
            std::fs::copy(&saved, path).unwrap();
        })
        .await;
    assert_eq!(next.info(&early.handle).await.unwrap().properties.len(), 2);
    for _ in 0..10 {
        next.reconcile().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(lasting(next.info(&late.handle).await.unwrap()), lasting(late));
    assert_eq!(node.engine_has().await, 2);
}

#[tokio::test]
async fn a_damage_that_is_found_while_fence_runs_is_mended_at_once() {
    let node = Node::new();
    node.supervisor.reconcile().await.unwrap();
    let info = made(&node, "web").await;
    node.supervisor.parts().inventory.damage().await;
    let other = made(&node, "other").await;
    assert_eq!(node.put_aside().len(), 1);
    let next = node.restarted().await;
    next.reconcile().await.unwrap();
    assert_eq!(next.list(&Properties::default()), [other.handle, info.handle]);
    assert_eq!(node.engine_has().await, 2);
}
