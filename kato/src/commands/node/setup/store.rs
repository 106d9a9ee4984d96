//! The config store of a new core: etcd run for the time of the set-up, and filled with what the node had. Whatever broke off is done again from the beginning, since nobody uses the store before the set-up is done.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use cluster::nodes::Paths;
use cluster::process::Process;
use cluster::store::etcd::EtcdStore;
use cluster::store::limits::OPERATION_OVERHEAD;
use cluster::store::{Page, Store, Txn};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::agent::joining::etcd::{Settings, own_store, socket};
use crate::agent::{logs, table};
use crate::commands::node::problem;
use crate::error::{Error, Result};

/// How long etcd may take to come up.
const WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);
/// What is written at once: well within a transaction's limits.
const PART: (usize, usize) = (100, 512 * 1024);
/// How often the old tree is read again when it changes meanwhile.
const TRIES: usize = 5;
/// How many lines of etcd's log are shown when it fails.
const LOG_LINES: usize = 10;

/// etcd, for as long as this lives.
pub struct Temporary {
    child: Child,
    /// The store, with all rights.
    pub store: EtcdStore,
}

impl Temporary {
    /// Run it and wait until it answers.
    pub async fn start(paths: &Paths) -> Result<Self> {
        let log = table::log_file(paths, Process::Config);
        let failed = |error: std::io::Error| Error::failed("could not start etcd").because(error);
        let output = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(failed)?;
        let etcd = table::installed("etcd").unwrap_or_else(|| "etcd".into());
        let mut config = std::ffi::OsString::from("--config-file=");
        config.push(Settings::file(paths));
        // It must not outlive a kato that is killed: it would be in the way of the next one's.
        match std::fs::remove_file(socket(paths)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut child = Command::new("setpriv")
            .current_dir(paths.etcd())
            .arg("--pdeathsig=TERM")
            .arg(etcd)
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            .env_remove("NOTIFY_SOCKET")
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let store = own_store(paths);
        let deadline = Instant::now() + WITHIN;
        loop {
            let ended = child.try_wait().map_err(failed)?;
            let problem = match (ended, store.admin().members().await) {
                (Some(status), _) => format!("etcd ended with {status}"),
                (None, Ok(_)) => return Ok(Temporary { child, store }),
                (None, Err(_)) if Instant::now() < deadline => {
                    sleep(LOOK).await;
                    continue;
                }
                (None, Err(error)) => format!("etcd does not answer: {}", crate::error::chain(&error)),
            };
            return Err(Error::failed(problem).detail(logs::last_lines(&log, LOG_LINES)));
        }
    }

    /// End it.
    pub async fn stop(mut self) -> Result<()> {
        let failed = |error: std::io::Error| Error::failed("could not stop etcd").because(error);
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let told = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
            told.map_err(|errno| failed(errno.into()))?;
        }
        match tokio::time::timeout(WITHIN, self.child.wait()).await {
            Ok(ended) => ended.map(drop).map_err(failed),
            Err(_) => self.child.kill().await.map_err(failed),
        }
    }
}

/// Make `to` what `from` is, keys that live with a lease left out. How many keys there are.
pub async fn copy(from: &dyn Store, to: &Arc<dyn Store>) -> Result<usize> {
    let read = |error| problem::store(error, "could not read the present tree".to_owned());
    let write = |error| problem::store(error, "could not fill the config store".to_owned());
    for _ in 0..TRIES {
        let present = from.range("", Page::ALL).await.map_err(read)?;
        let wanted: BTreeMap<String, Vec<u8>> = present
            .entries
            .into_iter()
            .filter(|entry| entry.lease.is_none())
            .map(|entry| (entry.key, entry.value))
            .collect();
        for txn in parts(&wanted, to.range("", Page::ALL).await.map_err(write)?.entries) {
            to.txn(txn).await.map_err(write)?;
        }
        let first = Page {
            limit: 1,
            descending: false,
        };
        if from.range("", first).await.map_err(read)?.revision == present.revision {
            return Ok(wanted.len());
        }
    }
    Err(Error::failed("the present tree kept changing while it was copied").hint("try again"))
}

/// What is to be written, in parts.
fn parts(wanted: &BTreeMap<String, Vec<u8>>, there: Vec<cluster::store::Entry>) -> Vec<Txn> {
    let there: BTreeMap<String, Vec<u8>> = there.into_iter().map(|entry| (entry.key, entry.value)).collect();
    let mut parts = Vec::new();
    let (mut part, mut bytes) = (Txn::new(), 0);
    for key in there.keys().filter(|key| !wanted.contains_key(*key)) {
        part = part.delete(key);
        if part.operations.len() >= PART.0 {
            parts.push(std::mem::take(&mut part));
        }
    }
    for (key, value) in wanted.iter().filter(|(key, value)| there.get(*key) != Some(value)) {
        let size = key.len() + value.len() + OPERATION_OVERHEAD;
        if part.operations.len() >= PART.0 || (bytes + size > PART.1 && !part.operations.is_empty()) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        part = part.put(key, value.clone());
        bytes += size;
    }
    parts.push(part);
    parts.retain(|part| !part.operations.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::store::limits::check_txn;
    use cluster::store::memory::MemoryStore;

    #[tokio::test]
    async fn a_copy_is_the_same_whatever_was_there() {
        let from = MemoryStore::new();
        for i in 0..350 {
            let value = vec![b'x'; if i % 50 == 0 { 400 * 1024 } else { 10 }];
            from.txn(Txn::new().put(format!("k/{i:03}"), value)).await.unwrap();
        }
        let lease = from.grant(Duration::from_secs(60)).await.unwrap();
        from.txn(Txn::new().put_leased("state/alive", "now", lease))
            .await
            .unwrap();
        let to: Arc<dyn Store> = Arc::new(MemoryStore::new());
        to.txn(Txn::new().put("k/000", "other").put("gone", "x")).await.unwrap();
        for _ in 0..2 {
            assert_eq!(copy(&from, &to).await.unwrap(), 350);
            let copied = to.range("", Page::ALL).await.unwrap().entries;
            assert_eq!(copied.len(), 350);
            assert_eq!(copied[0].value.len(), 400 * 1024);
        }
        let wanted = BTreeMap::from([
            ("a".to_owned(), vec![0; 1024 * 1024]),
            ("b".to_owned(), vec![0; 1024 * 1024]),
        ]);
        let parts = parts(&wanted, Vec::new());
        assert!(parts.len() == 2 && parts.iter().all(|part| check_txn(part).is_ok()));
    }
}
