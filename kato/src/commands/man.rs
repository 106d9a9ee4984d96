//! `kato man`: the manual pages, made from the same text as the help.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::Context;
use crate::cli::Cli;
use crate::error::{Error, Exit, Result};

/// Print the manual page, or write the pages of all commands
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato man | man -l -                      Read the manual page
  kato man /usr/local/share/man/man1       Write kato.1, kato-config-set.1 and all others")]
pub struct ManArgs {
    /// Write the pages of all commands into this directory
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Print one page or write all.
pub fn run(context: &Context, args: &ManArgs) -> Result<Exit> {
    let Some(directory) = &args.directory else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        rendered.map_err(|error| Error::failed("could not render the manual page").because(error))?;
        context.ui.bytes(&page)?;
        return Ok(Exit::Done);
    };
    let failed = |error: std::io::Error| {
        Error::failed(format!("could not write the manual pages to {}", directory.display())).because(error)
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
    Ok(Exit::Done)
}
