//! The rules of processes and roles: which role has which processes, in which order, and how their states are told.
//!
//! Nothing is started or looked at here. A node's agent acts by these rules and owns what it observes; kato and every
//! other face of the cluster print it. Orders from elsewhere (`orders`) are all that is kept in a store.
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
mod orders;
mod roles;

pub use observed::{Observed, State, Wanted};
pub use orders::{Answered, NewOrder, Order, OrderAction, WANTED, give, give_if, orders_prefix, read_orders};
pub use roles::{Process, UnknownProcess, UnknownRole, in_start_order, in_stop_order, of_roles};
