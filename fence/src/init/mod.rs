//! Fence's side of the talk with the first process of each container, fence-init.
//!
//! A [`Link`] stands for one container: it listens on the container's socket, lets in nobody but the container's own
//! first process, and offers its processes as [`Process`] and their output as [`OutputReader`]. It survives the
//! connection: init comes back by itself and says what runs. Which container it is, what its state means and what is
//! written down is the supervisor's business.

mod attachment;
mod binary;
mod control;
mod error;
#[cfg(test)]
mod hostile_tests;
mod lease;
mod link;
mod listener;
mod output;
mod process;
#[cfg(test)]
mod resume_tests;
mod session;

pub use attachment::Attachment;
pub use binary::InitBinary;
pub use control::{InputSource, ProcessControl, Written};
pub use error::{Error, Result};
pub use fence_init::protocol::{Exit, Stream};
pub use link::{Link, LinkEvent};
pub use output::{Chunk, OutputReader};
pub use process::Process;
