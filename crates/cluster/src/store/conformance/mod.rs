//! The promises of a [`Store`], as functions that every home's tests run.
//!
//! A home gives a [`Home`]: a place to which any number of clients connect, as separate processes would. `suite!`
//! makes a test of each promise.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{Changes, Event, Outcome, Page, Revision, Store, Txn, Watch};

mod keys;
mod leases;
mod many;
mod watches;

pub use keys::*;
pub use leases::*;
pub use many::*;
pub use watches::*;

/// How long anything may take before a promise counts as broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place that clients connect to; each test has its own, empty.
pub trait Home: Send + Sync + 'static {
    /// A further client, sharing nothing with the others but the place.
    fn client(&self) -> impl Future<Output = Arc<dyn Store>> + Send;
}

/// A test of each promise, for the home that `$home` makes.
macro_rules! suite {
    ($home:expr) => {
        $crate::store::conformance::suite!(@ $home;
            a_second_client_sees_what_the_first_one_did
            a_range_is_ordered_and_bounded
            a_prefix_is_bytes_and_not_a_pattern
            every_change_has_a_later_revision
            a_stale_compare_is_refused_and_nothing_is_done
            a_transaction_is_one_revision
            taking_away_what_is_not_there_is_no_change
            a_request_beyond_the_limits_is_refused
            a_request_at_the_limits_is_taken
            a_watch_gives_each_change_once_and_in_order
            a_watch_begins_after_the_revision_asked_for
            a_watch_sees_its_prefix_only
            a_watch_goes_on_where_another_ended
            a_slow_watch_loses_nothing
            many_watches_see_the_same
            what_is_compacted_cannot_be_watched_and_is_said
            a_revision_to_come_cannot_be_watched
            a_lease_takes_its_keys_with_it
            a_lease_that_is_kept_alive_stays
            a_revoked_lease_is_gone
            a_key_without_its_lease_stays
            counting_by_many_loses_nothing
            one_of_many_gets_the_key
        );
    };
    (@ $home:expr; $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let home = $home;
                $crate::store::conformance::bounded($crate::store::conformance::$promise(&home)).await;
            }
        )*
    };
}
pub(crate) use suite;

/// Fail a promise that takes too long, instead of hanging.
pub async fn bounded<T>(promise: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, promise)
        .await
        .expect("the promise took too long")
}

async fn done(store: &Arc<dyn Store>, txn: Txn) -> Revision {
    match store.txn(txn).await.unwrap() {
        Outcome::Done(revision) => revision,
        Outcome::Stale => panic!("the transaction was stale"),
    }
}

async fn put(store: &Arc<dyn Store>, key: &str, value: &str) -> Revision {
    done(store, Txn::new().put(key, value)).await
}

async fn keys(store: &Arc<dyn Store>, prefix: &str, page: Page) -> Vec<String> {
    store
        .range(prefix, page)
        .await
        .unwrap()
        .entries
        .into_iter()
        .map(|entry| entry.key)
        .collect()
}

async fn number(store: &Arc<dyn Store>, key: &str) -> (u64, Revision) {
    let entry = store.get(key).await.unwrap();
    entry.map_or((0, 0), |entry| {
        (String::from_utf8(entry.value).unwrap().parse().unwrap(), entry.revision)
    })
}

/// Change `key` from what it is to the next number, however often others come in between.
pub async fn count_up(store: &Arc<dyn Store>, key: &str) {
    loop {
        let (present, revision) = number(store, key).await;
        let next = Txn::new().when(key, revision).put(key, (present + 1).to_string());
        match store.txn(next).await {
            Ok(Outcome::Done(_)) => return,
            Ok(Outcome::Stale) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn puts(changes: &Changes) -> Vec<(String, String)> {
    let put = |event: &Event| match event {
        Event::Put { key, value } => (key.clone(), String::from_utf8(value.clone()).unwrap()),
        Event::Delete { key } => (key.clone(), "(gone)".to_owned()),
    };
    changes.events.iter().map(put).collect()
}

async fn next(watch: &mut Watch) -> (Revision, Vec<(String, String)>) {
    let changes = watch.next().await.unwrap();
    (changes.revision, puts(&changes))
}

fn one(key: &str, value: &str) -> Vec<(String, String)> {
    vec![(key.to_owned(), value.to_owned())]
}
