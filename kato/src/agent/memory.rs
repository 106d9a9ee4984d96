//! What the agent remembers on disk: what is wanted of each process, which process of the system it is, and which order
//! from elsewhere was the last that was done.
//!
//! The file is written whole before an effect is acknowledged, so that an agent that was killed at any moment comes
//! up with what it had promised. Without the file everything of the node's roles is wanted.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cluster::files;
use cluster::process::{Answered, Process};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::process_control::Identity;

/// The format of the file that this version writes and reads.
const FORMAT: u32 = 1;
/// The largest file that is read.
const MAX_BYTES: u64 = 256 * 1024;

/// Why the agent could not remember.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("could not read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The file is not what it should be.
    #[error("{} is not what an agent wrote", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    /// A later version of the agent wrote the file.
    #[error("{} has format {format}, and this version knows none above {FORMAT}", path.display())]
    Format { path: PathBuf, format: u32 },
    /// The file could not be written.
    #[error("could not write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// What is wanted of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Whether it shall run.
    pub run: bool,
    /// Raised by each restart that was asked for.
    pub generation: u64,
}

impl Default for Wish {
    fn default() -> Self {
        Wish {
            run: true,
            generation: 0,
        }
    }
}

/// A process that was started or adopted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Which of the system's processes it is.
    pub identity: Identity,
    /// The wish it was started for.
    pub generation: u64,
    /// When it was started.
    pub since: Timestamp,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Entry {
    wish: Wish,
    running: Option<Running>,
    /// What became of the last order from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<Answered>,
}

/// The file as it is written.
#[derive(Debug, Serialize)]
struct Content {
    format: u32,
    processes: BTreeMap<Process, Entry>,
}

/// The file as it is read.
#[derive(Deserialize)]
struct Found {
    processes: BTreeMap<String, Value>,
}

/// The agent's memory.
pub struct Memory {
    path: PathBuf,
    content: Mutex<BTreeMap<Process, Entry>>,
}

impl Memory {
    /// Read the file, or begin where there is none.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let processes = match files::read_limited(path, MAX_BYTES) {
            Ok(bytes) => parse(path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => {
                return Err(Error::Read {
                    path: path.to_path_buf(),
                    source,
                });
            }
        };
        Ok(Memory {
            path: path.to_path_buf(),
            content: Mutex::new(processes),
        })
    }

    /// What is wanted of a process.
    pub fn wish(&self, process: Process) -> Wish {
        self.lock().get(&process).map(|entry| entry.wish).unwrap_or_default()
    }

    /// The process that was last started, whether or not it still lives.
    pub fn running(&self, process: Process) -> Option<Running> {
        self.lock().get(&process).and_then(|entry| entry.running.clone())
    }

    /// All processes that were last started.
    pub fn all_running(&self) -> Vec<(Process, Running)> {
        let content = self.lock();
        content
            .iter()
            .filter_map(|(process, entry)| Some((*process, entry.running.clone()?)))
            .collect()
    }

    /// Remember what is wanted.
    pub fn set_wish(&self, process: Process, wish: Wish) -> Result<(), Error> {
        self.change(process, |entry| entry.wish = wish)
    }

    /// Remember which process it is, or that there is none.
    pub fn set_running(&self, process: Process, running: Option<Running>) -> Result<(), Error> {
        self.change(process, |entry| entry.running = running)
    }

    /// What became of the last order from elsewhere that was done.
    pub fn order(&self, process: Process) -> Option<Answered> {
        self.lock().get(&process).and_then(|entry| entry.order.clone())
    }

    /// Remember what became of an order.
    pub fn set_order(&self, process: Process, answered: Answered) -> Result<(), Error> {
        self.change(process, |entry| entry.order = Some(answered))
    }

    fn change(&self, process: Process, change: impl FnOnce(&mut Entry)) -> Result<(), Error> {
        let mut content = self.lock();
        let mut changed = content.clone();
        change(changed.entry(process).or_default());
        let file = Content {
            format: FORMAT,
            processes: changed,
        };
        let failed = |source| Error::Write {
            path: self.path.clone(),
            source,
        };
        let bytes = serde_json::to_vec_pretty(&file).map_err(|error| failed(error.into()))?;
        files::write_atomic(&self.path, &bytes, 0o600).map_err(failed)?;
        *content = file.processes;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Process, Entry>> {
        // The map is replaced whole, so that it is sound whoever panicked.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<BTreeMap<Process, Entry>, Error> {
    /// The part that every version can read.
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let unreadable = |source| Error::Parse {
        path: path.to_path_buf(),
        source,
    };
    let head: Head = serde_json::from_slice(bytes).map_err(unreadable)?;
    if head.format > FORMAT {
        return Err(Error::Format {
            path: path.to_path_buf(),
            format: head.format,
        });
    }
    let Found { processes } = serde_json::from_slice(bytes).map_err(unreadable)?;
    // A later version may have looked after others.
    let known = |(name, entry): (String, Value)| Some((name.parse().ok()?, entry));
    let known = processes.into_iter().filter_map(known);
    let read = known.map(|(process, entry)| Ok((process, serde_json::from_value(entry)?)));
    read.collect::<serde_json::Result<_>>().map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn running() -> Running {
        let identity = Identity {
            pid: 7,
            ticks: 8,
            boot: "this".into(),
        };
        Running {
            identity,
            generation: 2,
            since: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_next_agent_finds_what_this_one_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.json");
        let memory = Memory::load(&path).unwrap();
        assert_eq!(
            memory.wish(Process::Fence),
            Wish {
                run: true,
                generation: 0
            }
        );
        let wish = Wish {
            run: false,
            generation: 2,
        };
        memory.set_wish(Process::Fence, wish).unwrap();
        memory.set_running(Process::Fence, Some(running())).unwrap();
        let next = Memory::load(&path).unwrap();
        assert_eq!(
            (next.wish(Process::Fence), next.running(Process::Fence)),
            (wish, Some(running()))
        );
        assert_eq!(next.all_running(), [(Process::Fence, running())]);
        assert_eq!(next.running(Process::Docker), None);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_could_not_be_written_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::load(&directory.path().join("gone/agent.json")).unwrap();
        memory
            .set_wish(
                Process::Fence,
                Wish {
                    run: false,
                    generation: 1,
                },
            )
            .unwrap_err();
        assert_eq!(memory.wish(Process::Fence), Wish::default());
    }

    #[test]
    fn a_file_of_a_later_format_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.json");
        std::fs::write(&path, r#"{"format": 2, "processes": "elsewhere"}"#).unwrap();
        assert!(matches!(Memory::load(&path), Err(Error::Format { format: 2, .. })));
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(Memory::load(&path), Err(Error::Parse { .. })));
    }
}
