//! The cluster's image registry on the core node, and who may use it.
//!
//! | module | its job |
//! | --- | --- |
//! | [`core`] | what the others work on: the core, its engine, its tree |
//! | [`plan`] | what is missing for a registry that is as it should be; pure |
//! | [`apply`], [`container`] | does it: up and down, again and again |
//! | [`status`], [`gc`] | how it is, and what it can give back |
//! | [`by_hand`] | one that an administrator runs with `docker run` |
//! | [`pack`] | an image of Debian's registry, where none is in reach |
//! | [`settings`] | its files, and what is in them |
//! | [`accounts`], [`token`] | who is who at it, and what each may do |
//! | [`trust`] | what a node's Docker needs to use it |
//! | [`remote`] | the registry, asked over HTTP |
//! | [`names`], [`platform`], [`manifest`] | what images are called, for what they are, what they are made of; pure |
//! | [`index`] | several images under one name |
//! | [`archive`] | images in a file, and back |
//! | [`distribute`] | an image on many nodes: pulled in waves, rolled out, kept house of |
//! | [`local`], [`context`], [`ignore`] | images in this machine's engine, and what they are built of |
//! | [`exit`] | how the programs for administrators end |
//!
//! The core's door hands out accounts and tokens, each node's agent writes what its Docker needs; both are kato's. The
//! state is the registry's directory on the core and the keys `cluster registry/…` of the tree; here is none.

pub mod accounts;
pub mod apply;
pub mod archive;
pub mod by_hand;
mod container;
mod context;
pub mod core;
pub mod distribute;
mod error;
mod exit;
pub mod gc;
#[cfg(test)]
mod hostile_tests;
mod ignore;
pub mod index;
pub mod local;
pub mod manifest;
pub mod names;
pub mod pack;
pub mod plan;
pub mod platform;
pub mod remote;
pub mod settings;
pub mod status;
pub mod token;
pub mod trust;
mod turn;

pub use engine::{BuildSpec, ImageName, RegistryAuth};
pub use error::{Error, Kind, Result, chain};
