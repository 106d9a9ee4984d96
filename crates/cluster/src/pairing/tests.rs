//! Who is let in, by whom, and who is not; in memory, whose rules are every store's.

mod trust;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::identity::Secret;
use crate::store::Page;
use crate::store::memory::MemoryStore;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn key(text: &str) -> Fingerprint {
    Fingerprint::of(text.as_bytes())
}

fn asks(called: &str) -> Asks {
    Asks {
        id: Uuid::now_v7(),
        name: name(called),
        roles: vec![Role::Dea],
        addresses: vec!["10.0.0.1".parse().unwrap()],
        version: "0.1.0".to_owned(),
    }
}

fn pairing() -> (Pairing, Arc<dyn Store>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    (Pairing::new(Arc::clone(&store)), store)
}

fn for_an_hour() -> NewToken {
    NewToken {
        realm: default_realm(),
        roles: Vec::new(),
        name: None,
        administrator: None,
        good_for: Duration::from_secs(3600),
    }
}

fn called(text: &str) -> Terms {
    Terms {
        name: Some(name(text)),
        ..Terms::default()
    }
}

fn with_roles(roles: Vec<Role>) -> Terms {
    Terms {
        roles,
        ..Terms::default()
    }
}

/// The node that this answer lets in.
fn let_in(answer: Result<Answer>) -> Record {
    match answer {
        Ok(Answer::Paired(record)) => *record,
        other => panic!("it is not let in: {other:?}"),
    }
}

#[tokio::test]
async fn a_node_waits_until_it_is_paired_and_may_ask_again_when_it_was_unpaired() {
    let (pairing, _) = pairing();
    let (key, asks) = (key("one"), asks("one"));
    assert_eq!(pairing.ask(&key, &asks, None).await.unwrap(), Answer::Pending);
    let waiting = pairing.pending().await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].roles, [Role::Base, Role::Dea]);
    let Outcome::Paired(record) = pairing.pair(&key, called("other"), "admin").await.unwrap() else {
        panic!("it had asked");
    };
    assert_eq!((record.name.as_str(), record.realm.as_str()), ("other", "default"));
    assert_eq!(pairing.pending().await.unwrap(), []);
    assert_eq!(pairing.ask(&key, &asks, None).await.unwrap(), Answer::Paired(record));
    assert!(matches!(
        pairing.pair(&key, Terms::default(), "admin").await,
        Err(Error::PairedAlready { .. })
    ));
    pairing.unpair(asks.id).await.unwrap();
    assert_eq!(pairing.ask(&key, &asks, None).await.unwrap(), Answer::Pending);
}

#[tokio::test]
async fn a_key_that_is_paired_before_it_asks_is_let_in_when_it_does() {
    let (pairing, _) = pairing();
    let outcome = pairing.pair(&key("one"), Terms::default(), "admin").await.unwrap();
    assert!(matches!(outcome, Outcome::Approved(_)));
    let Answer::Paired(record) = pairing.ask(&key("one"), &asks("one"), None).await.unwrap() else {
        panic!("it was approved");
    };
    assert_eq!(record.paired.by, "admin");
    // The approval is for one node.
    pairing.unpair(record.id).await.unwrap();
    assert_eq!(
        pairing.ask(&key("one"), &asks("one"), None).await.unwrap(),
        Answer::Pending
    );
}

#[tokio::test]
async fn a_removed_node_is_refused_until_it_is_paired_again() {
    let (pairing, _) = pairing();
    let (key, asks) = (key("one"), asks("one"));
    pairing.pair(&key, Terms::default(), "admin").await.unwrap();
    pairing.ask(&key, &asks, None).await.unwrap();
    pairing.remove(asks.id, "admin").await.unwrap();
    assert!(matches!(pairing.ask(&key, &asks, None).await, Err(Error::Removed)));
    assert_eq!(pairing.pending().await.unwrap(), []);
    pairing.pair(&key, Terms::default(), "admin").await.unwrap();
    assert!(matches!(pairing.ask(&key, &asks, None).await, Ok(Answer::Paired(_))));
}

#[tokio::test]
async fn an_id_is_of_no_use_without_its_key() {
    let (pairing, _) = pairing();
    let asks = asks("one");
    pairing.pair(&key("one"), Terms::default(), "admin").await.unwrap();
    pairing.ask(&key("one"), &asks, None).await.unwrap();
    assert!(matches!(
        pairing.ask(&key("thief"), &asks, None).await,
        Err(Error::OtherKey)
    ));
}

