//! What a node gets by its own word, and what by an administrator's, and for how long; in memory.

use super::*;

#[tokio::test]
async fn no_node_becomes_a_member_of_the_store_by_its_own_word() {
    let (pairing, _) = pairing();
    let greedy = |called: &str| Asks {
        roles: vec![Role::Config, Role::Dea],
        ..asks(called)
    };
    // Paired while it waits.
    pairing.ask(&key("one"), &greedy("one"), None).await.unwrap();
    let waiting = pairing.pending().await.unwrap().remove(0);
    assert!(
        waiting.roles.contains(&Role::Config),
        "administrators see what it asks for"
    );
    pairing.pair(&key("one"), Terms::default(), "admin").await.unwrap();
    let record = pairing.paired(&key("one")).await.unwrap().unwrap();
    assert_eq!(record.roles, [Role::Base, Role::Dea]);
    // Approved before it asks.
    pairing.pair(&key("two"), Terms::default(), "admin").await.unwrap();
    let record = let_in(pairing.ask(&key("two"), &greedy("two"), None).await);
    assert_eq!(record.roles, [Role::Base, Role::Dea]);
    // An administrator says so, at once or before.
    let config = || with_roles(vec![Role::Config]);
    pairing.ask(&key("three"), &asks("three"), None).await.unwrap();
    pairing.pair(&key("three"), config(), "admin").await.unwrap();
    let record = pairing.paired(&key("three")).await.unwrap().unwrap();
    assert_eq!(record.roles, [Role::Base, Role::Config]);
    pairing.pair(&key("four"), config(), "admin").await.unwrap();
    let record = let_in(pairing.ask(&key("four"), &asks("four"), None).await);
    assert_eq!(record.roles, [Role::Base, Role::Config]);
    let said = NewToken {
        roles: vec![Role::Config],
        ..for_an_hour()
    };
    let (secret, _) = pairing.create_token(said, "admin").await.unwrap();
    let record = let_in(pairing.ask(&key("five"), &asks("five"), Some(&secret)).await);
    assert_eq!(record.roles, [Role::Base, Role::Config]);
}

#[tokio::test]
async fn nobody_is_called_as_the_id_or_address_of_another() {
    let (pairing, _) = pairing();
    for taken in [Uuid::now_v7().to_string(), "10.0.0.7".to_owned()] {
        let refused = pairing.ask(&key("one"), &asks(&taken), None).await;
        assert!(matches!(refused, Err(Error::Asks { .. })), "{refused:?}");
        let refused = pairing.pair(&key("one"), called(&taken), "admin").await;
        assert!(matches!(refused, Err(Error::Registry(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_key_has_one_record_and_a_removed_one_is_refused_though_it_has_one() {
    let (pairing, store) = pairing();
    pairing.pair(&key("one"), Terms::default(), "admin").await.unwrap();
    let first = let_in(pairing.ask(&key("one"), &asks("one"), None).await);
    let (secret, _) = pairing.create_token(for_an_hour(), "admin").await.unwrap();
    let second = pairing.ask(&key("one"), &asks("two"), Some(&secret)).await;
    assert!(matches!(second, Err(Error::PairedAlready { .. })), "{second:?}");
    assert_eq!(pairing.tokens().await.unwrap().len(), 1, "the token is still good");
    // Broken off in between.
    let removed = Removed {
        name: name("one"),
        by: "admin".to_owned(),
        at: Timestamp::now(),
    };
    let txn = Txn::new().put(removed_key(&key("one")), serde_json::to_vec(&removed).unwrap());
    store.txn(txn).await.unwrap();
    let asked = Asks {
        id: first.id,
        ..asks("one")
    };
    let refused = pairing.ask(&key("one"), &asked, None).await;
    assert!(matches!(refused, Err(Error::Removed)), "{refused:?}");
}

#[tokio::test]
async fn a_key_that_keeps_asking_is_written_once_a_minute_whatever_it_says() {
    let (pairing, store) = pairing();
    pairing.ask(&key("one"), &asks("one"), None).await.unwrap();
    let before = store.get(&pending_key(&key("one"))).await.unwrap().unwrap().revision;
    for i in 0..10 {
        let text = format!("n{i}");
        pairing.ask(&key("one"), &asks(&text), None).await.unwrap();
    }
    let after = store.get(&pending_key(&key("one"))).await.unwrap().unwrap().revision;
    assert_eq!(before, after);
}

#[tokio::test]
async fn an_approval_is_good_for_a_day() {
    let (pairing, store) = pairing();
    let Outcome::Approved(approved) = pairing.pair(&key("one"), Terms::default(), "admin").await.unwrap() else {
        panic!("it has not asked");
    };
    assert_eq!(pairing.approved().await.unwrap(), std::slice::from_ref(&approved));
    let old = Approved {
        at: Timestamp::now() - APPROVED_FOR - APPROVED_FOR,
        ..approved
    };
    let txn = Txn::new().put(approved_key(&key("one")), serde_json::to_vec(&old).unwrap());
    store.txn(txn).await.unwrap();
    let answer = pairing.ask(&key("one"), &asks("one"), None).await.unwrap();
    assert_eq!(answer, Answer::Pending);
    assert_eq!(pairing.approved().await.unwrap(), []);
    assert!(store.get(&approved_key(&key("one"))).await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_revoked_administrator_said_lets_nobody_in() {
    let (pairing, store) = pairing();
    let all = Administrators::new(store);
    for called in ["alice", "bob"] {
        let new = Administrator {
            name: name(called),
            fingerprint: key(called),
            created: Timestamp::now(),
            expires: Timestamp::now(),
            by: "root".to_owned(),
        };
        all.add(&new).await.unwrap();
        let terms = Terms {
            administrator: Some(name(called)),
            ..Terms::default()
        };
        pairing
            .pair(&key(&format!("by {called}")), terms, "root")
            .await
            .unwrap();
        let token = NewToken {
            administrator: Some(name(called)),
            ..for_an_hour()
        };
        pairing.create_token(token, "root").await.unwrap();
    }
    all.revoke(&name("alice")).await.unwrap();
    let approved = pairing.approved().await.unwrap();
    assert_eq!(approved.len(), 1);
    assert_eq!(approved[0].fingerprint, key("by bob"));
    let tokens = pairing.tokens().await.unwrap();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].administrator, Some(name("bob")));
}
