//! From Garden's words to the supervisor's and back. Pure: what cannot be said in the supervisor's words, or would not
//! be kept, is refused here with a message that says so.
//!
//! Accepted without effect, as Garden's own server does where it has no quota, shaping or denied networks: disk and
//! bandwidth limits, net-out rules, and the `limits` of a process without an image of its own.

mod container;
mod metrics;
mod process;

pub use container::{container_info, container_spec, grace_time, port_mapping, properties};
pub use metrics::metrics;
pub use process::{process_spec, window_size};

type Result<T> = std::result::Result<T, super::Error>;
