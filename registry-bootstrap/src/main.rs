//! `registry-bootstrap`: the registry of this core from a unit or a script, where `kato registry` is for people. Reads the
//! arguments, does one thing with an administrator's credential, and leaves with the exit codes of kato.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cluster::config::Author;
use cluster::nodes::{Access, NodeFile, Paths, open_tree};
use registry_bootstrap::apply::Was;
use registry_bootstrap::core::Core;
use registry_bootstrap::{Error, Kind, Result, apply, by_hand, chain, gc, status};

/// Give a Fence cluster an image registry on its core
#[derive(Debug, Parser)]
#[command(name = "registry-bootstrap", version, after_help = AFTER_HELP)]
struct Cli {
    /// Work below this directory instead of /
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
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the registry up; what is as it should be stays
    Up {
        /// The port at which it answers from now on
        #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        port: Option<u16>,
    },
    /// Pack an image of a registry that is then run by hand, and print its name
    Pack {
        /// What the image is called
        name: String,
    },
    /// Print how it is, as JSON; exit code 1 where it is not in order
    Status,
    /// Free what it does not need
    Gc {
        /// Also forget images that no tag, index or configuration names any more
        #[arg(long)]
        untagged: bool,
    },
    /// Take it down; its images stay
    Down {
        /// Delete its images as well
        #[arg(long)]
        purge: bool,
    },
}

const AFTER_HELP: &str = "\
Examples:
  registry-bootstrap up
  registry-bootstrap status

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a check, 4 not found, 5 unreachable or timed out, 6 partly done";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(Error::Failed {
            attempt: "start".to_owned(),
            reason: error.to_string(),
        }),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            say(&format!("registry-bootstrap: {}", chain(&error)));
            if !error.hint().is_empty() {
                say(&format!("hint: {}", error.hint()));
            }
            ExitCode::from(error.kind().code())
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let paths = Paths::from_root(cli.root.as_deref()).with_credential(cli.credential);
    let node = NodeFile::load(&paths)?;
    let store = open_tree(&paths, &node, Access::Administrator).await;
    let store = store.map_err(|source| Error::Tree {
        attempt: "open the config tree",
        source: Box::new(cluster::config::Error::Store {
            attempt: "open",
            source,
        }),
    })?;
    let core = Core::open(&paths, node, store)?;
    let author = |verb: &str| Author {
        who: "root".to_owned(),
        command: format!("registry-bootstrap {verb}"),
    };
    let told = match cli.command {
        Command::Up { port } => apply::up(&core, port, &author("up"), say).await?.location,
        Command::Pack { name } => by_hand::pack(&core, &name).await?,
        Command::Status => {
            let status = status::status(&core).await?;
            print(&serde_json::to_string_pretty(&status).unwrap_or_default());
            return Ok(ExitCode::from(u8::from(!status.problem.is_empty())));
        }
        Command::Gc { untagged } => {
            let freed = gc::collect(&core, untagged).await?;
            print(&format!("{} bytes freed", freed.freed));
            return Ok(match freed.unclear.as_slice() {
                [] => ExitCode::SUCCESS,
                unclear => {
                    say(&format!("left as they are: {}", unclear.join("; ")));
                    ExitCode::from(Kind::Partly.code())
                }
            });
        }
        Command::Down { purge } => match apply::down(&core, purge, &author("down")).await? {
            Was::SetUp => "the registry is down".to_owned(),
            Was::ByHand => "the registry is run by hand; all nodes forget it".to_owned(),
            Was::Nothing => "there was no registry".to_owned(),
        },
    };
    print(&told);
    Ok(ExitCode::SUCCESS)
}

/// Data; who closed the pipe wants no more of it.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn say(text: &str) {
    let plain = text.replace(char::is_control, " ");
    let _ = writeln!(std::io::stderr(), "{plain}");
}
