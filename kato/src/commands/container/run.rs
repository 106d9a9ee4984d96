//! `kato container run`: a process in a container whose streams, signals and exit code are kato's.

use std::io;
use std::time::Duration;

use clap::Args;

use super::problem;
use super::session::{Session, Source, window_size};
use super::values;
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::fence_api::spec::{ProcessSpec, TtySpec};
use crate::fence_api::stream::ToFence;
use crate::fence_api::{Attached, Client};

/// How long fence may take to let a process go that was only started.
const LEAVE: Duration = Duration::from_secs(5);

/// Run a process in a container
///
/// Its standard input, output and error are kato's, signals to kato (INT, TERM, HUP, QUIT, USR1, USR2) go to it and its
/// children (its whole process group), and kato ends with its exit code: 128 and the signal's number where one ended it, 127
/// where the program is not there, 126 where it is not executable. It lives on where kato is killed or detached (Ctrl-P
/// Ctrl-Q on a terminal), and when fence is restarted kato finds it again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato container run web -- ls -l /
  kato container run -t web -- top
  kato container run -u stackato -w /tmp -e MODE=test web -- ./job
  tar c dir | kato container run web -- tar x -C /srv
  kato container run -d --id cron web -- crond -f")]
pub struct RunArgs {
    /// Pass standard input on, which is done unless -n or -d is given; with -d: leave it open for a later attach
    #[arg(short, long, conflicts_with = "no_stdin")]
    interactive: bool,
    /// Give it no input: it reads the end at once
    #[arg(short, long)]
    no_stdin: bool,
    /// Run it on a terminal
    #[arg(short, long)]
    tty: bool,
    /// The user, as NAME, NAME:GROUP or UID:GID [default: root]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// The working directory [default: the user's home]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// An environment entry; KEY alone takes the value it has here
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = values::env)]
    env: Vec<String>,
    /// Its name, to attach to it later [default: one that nobody has]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Start it, print its name and leave it
    #[arg(short, long)]
    detach: bool,
    /// Keep its output in the container's log too
    #[arg(long)]
    log: bool,
    /// A resource limit, soft and hard, such as nofile=1024
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::rlimit)]
    rlimit: Vec<(String, u64)>,
    /// The container
    #[arg(value_name = "HANDLE")]
    handle: String,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Run it.
pub async fn run(context: &Context, client: Client, args: RunArgs) -> Result<Exit> {
    let (detach, keep_input) = (args.detach, args.interactive || args.tty);
    let source = if args.no_stdin {
        Source::Empty
    } else {
        Source::Stdin { detach_keys: true }
    };
    let (handle, spec) = request(args);
    if detach {
        return match client.run_detached(&handle, &spec).await {
            Ok(attached) => leave(context, attached, keep_input).await,
            Err(error) => Err(problem::explain(&client, &handle, error).await),
        };
    }
    let begin = client.clone();
    let session = Session {
        context,
        client,
        handle: &handle,
        source,
    };
    session.hold(begin.run(&handle, &spec)).await
}

fn request(args: RunArgs) -> (String, ProcessSpec) {
    let mut command = args.command.into_iter();
    let spec = ProcessSpec {
        id: args.id.unwrap_or_default(),
        path: command.next().unwrap_or_default(),
        args: command.collect(),
        env: if args.tty { with_terminal(args.env) } else { args.env },
        dir: args.workdir.unwrap_or_default(),
        user: args.user.unwrap_or_default(),
        rlimits: args.rlimit.into_iter().collect(),
        tty: args.tty.then(terminal),
        log: args.log,
        ..ProcessSpec::default()
    };
    (args.handle, spec)
}

/// A terminal of the size of this one.
pub fn terminal() -> TtySpec {
    TtySpec {
        window_size: window_size(),
    }
}

/// The environment of a process on a terminal: what kind it is, before what was asked for.
pub fn with_terminal(env: Vec<String>) -> Vec<String> {
    let kind = std::env::var("TERM").ok().filter(|kind| !kind.is_empty());
    kind.map(|kind| format!("TERM={kind}")).into_iter().chain(env).collect()
}

async fn leave(context: &Context, mut attached: Attached, keep_input: bool) -> Result<Exit> {
    if !keep_input {
        // It runs; that nobody could say that its input ends is no failure.
        let _ = attached.outgoing.send(ToFence::StdinEnd).await;
    }
    // Fence hangs up once whoever attaches from now on gets all output.
    let hung_up = async {
        attached.outgoing.close().await?;
        while attached.incoming.next().await?.is_some() {}
        io::Result::Ok(())
    };
    // One that does not has started the process all the same.
    let _ = tokio::time::timeout(LEAVE, hung_up).await;
    context.ui.line(&attached.started.process_id)?;
    Ok(Exit::Done)
}
