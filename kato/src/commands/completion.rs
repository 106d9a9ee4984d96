//! `kato completion`: a script that completes kato's command line in a shell.

use clap::{Args, CommandFactory, ValueEnum};

use super::Context;
use crate::cli::Cli;
use crate::error::{Exit, Result};

/// Print the completion script of a shell
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato completion bash > /usr/share/bash-completion/completions/kato
  kato completion zsh > /usr/local/share/zsh/site-functions/_kato
  kato completion fish > ~/.config/fish/completions/kato.fish")]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl From<Shell> for clap_complete::Shell {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        }
    }
}

/// Print the script.
pub fn run(context: &Context, args: &CompletionArgs) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(
        clap_complete::Shell::from(args.shell),
        &mut Cli::command(),
        "kato",
        &mut script,
    );
    context.ui.bytes(&script)?;
    Ok(Exit::Done)
}
