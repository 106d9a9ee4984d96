//! The command line as the administrator sees it: the built program, its stdout, stderr and exit code.
//!
//! One binary for all families; each family has its module, and each test its own node below a directory of its own.

mod basics;
mod cluster;
mod completing;
mod config;
mod configwatch;
mod container;
mod data;
mod harness;
mod node;
mod processes;
mod registry;
mod retire;
