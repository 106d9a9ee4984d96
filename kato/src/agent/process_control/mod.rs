//! Starting, watching and ending processes, in the agent's words.
//!
//! [`ProcessControl`] is the boundary: [`own`] has processes that the agent started itself, [`systemd`] those that it
//! has systemd start. What is wanted and what follows from an end is the worker's
//! matter, and so is remembering an [`Identity`] on disk. Every home, the tests' fake included, passes `conformance`.

#[cfg(test)]
pub mod conformance;
#[cfg(test)]
pub mod fake;
pub mod own;
pub mod systemd;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cluster::nodes::Paths;
use cluster::process::Process;
use serde::{Deserialize, Serialize};

/// How a process is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Which it is.
    pub process: Process,
    /// The program, by its path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The unit that stands for it where systemd starts it; the unit's file then says how.
    pub unit: String,
    /// Where its output goes; the file is appended to.
    pub log: PathBuf,
    /// Where it is started, if that matters to it.
    pub place: Option<Place>,
}

/// A directory that a program is started in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub directory: PathBuf,
    /// The socket that it makes there. One that was killed leaves it behind, and it is in the way of the next.
    pub socket: PathBuf,
}

/// Who starts the processes of this node.
pub fn of_node(paths: &Paths) -> Arc<dyn ProcessControl> {
    if systemd::manages(paths) {
        Arc::new(systemd::SystemdUnits::default())
    } else {
        Arc::new(own::OwnProcesses::default())
    }
}

/// One process of the system beyond doubt: a pid alone is used again after a while.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Its process id.
    pub pid: u32,
    /// When it was started, in clock ticks since the system was.
    pub ticks: u64,
    /// Which start of the system that was.
    pub boot: String,
}

/// How a process ended, as far as it can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// Unknown: somebody else collected it.
    Unknown,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Code(code) => write!(formatter, "it ended with exit code {code}"),
            End::Signal(signal) => write!(formatter, "it was ended by signal {signal}"),
            End::Unknown => formatter.write_str("it ended"),
        }
    }
}

/// How a process is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// In its own time (SIGTERM).
    End,
    /// At once (SIGKILL).
    Die,
}

/// Why a process could not be started, watched or ended.
#[derive(Debug, thiserror::Error)]
#[error("could not {attempt}")]
pub struct Error {
    /// What was attempted, on what.
    pub attempt: String,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;

/// Starts, watches and ends processes. What it started goes on when it is gone.
#[async_trait]
pub trait ProcessControl: Send + Sync {
    /// Start a process.
    async fn start(&self, launch: &Launch) -> Result<Identity>;

    /// The process that has this pid now, where there is one that lives.
    async fn identify(&self, pid: u32) -> Result<Option<Identity>>;

    /// Whether this very process runs the program of this launch.
    async fn runs(&self, process: &Identity, launch: &Launch) -> Result<bool>;

    /// Wait until this very process has ended; at once where it has.
    async fn ended(&self, process: &Identity) -> Result<End>;

    /// Tell this very process to end. One that has ended already was told enough.
    async fn ask(&self, process: &Identity, ask: Ask) -> Result<()>;

    /// Whether this very process lives.
    async fn is_alive(&self, process: &Identity) -> Result<bool> {
        Ok(self.identify(process.pid).await?.as_ref() == Some(process))
    }
}
