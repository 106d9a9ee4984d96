//! The one connection that a store's calls share: made when it is needed, to one member at a time, and to the next when
//! that one fails.
//!
//! etcd-client's own balancing keeps sending to members that are gone; here a member is asked how it is before anything
//! else is sent to it, and left alone when it fails. Endpoints and credentials are read anew for every connection.

use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tonic::transport::Endpoint;

use super::credentials::{Credentials, Endpoints, Loaded};
use super::failure::{Failure, Refusal, chain, classify};
use crate::store::{Error, Result};

/// How long one member may take to be connected to and to say how it is.
pub const CONNECT: Duration = Duration::from_secs(2);
/// For so long after no member could be reached, calls fail without trying again, so that many do not wait in a row.
const PAUSE: Duration = Duration::from_millis(250);
/// How often a connection in use is asked whether it lives, and how long the answer may take. etcd hangs up on who asks
/// more often than every 5 s (`--grpc-keepalive-min-time`).
const ALIVE: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(3));
/// What may be on its way to a watch that is not read. Each stream has this for itself: one that is not read must not
/// hold up the others, so the connection as a whole has no bound of its own.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = i32::MAX as u32;

/// Connects on demand.
#[derive(Debug)]
pub struct Connector {
    endpoints: Endpoints,
    credentials: Option<Credentials>,
    /// Held by the one that connects; the others wait for what comes of it.
    connecting: Mutex<()>,
    state: StdMutex<State>,
}

