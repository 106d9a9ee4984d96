//! Bringing an image to many nodes: pulled in waves, and rolled out so that a bad one is put back.
//!
//! ```text
//!  administrator ──▶ images/job/ID ──▶ leader ──▶ wanted/NODE/images ──▶ node's agent ──▶ its Docker, its fence
//!                                        │ ▲                                   │
//!               images/progress/ID ◀─────┘ └──────── state/NODE/images ◀───────┘
//! ```
//!
//! | module | its job |
//! | --- | --- |
//! | [`job`] | what is to be done, and how far it is |
//! | [`wish`], [`told`] | what a node is to do, and what it says of its images |
//! | [`pull`], [`rollout`] | the next step of a job; pure |
//! | [`unreadable`] | a rollout that no leader can read is given up by hand |
//! | [`eyes`] | how nodes are, as it changes |
//! | [`lead`] | the leader's: looks, takes the next step, writes it |
//! | [`node`] | the node's: does what is wished, and keeps house |
//!
//! All state is in the store, so that a leader that dies is followed by one that goes on. A node keeps only which images it
//! has had to do with, for its housekeeping.

pub mod eyes;
pub mod job;
pub mod lead;
#[cfg(test)]
mod lead_tests;
pub mod node;
pub mod pull;
pub mod rollout;
#[cfg(test)]
mod rollout_tests;
pub mod told;
pub mod unreadable;
pub mod wish;
