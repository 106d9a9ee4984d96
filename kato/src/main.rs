//! `kato`, the administrator's command: reads the arguments, runs one command and leaves with its exit code.
//!
//! What a command does is below [`commands`]; the node's agent, `kato agent`, is [`agent`].

mod addresses;
mod agent;
mod cli;
mod commands;
mod completing;
mod docker_api;
mod error;
mod fence_api;
mod suggest;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
