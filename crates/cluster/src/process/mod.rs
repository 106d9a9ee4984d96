//! The rules of processes and roles: which role has which processes, in which order, and how their states are told.
//!
//! Pure: nothing is started or looked at here. A node's agent acts by these rules and owns what it observes; kato and
//! every other face of the cluster print it.
//!
//! ```text
//!             start                 answers
//!  STOPPED ──────────▶ STARTING ──────────────▶ RUNNING
//!     ▲                   │  ▲                     │ died
//!     │ ended        died │  │ waited              │
//!     │                   ▼  │                     │
//!  STOPPING           BACKOFF, FATAL ◀─────────────┘
//! ```

mod observed;
mod roles;

pub use observed::{Observed, State, Wanted};
pub use roles::{Process, UnknownProcess, UnknownRole, in_start_order, in_stop_order, of_roles};
