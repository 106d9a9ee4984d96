//! Every change as it comes, with who made it: the records followed.
//!
//! ```text
//!   start ──▶ following ◀──────────── opened again at the last revision seen
//!                 │  error: told once        │
//!                 └──────────▶ lost ─────────┘  a little later, again and again
//! ```
//!
//! Nothing is kept on disk, and nothing that was changed before the start is told. A record that cannot be read is told of as
//! such, and passed over.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use super::history::{self, HISTORY, Record};
use super::{Config, Error, Result, Schema};
use crate::store::{Changes, Event, Page, Revision, Watch};

/// How long to wait before a store that is gone is tried again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Something new.
#[derive(Debug)]
pub enum News {
    /// A layer was changed.
    Changed(Record),
    /// A layer was changed, and what the store holds of it cannot be read. It is passed over.
    Unreadable(Error),
    /// The store cannot be followed just now; changes are told when it is back.
    Lost(Error),
    /// The store is followed again.
    Back,
}

/// Tells changes from its making on.
#[derive(Debug)]
pub struct Follow {
    config: Config,
    watch: Option<Watch>,
    /// The revision up to which all is told or pending.
    seen: Revision,
    /// The number of the last record that is told or pending.
    last: u64,
    pending: VecDeque<News>,
    is_lost: bool,
    /// Before the next try. Short again once something came.
    pause: Duration,
}

impl Config {
    /// Follow the changes from now on.
    pub async fn follow(&self) -> Result<Follow> {
        let mut follow = Follow {
            config: self.clone(),
            watch: None,
            seen: 0,
            last: 0,
            pending: VecDeque::new(),
            is_lost: false,
            pause: PAUSE.0,
        };
        (follow.seen, follow.last) = follow.present().await?;
        follow.open().await?;
        Ok(follow)
    }
}

impl Follow {
    /// Wait for something new.
    pub async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.pending.pop_front() {
                return news;
            }
            match self.step().await {
                Ok(()) if self.is_lost => {
                    self.is_lost = false;
                    return News::Back;
                }
                Ok(()) => {}
                Err(error) if !self.is_lost => {
                    self.is_lost = true;
                    return News::Lost(error);
                }
                Err(_) => {}
            }
        }
    }

    /// Open what is closed, or wait for changes. After an error some time passes before the next try.
    async fn step(&mut self) -> Result<()> {
        let Some(watch) = &mut self.watch else {
            if self.is_lost {
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).min(PAUSE.1);
            }
            return self.open().await;
        };
        match watch.next().await {
            Ok(changes) => {
                self.take(changes);
                Ok(())
            }
            Err(error) => {
                self.watch = None;
                Err(failed(error))
            }
        }
    }

    async fn open(&mut self) -> Result<()> {
        let mut opened = self.config.store.watch(HISTORY, self.seen).await;
        if matches!(&opened, Err(error) if error.needs_new_range()) {
            self.catch_up().await?;
            opened = self.config.store.watch(HISTORY, self.seen).await;
        }
        self.watch = Some(opened.map_err(failed)?);
        Ok(())
    }

    fn take(&mut self, changes: Changes) {
        for event in changes.events {
            if let Event::Put { key, value } = event {
                self.last = history::number(&key).unwrap_or(0).max(self.last);
                self.pending
                    .push_back(news(&key, &value, changes.revision, self.config.schema));
            }
        }
        self.seen = changes.revision;
        self.pause = PAUSE.0;
    }

    /// Read the records that no watch tells any more. A store that has none of them is another one than before.
    async fn catch_up(&mut self) -> Result<()> {
        let (seen, newest) = self.present().await?;
        let (told, mut missed) = (self.last, VecDeque::new());
        if newest > told {
            let schema = self.config.schema;
            history::walk_entries(self.config.store.as_ref(), Some(newest), |number, entry| {
                if number <= told {
                    return ControlFlow::Break(());
                }
                missed.push_front(news(&entry.key, &entry.value, entry.revision, schema));
                ControlFlow::Continue(())
            })
            .await?;
        }
        self.pending.extend(missed);
        (self.seen, self.last) = (seen, newest);
        Ok(())
    }

    /// The store's revision, and the number of the newest record.
    async fn present(&self) -> Result<(Revision, u64)> {
        let newest = Page {
            limit: 1,
            descending: true,
        };
        let range = self.config.store.range(HISTORY, newest).await.map_err(failed)?;
        let newest = range.entries.first().map(|entry| history::number(&entry.key));
        Ok((range.revision, newest.transpose()?.unwrap_or(0)))
    }
}

fn news(key: &str, value: &[u8], revision: Revision, schema: &Schema) -> News {
    match Record::read(key, value, revision, schema) {
        Ok(record) => News::Changed(record),
        Err(error) => News::Unreadable(error),
    }
}

fn failed(source: crate::store::Error) -> Error {
    Error::Store {
        attempt: "follow",
        source,
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
