//! The lasting tie to one container's init, over as many connections as it takes.
//!
//! A link owns the container's socket and its table of processes, and reports through [`LinkEvent`]s. Who is let in is
//! decided in `connections`, what init says of its processes is taken down in `table`, what it is asked for is in
//! `requests`.

mod connections;
mod requests;
mod table;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fence_init::protocol::Exit;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::listener;
use super::session::Session;
use super::{Error, Result};
use crate::container::ProcessId;
use table::Table;

/// How long a request waits for init to be connected.
pub(super) const CONNECTED: Duration = Duration::from_secs(10);
/// The most connections to one container's socket that are looked at at a time.
const MAX_GREETINGS: usize = 8;

/// Something the container's owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Init is there, with these processes ended since somebody last looked.
    Connected,
    /// A process ended.
    Ended { id: ProcessId, exit: Exit },
    /// An ended process was forgotten.
    Collected { id: ProcessId },
}

/// The tie to one container's init. Clones are the same tie; its task ends with [`Link::close`].
#[derive(Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    session: watch::Sender<Option<Session>>,
    /// The pid of the container's first process, once it is known.
    expected: watch::Sender<Option<i32>>,
    /// How many first processes have ended.
    ended: AtomicU64,
    table: Mutex<Table>,
    events: mpsc::UnboundedSender<LinkEvent>,
    /// Ends the session in force; a new one replaces the one before.
    serving: Mutex<CancellationToken>,
    /// Connections that are being looked at.
    greetings: Semaphore,
    refusal_told: AtomicBool,
    stop: CancellationToken,
}

impl Link {
    /// Listen for the init of the container that `directory` is (or will be) mounted into. Nobody is let in before
    /// [`Link::expect`] said who.
    pub fn listen(directory: &Path) -> Result<(Link, mpsc::UnboundedReceiver<LinkEvent>)> {
        let listener = listener::listen(directory)?;
        let (events, receiver) = mpsc::unbounded_channel();
        let inner = Inner {
            session: watch::Sender::new(None),
            expected: watch::Sender::new(None),
            ended: AtomicU64::new(0),
            table: Mutex::default(),
            events,
            serving: Mutex::default(),
            greetings: Semaphore::new(MAX_GREETINGS),
            refusal_told: AtomicBool::new(false),
            stop: CancellationToken::new(),
        };
        let link = Link { inner: Arc::new(inner) };
        let task = link.clone();
        tokio::spawn(async move {
            let stop = task.inner.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = task.accept(listener) => {}
            }
            task.inner.session.send_replace(None);
        });
        Ok((link, receiver))
    }

    /// The container's first process is this one.
    pub fn expect(&self, pid: i32) {
        self.inner.expected.send_if_modified(|known| {
            let new = *known != Some(pid);
            *known = Some(pid);
            new
        });
    }

    /// The container's first process is no more, and with it all others.
    pub fn ended(&self) {
        // First: whoever finds the connection gone learns from it that no other will follow.
        self.inner.ended.fetch_add(1, Ordering::AcqRel);
        self.inner.expected.send_replace(None);
        self.inner.session.send_replace(None);
        self.serving().cancel();
        self.all_ended();
    }

    /// The container is no more: end the tie.
    pub fn close(&self) {
        self.ended();
        self.inner.stop.cancel();
    }

    /// Wait until init is connected.
    pub async fn connected(&self) -> Result<()> {
        self.session().await.map(drop)
    }

    /// Wait until init is not connected.
    pub async fn disconnected(&self) {
        // The sender lives in self, so this cannot fail.
        let _ = self.inner.session.subscribe().wait_for(Option::is_none).await;
    }

    /// Whether init is connected at this moment.
    pub fn is_connected(&self) -> bool {
        self.inner.session.borrow().is_some()
    }

    /// Which of the container's first processes this is about, one after the other: what is known of one says nothing of
    /// the next.
    pub(super) fn lifetime(&self) -> u64 {
        self.inner.ended.load(Ordering::Acquire)
    }

    /// The connection in force; waits for init to come back where it was lost.
    pub(super) async fn session(&self) -> Result<Session> {
        let stopped = || Error::Unreachable("the container does not run".into());
        let mut sessions = self.inner.session.subscribe();
        let mut expected = self.inner.expected.subscribe();
        let is_open = |session: &Option<Session>| session.as_ref().is_some_and(|session| !session.is_lost());
        let found = async { sessions.wait_for(is_open).await.ok()?.clone() };
        tokio::select! {
            biased;
            found = tokio::time::timeout(CONNECTED, found) => match found {
                Ok(session) => session.ok_or_else(stopped),
                Err(_) => Err(Error::Unreachable(format!(
                    "it is not connected, also after {} s",
                    CONNECTED.as_secs()
                ))),
            },
            // Nobody will connect where no first process is expected.
            _ = expected.wait_for(Option::is_none) => Err(stopped()),
        }
    }

    /// Hang up on init, which comes back.
    #[cfg(test)]
    pub(super) fn break_connection(&self) {
        self.serving().cancel();
    }

    fn serving(&self) -> MutexGuard<'_, CancellationToken> {
        self.inner.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
