//! Retiring: the node takes nothing new, what runs on it is given its time and then stopped; nothing is destroyed.
//!
//! ```text
//!  in service ──wanted──▶ waiting ──time is up──▶ stopping what runs, for as long as it is wanted
//!      ▲                     │                        │
//!      └──────cancelled──────┴────────────────────────┘
//! ```
//!
//! Whether it is wanted, and how long there is, is the [`Policy`]'s matter. The time counts from when fence first saw
//! the wish, by the clock that nobody sets and for as long as fence runs. How much has passed is on disk, so that
//! neither a restart of fence nor another time of day begins it anew or ends it early.

use std::collections::HashSet;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::entry::Entry;
use super::repair::Subject;
use super::{Error, Policy, Result, Supervisor};
use crate::container::State;

/// How often it is written down how much of the time has passed.
const NOTED_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked for something that runs once the time is up.
const LOOK: Duration = Duration::from_secs(1);
/// How many containers are stopped at a time.
const AT_A_TIME: usize = 8;

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retiring {
    /// RFC 3339.
    pub since: String,
    /// Until what runs is stopped.
    pub seconds_left: u64,
    /// Containers that still run, or are still being made.
    pub active: usize,
    /// Those that do not.
    pub stopped: usize,
}

/// How much of the time has passed.
pub(super) struct Clock {
    since: String,
    /// Before this fence was started.
    before: Duration,
    running: Instant,
    /// How much is on disk.
    noted: Option<Duration>,
}

/// What is on disk of it.
#[derive(Serialize, Deserialize)]
struct Remembered {
    since: String,
    elapsed_ms: u64,
}

impl Clock {
    fn start() -> Clock {
        Clock {
            since: jiff::Timestamp::now().to_string(),
            before: Duration::ZERO,
            running: Instant::now(),
            noted: None,
        }
    }

    /// The one that an earlier fence has begun.
    pub(super) fn load(path: &Path) -> Option<Clock> {
        let read = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            read => read.and_then(|json| serde_json::from_slice(&json).map_err(std::io::Error::from)),
        };
        let remembered: Remembered = read
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "cannot read since when this node is being retired"))
            .ok()?;
        let before = Duration::from_millis(remembered.elapsed_ms);
        Some(Clock {
            since: remembered.since,
            before,
            running: Instant::now(),
            noted: Some(before),
        })
    }

    fn elapsed(&self) -> Duration {
        self.before.saturating_add(self.running.elapsed())
    }

    /// What is to be written down now, given how long it goes on.
    fn news(&mut self, timeout: Duration) -> Option<Remembered> {
        let elapsed = self.elapsed();
        let is_due = self.noted.is_none_or(|noted| {
            // Nothing changes any more once the time is up.
            noted < timeout && (elapsed >= timeout || elapsed.saturating_sub(noted) >= NOTED_EVERY)
        });
        is_due.then(|| {
            self.noted = Some(elapsed);
            Remembered {
                since: self.since.clone(),
                elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            }
        })
    }
}

