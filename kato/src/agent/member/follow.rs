//! A few keys of the store, as they are now: read, watched, and read anew with each change.
//!
//! For prefixes with a handful of keys, where reading all of them anew is simplest.

use cluster::store::{Entry, Page, Result, Store};
use tokio::sync::watch;

use super::Patience;

/// Tell what the keys with this prefix hold, now and after each change, for ever. Nothing is told while the store is gone.
pub async fn follow(store: &dyn Store, prefix: &str, what: &'static str, told: &watch::Sender<Option<Vec<Entry>>>) {
    let mut patience = Patience::new(what);
    loop {
        let Err(error) = follow_once(store, prefix, told, &mut patience).await;
        // What was forgotten meanwhile is only read anew.
        if !error.needs_new_range() {
            patience.wait(&error).await;
        }
    }
}

async fn follow_once(
    store: &dyn Store,
    prefix: &str,
    told: &watch::Sender<Option<Vec<Entry>>>,
    patience: &mut Patience,
) -> Result<std::convert::Infallible> {
    let mut range = store.range(prefix, Page::ALL).await?;
    let mut watch = store.watch(prefix, range.revision).await?;
    patience.restore();
    loop {
        told.send_replace(Some(range.entries));
        watch.next().await?;
        range = store.range(prefix, Page::ALL).await?;
    }
}
