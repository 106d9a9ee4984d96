//! One connection of a guest's: what it shares with the guest's other connections, its way to etcd, and its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;

use super::guests::Guest;
use super::status::Refusal;
use super::upstream::Upstream;
use super::{Shared, locked};
use crate::rates::Entered;

/// How long a guest may be here before asking anything.
const FIRST: Duration = Duration::from_secs(10);
/// So many refusals without an answer between them, and the guest has to come again.
const MAX_REFUSED: u32 = 1000;

/// One connection.
pub struct Visit {
    /// Whose it is.
    pub guest: Arc<Guest>,
    /// The way to etcd, of this connection alone: whoever spoils it spoils nobody else's.
    pub upstream: Upstream,
    /// Whether anything was asked.
    pub has_asked: AtomicBool,
    /// Told when the guest has to go.
    pub end: Notify,
    refused: AtomicU32,
    shared: Arc<Shared>,
}

impl Visit {
    /// Of this guest, to the etcd at `socket`.
    pub fn new(shared: &Arc<Shared>, guest: Arc<Guest>, socket: &Path) -> Arc<Self> {
        Arc::new(Visit {
            guest,
            upstream: Upstream::new(socket),
            has_asked: AtomicBool::new(false),
            end: Notify::new(),
            refused: AtomicU32::new(0),
            shared: Arc::clone(shared),
        })
    }

    /// One more question under way, until what is returned is dropped. Whoever may do everything is not counted.
    pub fn count(&self) -> Result<Option<Entered<String>>, Refusal> {
        if !self.guest.is_limited() {
            return Ok(None);
        }
        self.charge(1, Instant::now())?;
        let entered = self.shared.under_way.enter(self.guest.name.clone());
        entered.map(Some).ok_or(Refusal::TooMany)
    }

    /// Have a question count as so many.
    pub fn charge(&self, cost: u32, now: Instant) -> Result<(), Refusal> {
        let is_free = !self.guest.is_limited();
        let may = is_free || locked(&self.shared.rates).may_ask_for(self.guest.name.clone(), cost, now);
        may.then_some(()).ok_or(Refusal::TooMany)
    }

    /// A question was passed on and answered.
    pub fn answered(&self) {
        self.refused.store(0, Ordering::Relaxed);
    }

    /// A question was refused. Who asks for nothing else has to go.
    pub fn refused(&self, refusal: Refusal) {
        if matches!(refusal, Refusal::NoMember | Refusal::Broken) {
            return;
        }
        if self.refused.fetch_add(1, Ordering::Relaxed) >= MAX_REFUSED {
            self.end.notify_one();
        }
    }

    /// Until the guest has to go.
    pub async fn ended(&self) {
        let idle = async {
            sleep(FIRST).await;
            if self.has_asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.end.notified() => {}
            () = idle => {}
        }
    }
}
