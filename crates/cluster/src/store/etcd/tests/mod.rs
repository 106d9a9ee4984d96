//! The etcd home, on Debian's etcd: the common suite, straight and through the gateway, and what only this home promises.
//!
//! Every test has an etcd of its own ([`server`]), which ends with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::store::conformance::{self, Home};
use crate::store::{Event, Outcome, Revision, Store, Txn, Watch};

mod administration;
mod bad_days;
mod gateway;
mod guarded;
mod hostile;
mod server;

use server::Server;

impl Home for Server {
    async fn client(&self) -> Arc<dyn Store> {
        Arc::new(self.store())
    }
}

mod plain {
    use super::*;

    conformance::suite!(Server::start().await);
}

mod through_the_gateway {
    use super::guarded::Guarded;
    use super::*;

    conformance::suite!(Guarded::start().await);
}

/// Put a key, whatever it takes, and return its revision.
async fn put(store: &dyn Store, key: &str, value: &str) -> Revision {
    loop {
        match store.txn(Txn::new().put(key, value)).await {
            Ok(Outcome::Done(revision)) => return revision,
            Ok(Outcome::Stale) => unreachable!("nothing was compared"),
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The number that a key has; 0 if it is not there.
async fn number(store: &dyn Store, key: &str) -> (u64, Revision) {
    loop {
        match store.get(key).await {
            Ok(Some(entry)) => return (String::from_utf8(entry.value).unwrap().parse().unwrap(), entry.revision),
            Ok(None) => return (0, 0),
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// A watch that is opened, whatever it takes.
async fn watch(store: &dyn Store, prefix: &str, after: Revision) -> Watch {
    loop {
        match store.watch(prefix, after).await {
            Ok(watch) => return watch,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The values that were put, in order, of one revision.
fn values(events: &[Event]) -> Vec<String> {
    let value = |event: &Event| match event {
        Event::Put { value, .. } => String::from_utf8(value.clone()).unwrap(),
        Event::Delete { .. } => "(gone)".to_owned(),
    };
    events.iter().map(value).collect()
}
