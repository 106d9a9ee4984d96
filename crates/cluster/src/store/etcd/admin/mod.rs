//! What the core does to etcd itself: which members there are, how they are, and what is saved of them.
//!
//! All of it can be done again: what is there already, or gone already, is done. The calls go over the store's
//! connection, are for who may do everything (see [`super::gateway`]), and fail with the store's errors.
//! When to do what is decided elsewhere.

use std::sync::Arc;

use etcd_client::Client;

use super::EtcdStore;
use super::call::{Failed, Repeat, call};
use super::connection::Connector;
use super::failure::Refusal;
use crate::store::Result;

mod maintenance;
mod members;
mod moved;
mod snapshot;

pub use maintenance::{Alarm, AlarmKind, MemberStatus};
pub use members::Member;
pub use snapshot::{MAX_SNAPSHOT, check_snapshot};

/// etcd's administration, over a store's connection.
#[derive(Clone, Debug)]
pub struct Admin {
    connector: Arc<Connector>,
}

impl EtcdStore {
    /// The administration of this store's etcd.
    pub fn admin(&self) -> Admin {
        Admin {
            connector: self.connector.clone(),
        }
    }
}

impl Admin {
    async fn ask<T, F>(&self, attempt: &'static str, question: impl Fn(Client) -> F) -> std::result::Result<T, Failed>
    where
        F: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let asked = call(&self.connector, attempt, Repeat::Always, question).await;
        asked.map(|answer| answer.value)
    }
}

/// Done, also if etcd refuses because it is done already.
fn done_if<T>(asked: std::result::Result<T, Failed>, refusal: Refusal) -> Result<()> {
    match asked {
        Err(failed) if failed.refusal != Some(refusal) => Err(failed.error),
        _ => Ok(()),
    }
}