struct State {
    open: Option<Open>,
    /// Where we are or were last, for messages.
    place: String,
    /// Counts connections.
    number: u64,
    /// Which endpoint to begin with.
    first: usize,
    /// When no member could be reached, and why.
    failed: Option<(Instant, String)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// An open connection.
#[derive(Clone)]
pub struct Open {
    /// Refuses what a member without a leader would only keep waiting.
    pub client: Client,
    number: u64,
    credentials: Option<Arc<Loaded>>,
}

impl Connector {
    pub fn new(endpoints: Endpoints, credentials: Option<Credentials>) -> Self {
        let place = endpoints.to_string();
        Connector {
            endpoints,
            credentials,
            connecting: Mutex::default(),
            state: StdMutex::new(State {
                open: None,
                place,
                number: 0,
                first: 0,
                failed: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the store is, in words for a message.
    pub fn place(&self) -> String {
        self.state().place.clone()
    }

    /// The connection there is, or a new one to the first member that can be used.
    pub async fn open(&self) -> std::result::Result<Open, Failure> {
        let present = self.state().open.clone();
        if let Some(open) = present {
            return Ok(open);
        }
        let _connecting = self.connecting.lock().await;
        let (present, failed) = {
            let state = self.state();
            (state.open.clone(), state.failed.clone())
        };
        match (present, failed) {
            (Some(open), _) => Ok(open),
            (None, Some((at, reason))) if at.elapsed() < PAUSE => Err(self.unreachable(reason)),
            (None, _) => self.connect().await,
        }
    }

    /// Stop using this connection, and begin with the next member. One that others have replaced meanwhile is gone.
    pub fn give_up(&self, open: &Open) {
        let mut state = self.state();
        if state.open.as_ref().is_some_and(|present| present.number == open.number) {
            state.open = None;
            state.first = state.first.wrapping_add(1);
        }
    }

    /// After a refusal: whether the credentials have changed since this connection was made, so that a new one may fare
    /// better. It is given up then.
    pub fn renew(&self, open: &Open) -> bool {
        let is_renewed = match (self.load(), &open.credentials) {
            (Ok(Some(now)), Some(then)) => now != *then,
            _ => false,
        };
        if is_renewed {
            self.give_up(open);
        }
        is_renewed
    }

    /// A connection of its own to one member, whatever state that is in.
    pub async fn to_member(&self, endpoint: &str) -> Result<Client> {
        let loaded = self.load()?;
        let reached = timeout(CONNECT, channel(endpoint, loaded.as_deref())).await;
        let channel = reached
            .unwrap_or_else(|_| Err(slow()))
            .map_err(|reason| Error::Unavailable {
                place: endpoint.to_owned(),
                source: reason.into(),
            })?;
        client(channel, false)
            .await
            .map_err(|failure| failure.into_error("connect to", endpoint))
    }

    async fn connect(&self) -> std::result::Result<Open, Failure> {
        let urls = self.endpoints.read().map_err(Failure::Unreachable)?;
        let loaded = self.load().map_err(Failure::Unreachable)?;
        self.state().place = urls.join(", ");
        let mut reasons = Vec::new();
        let (mut is_waiting, mut is_denied) = (false, false);
        for _ in 0..urls.len() {
            let first = self.state().first;
            let url = &urls[first % urls.len()];
            let reason = match timeout(CONNECT, usable(url, loaded.as_deref())).await {
                Ok(Ok(client)) => return Ok(self.connected(client, loaded)),
                Ok(Err(Unusable::NotNow(reason))) => {
                    is_waiting = true;
                    reason
                }
                Ok(Err(Unusable::Denied(reason))) => {
                    is_denied = true;
                    reason
                }
                Ok(Err(Unusable::Unreached(reason))) => reason,
                Err(_) => slow(),
            };
            // At once, so that even a caller who waits no longer has brought us on.
            self.state().first = first.wrapping_add(1);
            reasons.push(format!("{url}: {reason}"));
        }
        let reason = reasons.join("; ");
        if is_denied {
            return Err(Failure::Refused(Refusal::Denied, reason));
        }
        if is_waiting {
            // A member is there and waits for the others: an election takes a second or two.
            return Err(Failure::NotDone {
                reason,
                elsewhere: false,
            });
        }
        self.state().failed = Some((Instant::now(), reason.clone()));
        Err(self.unreachable(reason))
    }

    fn connected(&self, client: Client, credentials: Option<Arc<Loaded>>) -> Open {
        let mut state = self.state();
        state.number += 1;
        state.failed = None;
        let open = Open {
            client,
            number: state.number,
            credentials,
        };
        state.open = Some(open.clone());
        open
    }

    fn load(&self) -> Result<Option<Arc<Loaded>>> {
        self.credentials
            .as_ref()
            .map(|credentials| credentials.load().map(Arc::new))
            .transpose()
    }

    fn unreachable(&self, reason: String) -> Failure {
        Failure::Unreachable(Error::Unavailable {
            place: self.place(),
            source: reason.into(),
        })
    }
}

fn slow() -> String {
    format!("no answer within {} s", CONNECT.as_secs())
}

/// Why a member cannot be used.
enum Unusable {
    /// It answers, and not us.
    Denied(String),
    Unreached(String),
    /// It answers, and has no leader or no vote.
    NotNow(String),
}

/// Connect to a member, and see that it takes part. Certificates that it does not believe show here as well, before
/// anything is asked that would be left open.
async fn usable(url: &str, credentials: Option<&Loaded>) -> std::result::Result<Client, Unusable> {
    let channel = channel(url, credentials).await.map_err(Unusable::Unreached)?;
    let mut asking = client(channel.clone(), false).await.map_err(unreached)?;
    let status = asking.status().await.map_err(|error| unreached(classify(error)))?;
    if status.is_learner() {
        return Err(Unusable::NotNow("it is only learning yet".to_owned()));
    }
    if status.leader() == 0 {
        return Err(Unusable::NotNow("it has no leader".to_owned()));
    }
    client(channel, true).await.map_err(unreached)
}

fn unreached(failure: Failure) -> Unusable {
    Unusable::Unreached(match failure {
        Failure::Refused(Refusal::Denied, reason) => return Unusable::Denied(reason),
        Failure::Refused(_, reason) | Failure::NotDone { reason, .. } | Failure::Open { reason } => reason,
        Failure::Unreachable(error) => chain(&error),
    })
}

async fn channel(url: &str, credentials: Option<&Loaded>) -> std::result::Result<tonic::transport::Channel, String> {
    let said = |error: tonic::transport::Error| chain(&error);
    let mut endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(said)?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(ALIVE.0)
        .keep_alive_timeout(ALIVE.1)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    match credentials {
        // Without this a URL with http:// would be asked without any protection.
        Some(_) if endpoint.uri().scheme_str() != Some("https") => {
            return Err("a member that is to be asked with a certificate must have an https:// address".to_owned());
        }
        Some(credentials) => endpoint = endpoint.tls_config(credentials.tls()).map_err(said)?,
        None => {}
    }
    endpoint.connect().await.map_err(said)
}

async fn client(channel: tonic::transport::Channel, needs_leader: bool) -> std::result::Result<Client, Failure> {
    let options = ConnectOptions::new().with_require_leader(needs_leader);
    Client::from_channel(Channel::Tonic(channel), Some(options))
        .await
        .map_err(classify)
}
