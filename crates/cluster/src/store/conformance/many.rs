//! Many clients at once: nothing is lost, and one wins.

use super::{Home, count_up, next, number, one};
use crate::store::{Outcome, Page, Txn};

pub async fn counting_by_many_loses_nothing(home: &impl Home) {
    const CLIENTS: u64 = 6;
    const TIMES: u64 = 20;
    let store = home.client().await;
    let after = store.range("", Page::ALL).await.unwrap().revision;
    let mut watch = store.watch("n", after).await.unwrap();
    let mut counting = Vec::new();
    for _ in 0..CLIENTS {
        let client = home.client().await;
        counting.push(tokio::spawn(async move {
            for _ in 0..TIMES {
                count_up(&client, "n").await;
            }
        }));
    }
    for n in 1..=CLIENTS * TIMES {
        assert_eq!(next(&mut watch).await.1, one("n", &n.to_string()));
    }
    for client in counting {
        client.await.unwrap();
    }
    assert_eq!(number(&store, "n").await.0, CLIENTS * TIMES);
}

pub async fn one_of_many_gets_the_key(home: &impl Home) {
    let mut trying = Vec::new();
    for n in 0..8 {
        let client = home.client().await;
        trying.push(tokio::spawn(async move {
            client
                .txn(Txn::new().when("leader", 0).put("leader", n.to_string()))
                .await
                .unwrap()
        }));
    }
    let mut got = 0;
    for client in trying {
        got += usize::from(matches!(client.await.unwrap(), Outcome::Done(_)));
    }
    assert_eq!(got, 1);
}
