//! Who may do what: users by certificate, roles by prefix, and certificates that change while a program runs.

use super::*;
use crate::store::etcd::admin::{Grant, Keys, Right};
use crate::store::etcd::{Credentials, Endpoints, EtcdStore};
use crate::store::{Error, Page};

/// An etcd with access control, where `reader` may read `open/` and write `open/mine/`.
async fn guarded() -> Server {
    let server = Server::start_tls().await;
    let admin = server.store().admin();
    // Twice, for all of it can be repeated.
    for _ in 0..2 {
        for user in ["root", "reader", "stranger"] {
            admin.add_user(user).await.unwrap();
        }
        admin.add_role("root").await.unwrap();
        admin.grant_role("root", "root").await.unwrap();
        admin.add_role("reading").await.unwrap();
        for (prefix, right) in [("open/", Right::Read), ("open/mine/", Right::ReadWrite)] {
            let keys = Keys::Prefix(prefix.to_owned());
            admin.grant("reading", &Grant { keys, right }).await.unwrap();
        }
        admin.grant_role("reader", "reading").await.unwrap();
        admin.enable_auth().await.unwrap();
    }
    server
}

fn is_denied<T: std::fmt::Debug>(done: Result<T, Error>) -> bool {
    match done {
        Err(error @ Error::NotGranted { .. }) => !error.is_retryable(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_user_does_what_its_roles_allow_and_is_told_at_once_of_the_rest() {
    let server = guarded().await;
    let (root, reader, stranger) = (server.store(), server.store_as("reader"), server.store_as("stranger"));
    let after = put(&root, "open/a", "1").await;
    put(&root, "closed/a", "1").await;

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
    for nobody in [&stranger, &server.store_as("not a user at all")] {
        assert!(is_denied(nobody.get("open/a").await));
        assert!(is_denied(nobody.watch("open/", after).await));
    }
    assert!(is_denied(reader.admin().add_user("mine").await));
    let nowhere = ["http://127.0.0.1:1".to_owned()];
    assert!(is_denied(reader.admin().add_learner(&nowhere).await));
    assert!(is_denied(reader.admin().remove_member(1).await));
    // Who the members are is no secret to etcd 3.4.
    assert_eq!(reader.admin().members().await.unwrap().len(), 1);
    assert!(is_denied(reader.admin().snapshot(&server.path("snapshot")).await));

    // Rights change while connections are open.
    let admin = root.admin();
    admin
        .revoke("reading", &Keys::Prefix("open/".to_owned()))
        .await
        .unwrap();
    assert!(is_denied(reader.get("open/a").await));
    admin.delete_user("reader").await.unwrap();
    assert!(is_denied(reader.get("open/mine/a").await));
}

#[tokio::test]
async fn a_right_to_one_key_is_for_no_other_that_starts_with_it() {
    let server = guarded().await;
    let (admin, reader) = (server.store().admin(), server.store_as("reader"));
    let one = Grant {
        keys: Keys::One("open/one".to_owned()),
        right: Right::Write,
    };
    admin.grant("reading", &one).await.unwrap();
    assert!(admin.grants("reading").await.unwrap().unwrap().contains(&one));
    put(&reader, "open/one", "1").await;
    assert_eq!(number(&reader, "open/one").await.0, 1);
    assert!(is_denied(reader.txn(Txn::new().put("open/one/more", "1")).await));
    reader.txn(Txn::new().delete("open/one")).await.unwrap();
    for _ in 0..2 {
        admin.revoke("reading", &one.keys).await.unwrap();
    }
    assert!(is_denied(reader.txn(Txn::new().put("open/one", "2")).await));
}

#[tokio::test]
async fn users_and_roles_are_read_as_they_were_made() {
    let server = guarded().await;
    let admin = server.store().admin();
    assert_eq!(admin.users().await.unwrap(), ["reader", "root", "stranger"]);
    assert_eq!(admin.roles().await.unwrap(), ["reading", "root"]);
    assert_eq!(
        admin.user_roles("reader").await.unwrap(),
        Some(vec!["reading".to_owned()])
    );
    assert_eq!(admin.user_roles("nobody").await.unwrap(), None);
    let everything = Grant {
        keys: Keys::Prefix(String::new()),
        right: Right::ReadWrite,
    };
    admin.grant("reading", &everything).await.unwrap();
    let grants = admin.grants("reading").await.unwrap().unwrap();
    assert_eq!(grants.len(), 3);
    assert!(grants.contains(&everything));
    admin.revoke("reading", &everything.keys).await.unwrap();
    admin.revoke("reading", &everything.keys).await.unwrap();
    assert_eq!(admin.grants("reading").await.unwrap().unwrap().len(), 2);
    for _ in 0..2 {
        admin.revoke_role("reader", "reading").await.unwrap();
        admin.delete_role("reading").await.unwrap();
        admin.delete_user("stranger").await.unwrap();
    }
    assert_eq!(admin.grants("reading").await.unwrap(), None);
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_being_told() {
    let server = guarded().await;
    put(&server.store(), "open/a", "1").await;
    let path = |name: &str| server.path(name);
    let write = |credentials: &Credentials| {
        for (name, pem) in [
            ("ca", &credentials.ca),
            ("crt", &credentials.certificate),
            ("key", &credentials.key),
        ] {
            let crate::store::etcd::Pem::Text(text) = pem else {
                unreachable!()
            };
            std::fs::write(path(&format!("own.{name}")), text).unwrap();
        }
    };
    let own = Credentials {
        ca: path("own.ca").into(),
        certificate: path("own.crt").into(),
        key: path("own.key").into(),
    };
    let store = EtcdStore::new(Endpoints::Given(vec![server.url()]), Some(own));
    assert!(store.get("open/a").await.unwrap_err().is_missing());
    write(&server.tls().credentials("stranger"));
    assert!(is_denied(store.get("open/a").await));
    write(&server.tls().credentials("reader"));
    assert_eq!(number(&store, "open/a").await.0, 1);
}

#[tokio::test]
async fn nobody_is_believed_whom_the_ca_did_not_sign() {
    let server = guarded().await;
    let foreign = server::Tls::new();
    // An etcd of another CA, and one that has no certificate with the store's name.
    let error = EtcdStore::new(Endpoints::Given(vec![server.url()]), Some(foreign.credentials("root")))
        .get("a")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    // Someone whom etcd does not know, who believes etcd.
    let mut mixed = foreign.credentials("root");
    mixed.ca = server.tls().credentials("root").ca;
    let error = EtcdStore::new(Endpoints::Given(vec![server.url()]), Some(mixed))
        .get("a")
        .await
        .unwrap_err();
    assert!(!matches!(error, Error::Failed { .. }), "{error:?}");
    // Nothing of ours goes over a connection without TLS.
    let plain = server.url().replace("https", "http");
    let error = EtcdStore::new(Endpoints::Given(vec![plain]), Some(server.tls().credentials("root")))
        .get("a")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}
