//! Telling whoever started a daemon how it is (sd_notify(3)): ready, alive, about to end. Without a service manager
//! that asks for it, nothing is told and nothing fails.

use std::time::Duration;

use sd_notify::NotifyState;

/// The daemon is ready to serve.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The daemon is about to end in its own time.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Say again and again that the daemon is alive, as often as the service manager wants to hear it. A runtime that is
/// stuck stops saying so, which is the point. Never returns.
pub async fn stay_alive() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(often_enough(limit));
    loop {
        ticks.tick().await;
        tell(NotifyState::Watchdog);
    }
}

/// Twice within the limit, so that one late answer is not the end; never without any pause.
fn often_enough(limit: Duration) -> Duration {
    (limit / 2).max(Duration::from_millis(1))
}

fn tell(state: NotifyState<'_>) {
    // Without a service manager this is not an error; with one that cannot be told, it will act on its own.
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "could not tell the service manager how this daemon is");
    }
}