#[tokio::test]
async fn a_token_lets_in_one_node_however_many_use_it_at_once() {
    let (pairing, store) = pairing();
    let (secret, token) = pairing.create_token(for_an_hour(), "admin").await.unwrap();
    let stored = store.range("", Page::ALL).await.unwrap().entries;
    let shows = |entry: &crate::store::Entry| format!("{}{}", entry.key, String::from_utf8_lossy(&entry.value));
    assert!(!stored.iter().any(|entry| shows(entry).contains(secret.reveal())));
    let keys: Vec<(Fingerprint, Asks)> = (0..4).map(|i| (key(&i.to_string()), asks(&format!("n{i}")))).collect();
    let asked = keys.iter().map(|(key, asks)| pairing.ask(key, asks, Some(&secret)));
    let answers = futures_util::future::join_all(asked).await;
    let paired = answers
        .iter()
        .filter(|answer| matches!(answer, Ok(Answer::Paired(_))))
        .count();
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, Err(Error::NoToken)))
        .count();
    assert_eq!((paired, refused), (1, 3), "{answers:?}");
    assert_eq!(pairing.tokens().await.unwrap(), []);
    assert!(token.expires > Timestamp::now());
}

#[tokio::test]
async fn a_token_that_expired_or_was_revoked_or_never_was_lets_nobody_in() {
    let (pairing, _) = pairing();
    let over = NewToken {
        good_for: Duration::ZERO,
        ..for_an_hour()
    };
    let (expired, _) = pairing.create_token(over, "admin").await.unwrap();
    let (revoked, token) = pairing.create_token(for_an_hour(), "admin").await.unwrap();
    pairing.revoke_token(token.id.short()).await.unwrap();
    assert!(matches!(
        pairing.revoke_token("").await,
        Err(Error::UnknownToken { .. })
    ));
    for secret in [expired, revoked, Secret::generate().unwrap()] {
        let answer = pairing.ask(&key("one"), &asks("one"), Some(&secret)).await;
        assert!(matches!(answer, Err(Error::NoToken)), "{answer:?}");
    }
    assert_eq!(pairing.pending().await.unwrap(), []);
}

#[tokio::test]
async fn a_token_makes_nobody_a_member_of_the_store_unless_it_says_so() {
    let (pairing, _) = pairing();
    let greedy = Asks {
        roles: vec![Role::Config],
        ..asks("one")
    };
    let (secret, _) = pairing.create_token(for_an_hour(), "admin").await.unwrap();
    let Answer::Paired(record) = pairing.ask(&key("one"), &greedy, Some(&secret)).await.unwrap() else {
        panic!("the token is good");
    };
    assert_eq!(record.roles, [Role::Base]);
    let core = Asks {
        roles: vec![Role::Core],
        ..asks("two")
    };
    assert!(matches!(
        pairing.ask(&key("two"), &core, None).await,
        Err(Error::Asks { .. })
    ));
}

#[tokio::test]
async fn only_so_many_wait_and_those_who_gave_up_make_room() {
    let (pairing, store) = pairing();
    let old = Timestamp::now() - PENDING_FOR - PENDING_FOR;
    for i in 0..MAX_PENDING {
        let pending = Pending {
            fingerprint: key(&i.to_string()),
            id: Uuid::now_v7(),
            name: name("x"),
            roles: Vec::new(),
            addresses: Vec::new(),
            version: String::new(),
            first_asked: old,
            last_asked: if i == 0 { old } else { Timestamp::now() },
        };
        let key = pending_key(&pending.fingerprint);
        let txn = Txn::new().put(&key, serde_json::to_vec(&pending).unwrap());
        store.txn(txn).await.unwrap();
    }
    assert_eq!(
        pairing.ask(&key("new"), &asks("new"), None).await.unwrap(),
        Answer::Pending
    );
    let waits = |of: &'static str, all: &[Pending]| all.iter().any(|pending| pending.fingerprint == key(of));
    // Nobody has given up now: who has been silent longest makes room.
    pairing.ask(&key("next"), &asks("next"), None).await.unwrap();
    let all = pairing.pending().await.unwrap();
    assert_eq!(all.len(), MAX_PENDING);
    assert!(waits("new", &all) && waits("next", &all) && !waits("0", &all) && !waits("1", &all));
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let (_, store) = pairing();
    let all = Administrators::new(store);
    let new = |called: &str| Administrator {
        name: name(called),
        fingerprint: key(called),
        created: Timestamp::now(),
        expires: Timestamp::now(),
        by: "root".to_owned(),
    };
    all.add(&new("alice")).await.unwrap();
    assert!(matches!(
        all.add(&new("alice")).await,
        Err(Error::AdministratorTaken { .. })
    ));
    assert!(matches!(
        all.revoke(&name("alice")).await,
        Err(Error::LastAdministrator { .. })
    ));
    all.add(&new("bob")).await.unwrap();
    assert_eq!(all.revoke(&name("alice")).await.unwrap().fingerprint, key("alice"));
    assert!(matches!(
        all.revoke(&name("alice")).await,
        Err(Error::NoAdministrator { .. })
    ));
    assert_eq!(all.list().await.unwrap().len(), 1);
}