impl Supervisor {
    /// Retire the node whenever that is wanted. Runs for ever.
    pub async fn retire_when_wanted(&self) {
        let mut policy = self.parts().policy.clone();
        loop {
            let now = policy.borrow_and_update().clone();
            let pause = match now.retire {
                Some(timeout) => self.retire(timeout).await,
                None => self.serve(&now).await,
            };
            tokio::select! {
                changed = policy.changed() => if changed.is_err() {
                    // Nothing tells of the config any more, which is only when the runtime ends.
                    return std::future::pending().await;
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// How far it is, where the node is being retired.
    pub(super) fn retirement(&self) -> Option<Retiring> {
        let timeout = self.policy().retire?;
        let entries = self.entries();
        let is_active = |entry: &&Arc<Entry>| runs(entry) || entry.record().state == State::Creating;
        let active = entries.iter().filter(is_active).count();
        let is_stopped = |entry: &&Arc<Entry>| entry.record().state == State::Stopped && !runs(entry);
        let retiring = self.retiring();
        let left = retiring
            .as_ref()
            .map_or(timeout, |clock| timeout.saturating_sub(clock.elapsed()));
        Some(Retiring {
            since: retiring.as_ref().map_or_else(String::new, |clock| clock.since.clone()),
            // None are left only when it is over.
            seconds_left: left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
            active,
            stopped: entries.iter().filter(is_stopped).count(),
        })
    }

    /// Whether anything new may be started.
    pub(super) fn check_in_service(&self) -> Result<()> {
        match self.policy().retire {
            Some(_) => Err(Error::Retiring),
            None => Ok(()),
        }
    }

    /// Whether what there is may go on.
    pub(super) fn check_time_left(&self) -> Result<()> {
        let Some(timeout) = self.policy().retire else {
            return Ok(());
        };
        match self.retiring().as_ref() {
            Some(clock) if clock.elapsed() >= timeout => Err(Error::Retiring),
            Some(_) | None => Ok(()),
        }
    }

    /// One step of retiring; says when the next is due.
    async fn retire(&self, timeout: Duration) -> Duration {
        let (elapsed, news) = {
            let mut retiring = self.retiring();
            let clock = retiring.get_or_insert_with(|| {
                tracing::info!(
                    timeout = timeout.as_secs(),
                    "this node is being retired: it takes nothing new"
                );
                Clock::start()
            });
            (clock.elapsed(), clock.news(timeout))
        };
        if let Some(news) = news {
            self.remember(Some(news)).await;
        }
        let left = timeout.saturating_sub(elapsed);
        if !left.is_zero() {
            return left.min(NOTED_EVERY);
        }
        self.stop_what_runs().await;
        LOOK
    }

    /// The node is in service.
    async fn serve(&self, policy: &Policy) -> Duration {
        // What is known of a tree that cannot be read says nothing about a wish.
        if !policy.config.stale && self.retiring().take().is_some() {
            tracing::info!("this node is no longer being retired");
            self.repairs()
                .keep(|subject, _| !matches!(subject, Subject::Retired(_)));
            self.remember(None).await;
        }
        // The next change of the policy comes first.
        Duration::MAX
    }

    async fn stop_what_runs(&self) {
        let running: Vec<Arc<Entry>> = self.entries().into_iter().filter(|entry| runs(entry)).collect();
        let known: HashSet<&str> = running.iter().map(|entry| entry.instance.as_str()).collect();
        self.repairs().keep(|subject, _| match subject {
            Subject::Retired(instance) => known.contains(instance.as_str()),
            _ => true,
        });
        let stops = stream::iter(&running).for_each_concurrent(AT_A_TIME, |entry| self.stop_retired(entry));
        stops.await;
    }

    /// Stop one, unless it is too soon after a try that failed.
    async fn stop_retired(&self, entry: &Arc<Entry>) {
        let subject = Subject::Retired(entry.instance.clone());
        let waits = {
            let mut repairs = self.repairs();
            repairs.has_failed(&subject) && !repairs.is_due(&subject, Instant::now())
        };
        if waits {
            return;
        }
        let (supervisor, one) = (self.clone(), entry.clone());
        let stopped = self.to_the_end(async move {
            let _life = one.life.lock().await;
            // Cancelled, or its end, while others were stopped.
            if supervisor.check_time_left().is_ok() || !runs(&one) {
                return Ok(());
            }
            tracing::info!(handle = %one.handle, "stopping: this node is retired");
            supervisor.stop_entry(&one, false, "the node is retired").await
        });
        match stopped.await {
            Ok(()) => self.repairs().done(&subject),
            Err(error) => {
                let what = format!(
                    "container {} could not be stopped, although this node is retired",
                    entry.handle
                );
                self.repairs().failed(&subject, Instant::now(), what, error.chain());
            }
        }
    }

    /// Write it down, or that there is none. Where that fails, the time is counted as long as this fence runs.
    async fn remember(&self, news: Option<Remembered>) {
        let path = self.parts().retiring.clone();
        let written = tokio::task::spawn_blocking(move || match news {
            Some(news) => write(&path, &news),
            None => match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        });
        let written = written.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        if let Err(error) = written {
            let path = self.parts().retiring.display();
            tracing::warn!(%path, %error, "could not write down how far this node is being retired");
        }
    }
}

/// Whether anything runs in it, or is meant to.
fn runs(entry: &Entry) -> bool {
    match entry.record().state {
        State::Active => true,
        State::Stopped => entry.processes().iter().any(|process| process.exit().is_none()),
        State::Creating | State::Lost | State::Destroying => false,
    }
}

fn write(path: &PathBuf, news: &Remembered) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(news)?)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod fixture_tests {
    use fixtures::{kept, pin, with_additions};

    use super::*;

    #[test]
    fn what_each_version_has_waited_is_not_waited_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("retiring.json");
        let news = Remembered {
            since: "2026-01-02T03:04:05Z".into(),
            elapsed_ms: 60_000,
        };
        write(&path, &news).unwrap();
        pin("retiring.json", &std::fs::read_to_string(&path).unwrap());
        for version in kept("retiring.json") {
            for text in [version.text.clone(), with_additions(&version.text)] {
                std::fs::write(&path, text).unwrap();
                let clock = Clock::load(&path).unwrap();
                assert_eq!(clock.since, "2026-01-02T03:04:05Z");
                assert!(clock.elapsed() >= Duration::from_secs(60), "of {}", version.version);
            }
        }
    }

    #[test]
    fn what_cannot_be_read_counts_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("retiring.json");
        assert!(Clock::load(&path).is_none());
        for text in ["", "{", "[]", r#"{"since":1}"#, r#"{"since":"x","elapsed_ms":-1}"#] {
            std::fs::write(&path, text).unwrap();
            assert!(Clock::load(&path).is_none(), "{text}");
        }
    }
}
