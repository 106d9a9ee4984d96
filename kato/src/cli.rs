//! The command line: options every command has, and the way from arguments to an exit code.
//!
//! What the commands are is in [`crate::commands`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use cluster::nodes::Paths;

use crate::commands::{self, Command, Context};
use crate::completing;
use crate::error::{Error, Exit, Result};
use crate::suggest;
use crate::ui::Ui;

/// Manage the nodes of a Fence cluster
#[derive(Debug, Parser)]
#[command(name = "kato", version, after_help = AFTER_HELP, max_term_width = 100, infer_long_args = true)]
pub struct Cli {
    /// Work below this directory instead of / (several nodes on one machine)
    #[arg(long, global = true, env = "KATO_ROOT", value_name = "DIR", hide_env_values = true)]
    root: Option<PathBuf>,
    /// Be the administrator whose credential is in this file
    #[arg(
        long,
        global = true,
        env = "KATO_CREDENTIAL",
        value_name = "FILE",
        hide_env_values = true
    )]
    credential: Option<PathBuf>,
    /// Say more of what is done, on stderr
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  kato node setup micro                     Make this machine a cloud of one node
  kato status                               See what runs and what is wrong
  kato config set fence docker/image NAME   Choose the image of new containers
  kato container create --start             Create and start a container

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a check, 4 not found,
5 unreachable or timed out, 6 partly done";

/// Run the command that `args` name; the result is the exit code of the program.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    if completing::answered(&args) {
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(mut answer) => {
            suggest::complete(&mut answer, &args);
            // Help that nobody reads any more is no failure.
            let _ = answer.print();
            return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2));
        }
    };
    let ui = Ui::new(cli.verbose);
    // What the environment says holds for the next command, too.
    let in_environment = std::env::var_os("KATO_ROOT").map(PathBuf::from);
    let root = cli.root.clone().filter(|root| Some(root) != in_environment.as_ref());
    match start(cli, root.clone(), ui) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) if error.is_closed_stdout() => ExitCode::SUCCESS,
        Err(error) => {
            let error = error.for_command(&plain(&args), root.as_deref());
            ui.say(error.report().trim_end());
            ExitCode::from(error.code())
        }
    }
}

/// The command as hints say it: without the options that every command has.
fn plain(args: &[OsString]) -> String {
    let mut words = vec!["kato".to_owned()];
    let mut args = args.iter().skip(1).map(|arg| arg.to_string_lossy());
    while let Some(arg) = args.next() {
        match arg.as_ref() {
            "--root" => {
                args.next();
            }
            "-v" | "--verbose" => {}
            other if other.starts_with("--root=") => {}
            other => words.push(other.to_owned()),
        }
    }
    words.join(" ")
}

fn start(cli: Cli, root: Option<PathBuf>, ui: Ui) -> Result<Exit> {
    // Without one, kato would go on with a node's rights, and be refused for that.
    if let Some(path) = cli.credential.as_ref().filter(|path| !path.exists()) {
        let message = format!("there is no credential {}", path.display());
        return Err(Error::not_found(message).hint("on the core: kato admin create NAME"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::failed("could not start").because(error))?;
    let context = Context {
        paths: Paths::from_root(cli.root.as_deref()).with_credential(cli.credential),
        ui,
        root,
    };
    let result = runtime.block_on(commands::run(&context, cli.command));
    // A read of a terminal that is still waiting must not keep the program.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_examples() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            if command.has_subcommands() {
                command.get_subcommands().for_each(check);
                return;
            }
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.starts_with("Example"), "{} has no examples", command.get_name());
        }
        Cli::command().get_subcommands().for_each(check);
    }
}
