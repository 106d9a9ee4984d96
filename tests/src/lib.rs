//! What the stories share: a Garden client of their own, and the harness that starts nodes for them.
//!
//! Nothing here depends on a crate of the workspace: a story sees the programs as their users do, over the command line, the
//! sockets, Docker and the files on disk. A mistake in a type of ours can therefore not hide in its own test.
//!
//! - [`garden`]: the Garden API as its Go client really speaks it.
//! - [`harness`]: nodes under temporary roots, the programs, the base image, waiting, Docker, cgroups.
//! - [`torture`]: a daemon that is killed at its fault points under load, and what is left then.
//! - [`source`]: reading the workspace's Rust sources, for `tests/architecture.rs`.

pub mod garden;
pub mod harness;
pub mod source;
pub mod torture;
