//! Leases: keys that go when nobody keeps them.

use std::time::Duration;

use super::{Home, done, keys, next, one, put};
use crate::store::{Error, LeaseId, Page, Txn};

pub async fn a_lease_takes_its_keys_with_it(home: &impl Home) {
    let (store, other) = (home.client().await, home.client().await);
    let lease = store.grant(Duration::from_secs(1)).await.unwrap();
    let after = done(&store, Txn::new().put_leased("a", "1", lease).put("b", "1")).await;
    assert_eq!(other.get("a").await.unwrap().unwrap().lease, Some(lease));
    let mut watch = other.watch("", after).await.unwrap();
    let (revision, changes) = next(&mut watch).await;
    assert_eq!(changes, one("a", "(gone)"));
    assert_eq!(keys(&store, "", Page::ALL).await, ["b"]);
    assert!(store.range("", Page::ALL).await.unwrap().revision >= revision);
    assert!(matches!(store.keep_alive(lease).await, Err(Error::NoLease { .. })));
    let late = Txn::new().put_leased("a", "2", lease);
    assert!(matches!(store.txn(late).await, Err(Error::NoLease { .. })));
}

pub async fn a_lease_that_is_kept_alive_stays(home: &impl Home) {
    let store = home.client().await;
    let (kept, left) = (Duration::from_secs(2), Duration::from_secs(3));
    let (kept, left) = (store.grant(kept).await.unwrap(), store.grant(left).await.unwrap());
    done(
        &store,
        Txn::new().put_leased("kept", "1", kept).put_leased("left", "1", left),
    )
    .await;
    // The one that is left alone has the longer time, so it shows that the other one's was over.
    while store.get("left").await.unwrap().is_some() {
        store.keep_alive(kept).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(store.get("kept").await.unwrap().is_some());
}

pub async fn a_revoked_lease_is_gone(home: &impl Home) {
    let store = home.client().await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let after = done(&store, Txn::new().put_leased("a", "1", lease)).await;
    let mut watch = store.watch("a", after).await.unwrap();
    store.revoke(lease).await.unwrap();
    assert_eq!(next(&mut watch).await.1, one("a", "(gone)"));
    assert_eq!(store.get("a").await.unwrap(), None);
    store.revoke(lease).await.unwrap();
    assert!(matches!(
        store.keep_alive(LeaseId(4711)).await,
        Err(Error::NoLease { .. })
    ));
}

pub async fn a_key_without_its_lease_stays(home: &impl Home) {
    let store = home.client().await;
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    done(
        &store,
        Txn::new().put_leased("a", "1", lease).put_leased("b", "1", lease),
    )
    .await;
    put(&store, "a", "2").await;
    store.revoke(lease).await.unwrap();
    assert_eq!(keys(&store, "", Page::ALL).await, ["a"]);
}
