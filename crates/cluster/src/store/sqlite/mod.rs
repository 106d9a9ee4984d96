//! The store of a micro cloud: one SQLite file that several processes use at once.
//!
//! Write-ahead logging lets readers go on while one writes; writers wait for each other within a bound. Every change
//! is also a row in a log table, which watches read. After its commit a writer touches a file beside the database;
//! watchers in any process learn of it by inotify, and look by themselves now and then should a writer die in between.
//! All work on the file happens on two threads of the store's own, one for reading and one for writing.
//!
//! The file is opened when it is first needed, and again when another one is in its place: a store that goes away is
//! a retryable error and heals.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::limits;
use super::{Changes, Error, LeaseId, Outcome, Page, Range, Result, Revision, Store, Txn, Watch};

mod connection;
mod leases;
mod notify;
mod statements;
#[cfg(test)]
mod tests;
mod worker;

use notify::Notifier;
use worker::Worker;

/// A store in a SQLite file. Clones share its threads.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    reader: Worker,
    writer: Worker,
    /// Runs from the first watch on.
    notifier: OnceLock<Notifier>,
}

impl SqliteStore {
    /// The store at `path`, opened when it is first needed. Never fails; the calls do.
    pub fn lazy(path: &Path) -> Self {
        let reader = Worker::new("store-read", path);
        let writer = Worker::new("store-write", path);
        SqliteStore {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                reader,
                writer,
                notifier: OnceLock::new(),
            }),
        }
    }

    /// The store that is at `path`.
    pub async fn open(path: &Path) -> Result<Self> {
        let store = SqliteStore::lazy(path);
        store.shared.reader.run("open", |_| Ok(())).await?;
        Ok(store)
    }

    /// The store at `path`, made if there is none, with the directory it is in.
    pub async fn create(path: &Path) -> Result<Self> {
        let place = path.to_owned();
        let made = tokio::task::spawn_blocking(move || connection::create(&place)).await;
        made.map_err(|source| Error::Failed {
            attempt: "create",
            place: path.display().to_string(),
            source: source.into(),
        })??;
        SqliteStore::open(path).await
    }

    /// Do one change; what it returns was committed, and watchers were told.
    async fn write<T: Send + 'static>(
        &self,
        attempt: &'static str,
        change: impl FnOnce(&mut rusqlite::Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shared
            .writer
            .run(attempt, |open| {
                let before = statements::revision(open.connection)?;
                leases::expire(open.connection)?;
                let result = change(open.connection);
                if statements::revision(open.connection)? != before {
                    open.sidecar.touch();
                }
                result
            })
            .await
    }

    /// Take the keys of expired leases away, if there are any.
    async fn expire(&self) -> Result<()> {
        if self
            .shared
            .reader
            .run("look for expired leases in", |open| {
                leases::any_expired(open.connection)
            })
            .await?
        {
            self.write("expire leases", |_| Ok(())).await?;
        }
        Ok(())
    }

    fn notifier(&self) -> &Notifier {
        self.shared.notifier.get_or_init(|| {
            Notifier::start(
                &self.shared.path,
                self.shared.reader.clone(),
                self.shared.writer.clone(),
            )
        })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn range(&self, prefix: &str, page: Page) -> Result<Range> {
        limits::check_prefix(prefix)?;
        self.expire().await?;
        let prefix = prefix.to_owned();
        self.shared
            .reader
            .run("read", move |open| statements::range(open.connection, &prefix, page))
            .await
    }

    async fn txn(&self, txn: Txn) -> Result<Outcome> {
        limits::check_txn(&txn)?;
        self.write("change", move |connection| statements::txn(connection, &txn))
            .await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        limits::check_prefix(prefix)?;
        let opening = self.shared.reader.run("watch", move |open| {
            statements::check_after(open.connection, after)?;
            Ok(open.generation)
        });
        let generation = opening.await?;
        let (sender, watch) = Watch::channel();
        let feeder = Feeder {
            reader: self.shared.reader.clone(),
            news: self.notifier().subscribe(),
            prefix: prefix.to_owned(),
            after,
            generation,
            sender,
            _store: self.shared.clone(),
        };
        tokio::spawn(feeder.run());
        Ok(watch)
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        self.write("compact", move |connection| statements::compact(connection, through))
            .await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        limits::check_ttl(ttl)?;
        self.write("grant a lease", move |connection| leases::grant(connection, ttl))
            .await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.write("keep a lease alive", move |connection| {
            leases::keep_alive(connection, lease)
        })
        .await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.write("revoke a lease", move |connection| leases::revoke(connection, lease))
            .await
    }
}

/// Feeds one watch.
struct Feeder {
    reader: Worker,
    news: notify::News,
    prefix: String,
    after: Revision,
    /// The opening of the file that `after` belongs to.
    generation: u64,
    sender: mpsc::Sender<Result<Changes>>,
    /// The watch keeps the notifier alive.
    _store: Arc<Shared>,
}

impl Feeder {
    /// Until the reader of the watch is gone or it cannot go on.
    async fn run(mut self) {
        loop {
            self.news.seen();
            match self.pass_on().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // The reader may be gone as well; then nobody wants to know.
                    let _ = self.sender.send(Err(error)).await;
                    return;
                }
            }
            tokio::select! {
                () = self.news.wait() => {}
                () = self.sender.closed() => return,
            }
        }
    }

    /// Pass on all there is; whether somebody still reads.
    async fn pass_on(&mut self) -> Result<bool> {
        loop {
            let (prefix, after, generation) = (self.prefix.clone(), self.after, self.generation);
            let read = self.reader.run("watch", move |open| {
                if open.generation != generation {
                    return Err(open.replaced());
                }
                statements::changes(open.connection, &prefix, after)
            });
            let page = read.await?;
            for changes in page.changes {
                if self.sender.send(Ok(changes)).await.is_err() {
                    return Ok(false);
                }
            }
            self.after = page.through;
            if !page.more {
                return Ok(true);
            }
        }
    }
}
