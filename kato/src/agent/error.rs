//! Why an order to the agent was not carried out.

use cluster::process::{Observed, Process};

use super::memory;

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node has no such process.
    #[error("{process} is no process of this node")]
    NotHere { process: Process },
    /// Somebody else starts and stops it.
    #[error("{process} was on this machine before it became a node and is not started or stopped by kato")]
    External { process: Process },
    /// It is not as it was to be, in time or at all.
    #[error("{}", describe(seen, *running))]
    NotAsWanted {
        seen: Box<Observed>,
        running: bool,
        log: Vec<String>,
    },
    /// The order could not be remembered; nothing was done.
    #[error("could not remember what is wanted of {process}")]
    Memory { process: Process, source: memory::Error },
}

/// The result of an order.
pub type Result<T> = std::result::Result<T, Error>;

fn describe(seen: &Observed, running: bool) -> String {
    let what = if running { "is not ready" } else { "did not stop" };
    let Observed {
        process,
        state,
        problem,
        ..
    } = seen;
    if problem.is_empty() {
        format!("{process} {what}: it is {state}")
    } else {
        format!("{process} {what}: it is {state}: {problem}")
    }
}
