//! The daemon on each node that runs apps: it creates, supervises and destroys app containers.
//!
//! A request comes in through a face in [`http`], becomes a call of the [`supervisor`], which alone decides what may
//! happen to a container. It has the engine make it, talks to its first process through [`init`], writes down what is
//! in the [`inventory`], tells of it in [`events`], keeps its output in [`logs`], takes the image from [`image`] and the ports from [`network`]. [`container`] holds the plain
//! types they all share. [`node`] puts the parts together, feeds them the cluster's config, and compares what is with
//! what should be.

mod cgroup;
mod chain;
pub mod container;
pub mod events;
mod fault;
pub mod http;
pub mod image;
pub mod init;
pub mod inventory;
pub mod logs;
pub mod network;
pub mod node;
pub mod settings;
pub mod supervisor;
