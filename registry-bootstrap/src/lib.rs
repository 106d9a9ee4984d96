//! The cluster's image registry on the core node, and who may use it.
//!
//! | module | its job |
//! | --- | --- |
//! | [`core`] | what the others work on: the core, its engine, its tree |
//! | [`plan`] | what is missing for a registry that is as it should be; pure |
//! | [`apply`], [`container`] | does it: up and down, again and again |
//! | [`status`], [`gc`] | how it is, and what it can give back |
//! | [`pack`] | an image of Debian's registry, where none is in reach |
//! | [`settings`] | its files, and what is in them |
//! | [`accounts`], [`token`] | who is who at it, and what each may do |
//! | [`trust`] | what a node's Docker needs to use it |
//! | [`remote`] | the registry, asked over HTTP |
//!
//! The core's door hands out accounts and tokens, each node's agent writes what its Docker needs; both are kato's. The
//! state is the registry's directory on the core and the keys `cluster registry/…` of the tree; here is none.

pub mod accounts;
pub mod apply;
mod container;
pub mod core;
mod error;
pub mod gc;
pub mod pack;
pub mod plan;
pub mod remote;
pub mod settings;
pub mod status;
pub mod token;
pub mod trust;
mod turn;

pub use engine::RegistryAuth;
pub use error::{Error, Kind, Result, chain};
