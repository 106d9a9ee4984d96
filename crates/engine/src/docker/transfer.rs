//! Calls that move an image: bounded by the time without progress, and as a whole.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout_at};

use super::{Call, Docker};
use crate::Result;

/// When something last moved, in either direction.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<Instant>>);

impl Activity {
    pub(super) fn new() -> Activity {
        Activity(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Docker {
    /// Reads `answers` to their end. Giving up drops the connection, upon which the engine gives up as well.
    pub(super) async fn transfer<T>(
        &self,
        call: &Call,
        activity: &Activity,
        mut answers: impl Stream<Item = Result<T>> + Unpin,
        mut each: impl FnMut(T),
    ) -> Result<()> {
        let timeouts = self.timeouts();
        let end = Instant::now() + timeouts.transfer;
        loop {
            let limit = end.min(activity.last() + timeouts.idle);
            match timeout_at(limit, answers.next()).await {
                Ok(Some(answer)) => {
                    activity.touch();
                    each(answer?);
                }
                Ok(None) => return Ok(()),
                Err(_) if Instant::now() >= end => return Err(self.timed_out(call, timeouts.transfer)),
                // Meanwhile the other direction may have moved.
                Err(_) if activity.last() + timeouts.idle > Instant::now() => {}
                Err(_) => return Err(self.timed_out(call, timeouts.idle)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;

    use super::super::Timeouts;
    use super::*;
    use crate::Error;

    fn docker() -> Docker {
        let timeouts = Timeouts {
            call: Duration::from_secs(1),
            idle: Duration::from_secs(10),
            transfer: Duration::from_secs(100),
        };
        Docker::connect("/nowhere".as_ref(), timeouts)
    }

    async fn run(answers: impl Stream<Item = Result<u8>> + Unpin, activity: &Activity) -> Result<()> {
        docker()
            .transfer(&Call::new("pull", "image x".to_owned()), activity, answers, |_| ())
            .await
    }

    fn after(error: Result<()>) -> Duration {
        match error {
            Err(Error::TimedOut { after, .. }) => after,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_transfer_early() {
        assert_eq!(
            after(run(stream::pending(), &Activity::new()).await),
            Duration::from_secs(10)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn endless_progress_ends_at_the_total() {
        let drip = Box::pin(stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            Some((Ok(0), ()))
        }));
        assert_eq!(after(run(drip, &Activity::new()).await), Duration::from_secs(100));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_sent_count_as_progress() {
        let activity = Activity::new();
        let sending = activity.clone();
        let upload = tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(8)).await;
                sending.touch();
            }
        });
        let answer = Box::pin(stream::once(async {
            tokio::time::sleep(Duration::from_secs(45)).await;
            Ok(0)
        }));
        run(answer, &activity).await.unwrap();
        upload.await.unwrap();
    }
}
