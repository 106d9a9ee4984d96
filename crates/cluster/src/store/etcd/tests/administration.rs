//! Members that come and go, and snapshots that can be restored.

use std::process::Command;

use super::*;
use crate::store::conformance::bounded;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_joins_learns_votes_and_leaves() {
    let first = Server::start().await;
    let (store, admin) = (first.store(), first.store().admin());
    put(&store, "a", "1").await;
    let mut second = Server::joining(&first);
    let added = admin.add_learner(&[second.peer_url()]).await.unwrap();
    assert!(added.is_learner);
    assert_eq!(admin.add_learner(&[second.peer_url()]).await.unwrap().id, added.id);
    assert!(
        admin.promote(added.id).await.unwrap_err().is_retryable(),
        "it is not even running"
    );
    bounded(async {
        second.run();
        while let Err(error) = admin.promote(added.id).await {
            assert!(error.is_retryable(), "{error:?}");
            sleep(Duration::from_millis(100)).await;
        }
        admin.promote(added.id).await.unwrap();
        second.ready().await;
        assert_eq!(number(&second.store(), "a").await.0, 1);
        let members = admin.members().await.unwrap();
        assert_eq!(members.len(), 2);
        assert!(members.iter().all(|member| !member.is_learner));

        // etcd wants a quiet moment between changes of its members.
        while let Err(error) = admin.remove_member(added.id).await {
            assert!(error.is_retryable(), "{error:?}");
            sleep(Duration::from_millis(100)).await;
        }
        admin.remove_member(added.id).await.unwrap();
        assert_eq!(admin.members().await.unwrap().len(), 1);
        put(&store, "a", "2").await;
    })
    .await;
}

#[tokio::test]
async fn a_learner_is_passed_over() {
    let first = Server::start().await;
    let mut second = Server::joining(&first);
    first.store().admin().add_learner(&[second.peer_url()]).await.unwrap();
    second.run();
    let both = vec![second.url(), first.url()];
    let store = crate::store::etcd::EtcdStore::new(crate::store::etcd::Endpoints::Given(both), None);
    put(&store, "a", "1").await;
    assert_eq!(number(&store, "a").await.0, 1);
}

#[tokio::test]
async fn a_snapshot_can_be_restored() {
    let server = Server::start().await;
    put(&server.store(), "a", "1").await;
    let path = server.path("snapshot");
    let size = server.store().admin().snapshot(&path).await.unwrap();
    assert_eq!(path.metadata().unwrap().len(), size);
    let restored = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "restore", "--data-dir"])
        .arg(server.path("restored"))
        .arg(&path)
        .output()
        .expect("etcdctl runs (Debian: etcd-client)");
    assert!(
        restored.status.success(),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
}
