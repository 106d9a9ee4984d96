//! A thread that owns one connection and does one job after the other, so that no async thread waits for a disk.
//!
//! It opens the file for the first job, and again when the file at the path is another one or the connection failed.
//! The thread ends with the last handle.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::{mpsc, oneshot};

use super::connection;
use super::notify::Sidecar;
use crate::store::{Error, Result};

/// How many jobs may wait.
const QUEUE: usize = 64;
/// How long a caller waits for its job, those before it included.
const PATIENCE: Duration = Duration::from_secs(15);

type Job = Box<dyn FnOnce(&mut Slot) + Send>;

/// A handle to the thread.
#[derive(Clone)]
pub struct Worker {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
}

/// What a job works on.
pub struct Open<'a> {
    pub connection: &'a mut Connection,
    /// Told of changes after their commit.
    pub sidecar: &'a mut Sidecar,
    /// Another number whenever the file was opened anew.
    pub generation: u64,
    path: &'a Path,
}

impl Open<'_> {
    /// What to say to those who knew the file that was here before.
    pub fn replaced(&self) -> Error {
        let source = "the file was opened anew in the meantime".into();
        Error::Unavailable {
            place: connection::place(self.path),
            source,
        }
    }
}

impl Worker {
    /// A thread for the file at `path`; nothing is opened yet.
    pub fn new(name: &str, path: &Path) -> Self {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let mut slot = Slot {
            path: path.to_owned(),
            open: None,
            sidecar: Sidecar::new(path),
            generation: 0,
        };
        let work = move || {
            while let Some(job) = queue.blocking_recv() {
                job(&mut slot);
            }
        };
        if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(work) {
            // The queue went with the closure, so every job fails and says so.
            tracing::error!(%error, "could not start the thread {name}");
        }
        Worker {
            path: path.to_owned(),
            jobs,
        }
    }

    /// Do one job on the thread, within a bounded time.
    pub async fn run<T: Send + 'static>(
        &self,
        attempt: &'static str,
        work: impl FnOnce(&mut Open<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |slot| {
            if !answer.is_closed() {
                // Whoever asked may have given up in the meantime.
                let _ = answer.send(slot.run(work));
            }
        });
        let asked = async {
            self.jobs.send(job).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(Error::Failed {
                attempt,
                place: connection::place(&self.path),
                source: "the store's thread is gone".into(),
            }),
            Err(_) => Err(Error::Busy {
                place: connection::place(&self.path),
                seconds: PATIENCE.as_secs(),
            }),
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worker").field(&self.path).finish()
    }
}

/// The thread's connection, while there is one.
struct Slot {
    path: PathBuf,
    open: Option<(Connection, FileId)>,
    sidecar: Sidecar,
    generation: u64,
}

/// Which file it is: device and inode. The number stays taken as long as the connection holds the file.
type FileId = (u64, u64);

impl Slot {
    fn run<T>(&mut self, work: impl FnOnce(&mut Open<'_>) -> Result<T>) -> Result<T> {
        let metadata = std::fs::metadata(&self.path).map_err(|source| connection::io_error(&self.path, source));
        let present = metadata.map(|metadata| (metadata.dev(), metadata.ino()));
        if self.open.as_ref().map(|(_, opened)| opened) != present.as_ref().ok() {
            self.open = None;
        }
        let (connection, _) = match &mut self.open {
            Some(open) => open,
            None => {
                let opened = (connection::open(&self.path)?, present?);
                self.generation += 1;
                self.open.insert(opened)
            }
        };
        let mut open = Open {
            connection,
            sidecar: &mut self.sidecar,
            generation: self.generation,
            path: &self.path,
        };
        let result = work(&mut open);
        if let Err(Error::Corrupt { .. }) = &result
            && let Some((connection, _)) = &self.open
        {
            // What is damaged is left as it is: closing must not write the log into it. Where even this cannot be set,
            // closing does what it can.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        if let Err(Error::Corrupt { .. } | Error::Unavailable { .. } | Error::Denied { .. }) = &result {
            self.open = None;
        }
        result
    }
}
