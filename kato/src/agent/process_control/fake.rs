//! Processes in memory, for tests of what is built on [`ProcessControl`]; held to the same suite as the real ones.
//!
//! A program's file name says how it behaves, so that a table of launches is all a test needs: `stubborn`, `missing`,
//! `exit-N`, anything else is obedient.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Ask, End, Error, Identity, Launch, ProcessControl, Result};

/// A system whose processes are entries of a map.
#[derive(Default)]
pub struct FakeProcesses {
    table: Mutex<Vec<Entry>>,
}

struct Entry {
    identity: Identity,
    name: String,
    end: watch::Sender<Option<End>>,
}

impl FakeProcesses {
    fn table(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.table.lock().unwrap()
    }

    /// The pids of all that live, by the program's name.
    pub fn alive(&self) -> HashMap<String, u32> {
        let table = self.table();
        table
            .iter()
            .filter(|e| e.end.borrow().is_none())
            .map(|e| (e.name.clone(), e.identity.pid))
            .collect()
    }

    /// The names of all that were ever started, in that order.
    pub fn started(&self) -> Vec<String> {
        self.table().iter().map(|entry| entry.name.clone()).collect()
    }

    /// Let the process of this name die.
    pub fn crash(&self, name: &str, end: End) {
        let table = self.table();
        for entry in table
            .iter()
            .filter(|entry| entry.name == name && entry.end.borrow().is_none())
        {
            entry.end.send_replace(Some(end));
        }
    }
}

#[async_trait]
impl ProcessControl for FakeProcesses {
    async fn start(&self, launch: &Launch) -> Result<Identity> {
        let name = launch.program.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "missing" {
            let source = io::Error::from(io::ErrorKind::NotFound);
            return Err(Error {
                attempt: format!("start {name}"),
                source,
            });
        }
        let code = name.strip_prefix("exit-").map(|code| End::Code(code.parse().unwrap()));
        let mut table = self.table();
        let number = u32::try_from(table.len()).unwrap();
        let identity = Identity {
            pid: 1000 + number,
            ticks: 7 + u64::from(number),
            boot: "this".into(),
        };
        table.push(Entry {
            identity: identity.clone(),
            name,
            end: watch::Sender::new(code),
        });
        Ok(identity)
    }

    async fn identify(&self, pid: u32) -> Result<Option<Identity>> {
        let table = self.table();
        let found = table
            .iter()
            .find(|entry| entry.identity.pid == pid && entry.end.borrow().is_none());
        Ok(found.map(|entry| entry.identity.clone()))
    }

    async fn runs(&self, process: &Identity, launch: &Launch) -> Result<bool> {
        let name = launch.program.file_name().and_then(|name| name.to_str());
        let table = self.table();
        let alive = |entry: &&Entry| entry.identity == *process && entry.end.borrow().is_none();
        Ok(table.iter().find(alive).map(|entry| entry.name.as_str()) == name)
    }

    async fn ended(&self, process: &Identity) -> Result<End> {
        let found = self
            .table()
            .iter()
            .find(|entry| entry.identity == *process)
            .map(|entry| entry.end.subscribe());
        let Some(mut end) = found else { return Ok(End::Unknown) };
        let ended = end.wait_for(Option::is_some).await.unwrap();
        Ok(ended.unwrap())
    }

    async fn ask(&self, process: &Identity, ask: Ask) -> Result<()> {
        let table = self.table();
        let alive = |entry: &&Entry| entry.identity == *process && entry.end.borrow().is_none();
        if let Some(entry) = table.iter().find(alive) {
            match ask {
                Ask::End if entry.name == "stubborn" => {}
                Ask::End => drop(entry.end.send_replace(Some(End::Signal(15)))),
                Ask::Die => drop(entry.end.send_replace(Some(End::Signal(9)))),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;
    use cluster::process::Process;
    use std::path::PathBuf;

    #[tokio::test]
    async fn the_fake_keeps_the_promises() {
        let launch = |name: &str| Launch {
            process: Process::Fence,
            unit: String::new(),
            program: PathBuf::from(name),
            args: Vec::new(),
            log: PathBuf::from("log"),
            place: None,
        };
        let programs = conformance::Programs {
            obedient: launch("fence"),
            stubborn: launch("stubborn"),
            ends_with_3: launch("exit-3"),
            missing: launch("missing"),
        };
        conformance::run(&FakeProcesses::default(), &programs).await;
    }
}
