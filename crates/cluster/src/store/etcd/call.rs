//! One call, within a bound: attempts, pauses between them, and another member where one fails.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use etcd_client::Client;
use tokio::time::{Instant, sleep, timeout};

use super::connection::Connector;
use super::failure::{Failure, Refusal, classify};
use crate::store::Error;

/// How long one call may take with everything that is tried again.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long one attempt may take. An election is over before.
const ATTEMPT: Duration = Duration::from_secs(4);
/// The first pause before the next attempt, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// When an attempt may be followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Doing it twice is doing it once.
    Always,
    /// Only if it was surely not done.
    WhenNotDone,
}

/// What a call brought.
#[derive(Debug)]
pub struct Answer<T> {
    pub value: T,
    /// Whether an attempt before this one may have been done.
    pub is_repeated: bool,
}

/// Why a call was given up.
#[derive(Debug)]
pub struct Failed {
    /// What etcd said where it refused.
    pub refusal: Option<Refusal>,
    pub error: Error,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// Do `call` with the shared connection, within [`PATIENCE`].
pub async fn call<T, F>(
    connector: &Connector,
    attempt: &'static str,
    repeat: Repeat,
    call: impl Fn(Client) -> F,
) -> Result<Answer<T>, Failed>
where
    F: Future<Output = Result<T, etcd_client::Error>>,
{
    let end = Instant::now() + PATIENCE;
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSES.0)
        .with_max_delay(PAUSES.1)
        .without_max_times()
        .with_jitter()
        .build();
    let mut is_repeated = false;
    loop {
        let failure = match once(connector, &call, end).await {
            Ok(value) => return Ok(Answer { value, is_repeated }),
            Err(failure) => failure,
        };
        let is_open = matches!(failure, Failure::Open { .. });
        let again = match &failure {
            Failure::NotDone { .. } => true,
            Failure::Open { .. } => repeat == Repeat::Always,
            Failure::Refused(..) | Failure::Unreachable(_) => false,
        };
        is_repeated |= is_open;
        let pause = pauses.next().unwrap_or(PAUSES.1);
        if !again || Instant::now() + pause >= end {
            return Err(give_up(failure, is_repeated, attempt, connector));
        }
        tracing::debug!(attempt, ?failure, "trying again");
        sleep(pause).await;
    }
}

/// The error of the last attempt, which must not hide that an earlier one was left open.
fn give_up(failure: Failure, is_repeated: bool, attempt: &'static str, connector: &Connector) -> Failed {
    let failure = match failure {
        Failure::NotDone { reason, .. } if is_repeated => Failure::Open { reason },
        other => other,
    };
    let refusal = match failure {
        Failure::Refused(refusal, _) => Some(refusal),
        _ => None,
    };
    Failed {
        refusal,
        error: failure.into_error(attempt, &connector.place()),
    }
}

async fn once<T, F>(connector: &Connector, call: impl Fn(Client) -> F, end: Instant) -> Result<T, Failure>
where
    F: Future<Output = Result<T, etcd_client::Error>>,
{
    let left = end.saturating_duration_since(Instant::now());
    let open = match timeout(left, connector.open()).await {
        Ok(opened) => opened?,
        Err(_) => {
            return Err(Failure::NotDone {
                reason: "no connection in time".to_owned(),
                elsewhere: false,
            });
        }
    };
    let left = end.saturating_duration_since(Instant::now());
    let asked = timeout(left.min(ATTEMPT), call(open.client.clone())).await;
    let failure = match asked {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => classify(error),
        Err(_) => Failure::Open {
            reason: "no answer in time".to_owned(),
        },
    };
    match &failure {
        Failure::Open { .. } | Failure::NotDone { elsewhere: true, .. } => connector.give_up(&open),
        // The certificate was renewed since: what is asked with the new one may be allowed.
        Failure::Refused(Refusal::Denied, reason) if connector.renew(&open) => {
            return Err(Failure::NotDone {
                reason: reason.clone(),
                elsewhere: true,
            });
        }
        _ => {}
    }
    Err(failure)
}
