//! `kato completion`: a script that completes kato's command line in a shell, by asking kato (`completing.rs`).

use clap::{Args, ValueEnum};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use super::Context;
use crate::completing::VARIABLE;
use crate::error::{Error, Exit, Result};

/// Print the completion script of a shell
///
/// Commands and options are completed, and the names of nodes and realms and the fingerprints of nodes that wait, where
/// whoever asks may read them and the cluster answers within a second.
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

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Shell::Bash => &Bash,
            Shell::Zsh => &Zsh,
            Shell::Fish => &Fish,
        }
    }
}

/// Print the script.
pub fn run(context: &Context, args: &CompletionArgs) -> Result<Exit> {
    let mut script = Vec::new();
    let shell = args.shell.completer();
    let written = shell.write_registration(VARIABLE, "kato", "kato", "kato", &mut script);
    written.map_err(|error| Error::failed("could not write the script").because(error))?;
    context.ui.bytes(&script)?;
    Ok(Exit::Done)
}
