//! The output of containers' processes, kept on the node's disk with its time and where it came from.
//!
//! A [`Log`] is one container's: files that are rotated, a line of JSON an entry. Each entry says how far in its stream it
//! reaches, so that output which comes again after a crash is known. [`Lines`] cuts output into entries, [`Pace`] says
//! how fast that may go. Who reads which process, and when, is the supervisor's business.

mod entry;
mod files;
mod lines;
mod log;
mod pace;
mod read;
mod store;
#[cfg(test)]
mod tests;

pub use entry::{Entry, Piece, Place};
pub use lines::Lines;
pub use log::Log;
pub use pace::Pace;
pub use read::{Batch, Filter, Position};
pub use store::Store;

/// How much is kept, and how fast it may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The size of one file, in bytes.
    pub file_bytes: u64,
    /// The files of one container.
    pub files: u64,
    /// What one container may write in a second, in bytes.
    pub rate: u64,
    /// All of a node's files, in bytes; a container that writes beyond that keeps one file.
    pub total_bytes: u64,
}

#[cfg(test)]
impl Rules {
    /// Rules for tests.
    pub(crate) fn sample() -> Rules {
        Rules {
            file_bytes: 64 << 10,
            files: 3,
            rate: 1 << 20,
            total_bytes: 1 << 30,
        }
    }
}
