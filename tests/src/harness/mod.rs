//! Everything a story needs around the client: nodes under temporary roots, the programs, the base image, Docker, waiting.
//!
//! Every story owns its node; what the node made (processes, containers, files) is removed when it is dropped, whatever the
//! story ended with. What a story needs and does not find, it fails for, with the command that provides it.

pub mod cgroup;
mod cluster;
pub mod command;
pub mod docker;
mod http;
mod image;
mod machine;
mod node;
mod ports;
mod processes;
mod programs;
mod proxy;
mod pty;
mod registry;
pub mod tar;
mod wait;

pub use cluster::{Cluster, Network};
pub use command::{Captured, run, run_with_input};
pub use http::page;
pub use image::{DerivedImage, base_image, derived_image, node_image};
pub use machine::{Busy, Machine};
pub use node::{ContainerOf, Node};
pub use processes::{is_alive, kill_hard, of_container};
pub use programs::{program, program_with_faults, workspace};
pub use proxy::{Behaviour, DockerProxy};
pub use pty::OnTerminal;
pub use wait::{LIMIT, poll, until};
