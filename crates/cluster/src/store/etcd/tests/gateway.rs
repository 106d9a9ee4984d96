//! The gateway before a real etcd: who may do what, who is put out, and what is nobody's.

use etcd_client::{AlarmAction, AlarmType, Certificate, Client, ConnectOptions, Identity, TlsOptions, TxnOp};

use super::guarded::{Guarded, prefix};
use super::*;
use crate::identity::CONFIG_NAME;
use crate::store::conformance::bounded;
use crate::store::etcd::gateway::{Grant, Keys, Right, Rights};
use crate::store::etcd::{Credentials, Endpoints, EtcdStore, Pem};
use crate::store::{Error, Page};

fn of_a_node() -> Vec<Grant> {
    vec![prefix("open/", Right::Read), prefix("open/mine/", Right::ReadWrite)]
}

fn is_denied<T: std::fmt::Debug>(done: Result<T, Error>) -> bool {
    match done {
        Err(error @ Error::NotGranted { .. }) => !error.is_retryable(),
        other => panic!("{other:?}"),
    }
}

/// etcd's own client, which asks whatever it is told.
async fn raw(guarded: &Guarded, credentials: &Credentials) -> Client {
    let text = |pem: &Pem| match pem {
        Pem::Text(text) => text.clone(),
        Pem::File(_) => unreachable!(),
    };
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(text(&credentials.ca)))
        .identity(Identity::from_pem(
            text(&credentials.certificate),
            text(&credentials.key),
        ))
        .domain_name(CONFIG_NAME);
    let options = ConnectOptions::new().with_tls(tls);
    Client::connect([guarded.url()], Some(options)).await.unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(what: &str, asked: Result<T, etcd_client::Error>) {
    match asked {
        Err(etcd_client::Error::GRpcStatus(status)) => {
            assert_eq!(status.code(), tonic::Code::PermissionDenied, "{what}: {status:?}");
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn a_guest_does_what_is_granted_and_is_told_at_once_of_the_rest() {
    let guarded = Guarded::start().await;
    let all = guarded.administrator();
    let (mut guest, reader) = guarded.guest("reader", of_a_node());
    let after = put(&all, "open/a", "1").await;
    put(&all, "closed/a", "1").await;

    assert_eq!(number(&reader, "open/a").await.0, 1);
    put(&reader, "open/mine/a", "2").await;
    assert_eq!(
        values(&reader.watch("open/", after).await.unwrap().next().await.unwrap().events),
        ["2"]
    );
    assert!(is_denied(reader.txn(Txn::new().put("open/a", "2")).await));
    assert!(is_denied(reader.get("closed/a").await));
    assert!(is_denied(reader.range("", Page::ALL).await));
    assert!(is_denied(reader.watch("", after).await));
    assert!(is_denied(reader.compact(after).await));
    let (_, nobody) = guarded.guest("nobody", Vec::new());
    assert!(is_denied(nobody.get("open/a").await) && is_denied(nobody.watch("open/", after).await));
    // Who the members are is no secret.
    assert_eq!(reader.admin().members().await.unwrap().len(), 1);

    // What changes is in effect at once.
    guest.rights = Rights::Granted(vec![Grant {
        keys: Keys::One("open/mine/a".to_owned()),
        right: Right::Write,
    }]);
    guarded.let_in(&guest);
    bounded(async {
        while reader.get("open/a").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    put(&reader, "open/mine/a", "3").await;
    assert!(is_denied(reader.txn(Txn::new().put("open/mine/a/more", "1")).await));
}

#[tokio::test]
async fn what_is_the_cores_is_nobody_elses() {
    let guarded = Guarded::start().await;
    put(&guarded.administrator(), "closed/a", "1").await;
    let (mut node, of_node) = guarded.stranger("node", Duration::from_secs(600));
    node.rights = Rights::Granted(of_a_node());
    let (mut admin, of_admin) = guarded.stranger("admin", Duration::from_secs(600));
    admin.rights = Rights::Granted(vec![prefix("", Right::ReadWrite)]);
    guarded.let_in(&node);
    guarded.let_in(&admin);
    for credentials in [of_node, of_admin] {
        let mut client = raw(&guarded, &credentials).await;
        refused("add a user", client.user_add("me", "me", None).await);
        refused("list the users", client.user_list().await);
        refused("enable auth", client.auth_enable().await);
        refused("add a member", client.member_add(["http://127.0.0.1:1"], None).await);
        refused("remove a member", client.member_remove(1).await);
        let alarm = client.alarm(AlarmAction::Activate, AlarmType::Nospace, None);
        refused("raise an alarm", alarm.await);
        refused("defragment", client.defragment().await);
        refused("snapshot", client.snapshot().await.map(drop));
        refused("hash", client.hash_kv(0).await);
        refused("list the leases", client.leases().await);
        refused("move the leader", client.move_leader(1).await);
        refused("lock", client.lock("x", None).await);
        // What a member alone remembers is asked of all.
        let sort = etcd_client::GetOptions::new().with_serializable();
        assert!(
            client.get("open/a", Some(sort)).await.is_ok(),
            "reading alone is reading as all"
        );
        // A transaction inside one, which etcd itself would do for anybody.
        let inner = etcd_client::Txn::new().and_then([TxnOp::get("closed/a", None), TxnOp::put("closed/a", "2", None)]);
        let outer = etcd_client::Txn::new().and_then([TxnOp::txn(inner.clone())]);
        refused("a transaction inside one", client.txn(outer).await);
        let otherwise = etcd_client::Txn::new().or_else([TxnOp::txn(inner)]);
        refused("a transaction inside the other branch", client.txn(otherwise).await);
        assert!(client.status().await.is_ok() && client.member_list().await.is_ok());
    }
    assert_eq!(number(&guarded.administrator(), "closed/a").await.0, 1);
}

#[tokio::test]
async fn a_lease_is_its_owners_alone() {
    let guarded = Guarded::start().await;
    let (_, owner) = guarded.guest("owner", of_a_node());
    let (other_guest, credentials) = guarded.stranger("other", Duration::from_secs(600));
    let mut other_guest = other_guest;
    other_guest.rights = Rights::Granted(of_a_node());
    guarded.let_in(&other_guest);
    let lease = owner.grant(Duration::from_secs(60)).await.unwrap();
    owner
        .txn(Txn::new().put_leased("open/mine/alive", "1", lease))
        .await
        .unwrap();
    let other = guarded.store(credentials.clone());
    // The number can be read by all who may read the key, and is of no use to them.
    assert_eq!(other.get("open/mine/alive").await.unwrap().unwrap().lease, Some(lease));
    other.revoke(lease).await.unwrap();
    let none = |error: Error| matches!(error, Error::NoLease { .. });
    assert!(none(other.keep_alive(lease).await.unwrap_err()));
    let put = Txn::new().put_leased("open/mine/b", "1", lease);
    assert!(none(other.txn(put).await.unwrap_err()));
    assert_eq!(number(&owner, "open/mine/alive").await.0, 1, "it goes on");
    let mut client = raw(&guarded, &credentials).await;
    refused("ask of a lease", client.lease_time_to_live(lease.0, None).await);
    // A number that was chosen counts for nothing.
    let chosen = etcd_client::LeaseGrantOptions::new().with_id(lease.0);
    let granted = client.lease_grant(30, Some(chosen)).await.unwrap();
    assert_ne!(granted.id(), lease.0);
    assert!(client.lease_grant(1_000_000, None).await.is_err(), "a lease for years");
    owner.keep_alive(lease).await.unwrap();
    owner.revoke(lease).await.unwrap();
    assert_eq!(number(&owner, "open/mine/alive").await.0, 0);
}

#[tokio::test]
async fn who_is_put_out_is_cut_off_at_once_and_nobody_else() {
    let guarded = Guarded::start().await;
    let all = guarded.administrator();
    let after = put(&all, "open/a", "1").await;
    let (guest, out) = guarded.guest("out", of_a_node());
    let (_, stays) = guarded.guest("stays", of_a_node());
    let mut ends = out.watch("open/", after).await.unwrap();
    let mut goes_on = stays.watch("open/", after).await.unwrap();
    guarded.put_out(&guest);
    bounded(async { assert!(ends.next().await.is_err()) }).await;
    assert!(is_denied(out.get("open/a").await), "and told so");
    put(&all, "open/a", "2").await;
    assert_eq!(values(&goes_on.next().await.unwrap().events), ["2"]);
    // The same name with another key is somebody else.
    let (mut again, _) = guarded.stranger("out", Duration::from_secs(600));
    again.name = guest.name.clone();
    guarded.let_in(&again);
    assert!(out.get("open/a").await.is_err());
    guarded.let_in(&guest);
    bounded(async {
        while out.get("open/a").await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_lasts_no_longer_than_its_certificate() {
    let guarded = Guarded::start().await;
    let (mut guest, credentials) = guarded.stranger("short", Duration::from_secs(3));
    guest.rights = Rights::Granted(of_a_node());
    guarded.let_in(&guest);
    let store = guarded.store(credentials);
    let mut watch = watch(&store, "open/", 0).await;
    bounded(async { assert!(watch.next().await.is_err()) }).await;
    assert!(store.get("open/a").await.is_err());
}

#[tokio::test]
async fn one_guest_has_so_much_of_everything_and_leaves_the_rest_to_the_others() {
    let guarded = Guarded::start().await;
    let (_, greedy) = guarded.guest("greedy", of_a_node());
    let (_, modest) = guarded.guest("modest", of_a_node());
    // Values that no node has.
    let large = greedy.txn(Txn::new().put("open/mine/a", vec![0; 64 * 1024])).await;
    assert!(matches!(large, Err(Error::Refused { .. })), "{large:?}");
    // Watches without end.
    let mut open = Vec::new();
    let refused = loop {
        match greedy.watch("open/", 0).await {
            Ok(watch) => open.push(watch),
            Err(error) => break error,
        }
        assert!(open.len() <= 64, "too many watches");
    };
    assert!(refused.is_retryable(), "{refused:?}");
    assert!(modest.watch("open/", 0).await.is_ok(), "others have theirs");
    drop(open);
    bounded(async {
        while greedy.watch("open/", 0).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    // Writing without pause: each KiB counts.
    let (mut busy, credentials) = guarded.stranger("busy", Duration::from_secs(600));
    busy.rights = Rights::Granted(of_a_node());
    guarded.let_in(&busy);
    let mut client = raw(&guarded, &credentials).await;
    let refused = bounded(async {
        loop {
            if let Err(error) = client.put("open/mine/a", vec![0; 30 * 1024], None).await {
                break error;
            }
        }
    })
    .await;
    assert!(refused.to_string().contains("too many requests"), "{refused}");
    put(&modest, "open/mine/b", "1").await;
}

#[tokio::test]
async fn nobody_is_believed_whom_the_ca_did_not_sign() {
    let (guarded, foreign) = (Guarded::start().await, Guarded::start().await);
    let (guest, credentials) = foreign.stranger("friend", Duration::from_secs(600));
    guarded.let_in(&guest);
    // A store of another CA.
    let error = guarded.store(credentials.clone()).get("a").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    // Somebody of another CA, who believes this one.
    let mut mixed = credentials;
    mixed.ca = Pem::Text(guarded.ca.pem().to_owned());
    let error = guarded.store(mixed).get("a").await.unwrap_err();
    assert!(!matches!(error, Error::Failed { .. }), "{error:?}");
    // Nothing of ours goes over a connection without TLS.
    let (_, own) = guarded.stranger("own", Duration::from_secs(600));
    let plain = guarded.url().replace("https", "http");
    let error = EtcdStore::new(Endpoints::Given(vec![plain]), Some(own))
        .get("a")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_being_told() {
    let guarded = Guarded::start().await;
    put(&guarded.administrator(), "open/a", "1").await;
    let path = |name: &str| guarded.etcd.path(name);
    let write = |credentials: &Credentials| {
        for (name, pem) in [
            ("ca", &credentials.ca),
            ("crt", &credentials.certificate),
            ("key", &credentials.key),
        ] {
            let Pem::Text(text) = pem else { unreachable!() };
            std::fs::write(path(&format!("own.{name}")), text).unwrap();
        }
    };
    let own = Credentials {
        ca: path("own.ca").into(),
        certificate: path("own.crt").into(),
        key: path("own.key").into(),
    };
    let store = EtcdStore::new(Endpoints::Given(vec![guarded.url()]), Some(own));
    assert!(store.get("open/a").await.unwrap_err().is_missing());
    let (nobody, credentials) = guarded.stranger("nobody", Duration::from_secs(600));
    guarded.let_in(&nobody);
    write(&credentials);
    assert!(is_denied(store.get("open/a").await));
    let (mut reader, credentials) = guarded.stranger("reader", Duration::from_secs(600));
    reader.rights = Rights::Granted(of_a_node());
    guarded.let_in(&reader);
    write(&credentials);
    assert_eq!(number(&store, "open/a").await.0, 1);
}

#[tokio::test]
async fn an_etcd_that_is_gone_is_told_and_found_again() {
    let mut guarded = Guarded::start().await;
    let store = guarded.administrator();
    put(&store, "a", "1").await;
    let mut watch = store.watch("a", 0).await.unwrap();
    guarded.etcd.kill();
    bounded(async { while watch.next().await.is_ok() {} }).await;
    let error = store.get("a").await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    guarded.etcd.run();
    guarded.etcd.ready().await;
    assert_eq!(number(&store, "a").await.0, 1);
}
