//! What all nodes of a cluster share: the config tree and its stores, and what a node is.
//!
//! * [`store`] keeps revisioned keys: the [`store::Store`] trait, SQLite for a micro cloud, memory for tests.
//! * [`config`] is the tree in our words: paths, the typed schema, layers, history, and the live view of one node.
//! * [`nodes`] says where a node keeps its files, what it knows of itself before it can read the tree, and what the
//!   cluster knows of it.
//! * [`identity`] has keys, certificates and the CA that signs them.
//! * [`realms`] has the groups of nodes that share values.
//! * [`pairing`] lets nodes in and out.
//! * [`leader`] has the one agent that acts for all of them.
//! * [`process`] has the rules of processes and roles, how their states are told, and orders to them.
//! * [`rates`] counts how often somebody asks.
//! * [`service`] tells whoever started a daemon how it is.
//!
//! Nothing here starts a program or talks to an engine, and no type of a wrapped library crosses the boundary. The
//! state belongs to the store; what this crate holds in memory is a view of it.

pub mod config;
pub mod files;
pub mod identity;
pub mod leader;
pub mod nodes;
pub mod pairing;
pub mod process;
pub mod rates;
pub mod realms;
pub mod service;
pub mod store;
