//! How a change in one process wakes the watches of another: a file beside the database, touched after the commit.
//!
//! Watching the database's own files would wake too early, before the commit can be seen. inotify tells of the touch
//! within a millisecond; should a writer die between commit and touch, or inotify not be had, a look now and then
//! finds the change as well.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::worker::{Open, Worker};
use super::{leases, statements};
use crate::store::Result;

/// How often to look where inotify tells of changes.
const SLOW_LOOK: Duration = Duration::from_millis(500);
/// How often to look where it does not.
const QUICK_LOOK: Duration = Duration::from_millis(20);
/// Room for the events of one read; they all say the same.
const EVENT_BUFFER: usize = 1024;

/// The file beside the database, as those see it who make changes.
#[derive(Debug)]
pub struct Sidecar {
    path: PathBuf,
    file: Option<File>,
}

impl Sidecar {
    /// The one that belongs to the database at `database`.
    pub fn new(database: &Path) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-changed");
        Sidecar {
            path: path.into(),
            file: None,
        }
    }

    /// Tell everyone that something was committed. If that fails they find out later by themselves.
    pub fn touch(&mut self) {
        if let Err(error) = self.try_touch() {
            tracing::debug!(%error, path = %self.path.display(), "could not tell other processes of a change at once");
            self.file = None;
        }
    }

    fn try_touch(&mut self) -> io::Result<()> {
        let file = match self.file.take() {
            // Someone may have removed it; new watchers would not hear of the old one.
            Some(file) if file.metadata()?.nlink() > 0 => file,
            _ => self.open()?,
        };
        file.set_modified(SystemTime::now())?;
        self.file = Some(file);
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
    }
}

/// Tells the watches of this process that there may be something new.
#[derive(Debug)]
pub struct Notifier {
    news: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Notifier {
    /// Start to listen for changes of the database at `database`.
    pub fn start(database: &Path, reader: Worker, writer: Worker) -> Self {
        let (news, _) = watch::channel(());
        let listener = Listener {
            sidecar: Sidecar::new(database),
            reader,
            writer,
            news: news.clone(),
            version: None,
        };
        Notifier {
            news,
            task: tokio::spawn(listener.run()),
        }
    }

    /// News from now on.
    pub fn subscribe(&self) -> News {
        News(self.news.subscribe())
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says that there may be something new, to one watch.
#[derive(Debug)]
pub struct News(watch::Receiver<()>);

impl News {
    /// What comes from now on is new.
    pub fn seen(&mut self) {
        self.0.borrow_and_update();
    }

    /// Wait until there may be something new.
    pub async fn wait(&mut self) {
        // The sender lives as long as the store, which every watch holds.
        let _ = self.0.changed().await;
    }
}

struct Listener {
    sidecar: Sidecar,
    reader: Worker,
    writer: Worker,
    news: watch::Sender<()>,
    /// What SQLite last said of changes by others, and of which opening; none of it while the store is gone. `None`
    /// before the first look, which always has something new: the store may have gone since a watch was opened.
    version: Option<Option<(i64, u64)>>,
}

impl Listener {
    async fn run(mut self) {
        let mut events = None;
        let mut look_at = Instant::now();
        loop {
            tokio::select! {
                event = next(&mut events) => match event {
                    Some(Ok(_)) => { self.news.send_replace(()); }
                    // Broken: listen anew with the next look.
                    Some(Err(_)) | None => events = None,
                },
                () = tokio::time::sleep_until(look_at) => {
                    if !self.is_listening(&mut events) {
                        events = self.events();
                    }
                    if self.has_changed().await {
                        self.news.send_replace(());
                    }
                    let is_deaf = events.is_none() && self.version.flatten().is_some();
                    look_at = Instant::now() + if is_deaf { QUICK_LOOK } else { SLOW_LOOK };
                }
            }
        }
    }

    fn events(&self) -> Option<EventStream<Vec<u8>>> {
        let listen = || {
            let inotify = Inotify::init()?;
            // It must be there to be watched.
            self.sidecar.open()?;
            inotify
                .watches()
                .add(&self.sidecar.path, WatchMask::ATTRIB | WatchMask::MODIFY)?;
            inotify.into_event_stream(vec![0; EVENT_BUFFER])
        };
        match listen() {
            Ok(events) => Some(events),
            Err(error) => {
                tracing::debug!(%error, "no word of changes by inotify, looking often instead");
                None
            }
        }
    }

    /// Make sure that the file that is at the path now is listened to; the same file twice is once.
    fn is_listening(&self, events: &mut Option<EventStream<Vec<u8>>>) -> bool {
        let Some(events) = events else { return false };
        let mask = WatchMask::ATTRIB | WatchMask::MODIFY;
        self.sidecar.open().is_ok() && events.watches().add(&self.sidecar.path, mask).is_ok()
    }

    /// Look for changes nobody told of, expire leases, and notice a store that comes or goes.
    async fn has_changed(&mut self) -> bool {
        let version = Some(self.look().await.ok());
        std::mem::replace(&mut self.version, version) != version
    }

    async fn look(&self) -> Result<(i64, u64)> {
        let look = |open: &mut Open<'_>| {
            let version = (statements::data_version(open.connection)?, open.generation);
            Ok((version, leases::any_expired(open.connection)?))
        };
        let (version, expired) = self.reader.run("look for changes in", look).await?;
        if expired {
            self.expire().await?;
        }
        Ok(version)
    }

    async fn expire(&self) -> Result<()> {
        let expire = |open: &mut Open<'_>| {
            leases::expire(open.connection)?;
            open.sidecar.touch();
            Ok(())
        };
        self.writer.run("expire leases in", expire).await
    }
}

/// The next event; without a stream there never is one.
async fn next(events: &mut Option<EventStream<Vec<u8>>>) -> Option<io::Result<inotify::EventOwned>> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}
