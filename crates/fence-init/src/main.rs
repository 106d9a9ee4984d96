//! fence-init: the first process of every container. Starts processes for fence, reaps them and every orphan, and keeps
//! their output and exit codes while fence is away. Knows nothing of containers, images or networks: it is one static
//! program with one thread, and all it talks to is the socket that fence mounts into its container.
//!
//! Arguments: `--guest` where it is the first process of a container that shares the processes of another one, and so not
//! the first of those; the path of that socket, where it is not the usual one. Started as any other
//! process it copies files, see [`copy`].
//!
//! As the first process it writes nothing to its own output, which might block it and so everything below it.

mod child;
mod copy;
mod env;
mod failure;
mod init;
mod input;
mod limits;
mod link;
mod living;
mod outbox;
mod output;
mod poll;
mod process;
mod program;
mod reach;
mod reap;
mod requests;
mod signals;
mod spawn;
mod stdio;
mod stop;
mod stream;
mod table;
mod user;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fence_init::protocol::{GUEST, RUN_DIR, SOCKET_NAME};
use nix::libc;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};

/// The name in process lists, whatever the file is called.
const NAME: &std::ffi::CStr = c"fence-init";

/// Why init cannot run.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("fence-init is only to be run as the first process of a container")]
    NotFirst,
    #[error("fence-init: set up: {0}")]
    SetUp(nix::Error),
    #[error("fence-init: wait: {0}")]
    Run(nix::Error),
}

fn main() -> ExitCode {
    if std::process::id() != 1
        && let Some(done) = copy::asked_for(std::env::args_os().skip(1))
    {
        return done;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let reach = match arguments.next_if(|argument| argument == GUEST) {
        Some(_) => reach::Reach::guest().map_err(Error::SetUp)?,
        // Anywhere else "every other process" would be the whole machine's.
        None if std::process::id() != 1 => return Err(Error::NotFirst),
        None => reach::Reach::Container,
    };
    let path = arguments
        .next()
        .map_or_else(|| Path::new(RUN_DIR).join(SOCKET_NAME), PathBuf::from);
    set_up()
        .and_then(|()| init::Init::new(&path, reach))
        .map_err(Error::SetUp)?
        .run()
        .map_err(Error::Run)
}

/// Closes whatever a careless parent left open, which every process of the container would have too.
fn close_inherited() {
    let first = libc::STDERR_FILENO + 1;
    // SAFETY: nothing above the standard streams was opened by this program yet. A kernel too old for the call leaves
    // them open.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

fn set_up() -> nix::Result<()> {
    close_inherited();
    // Keeps the container's own processes, root's too, out of init's memory and files.
    prctl::set_dumpable(false)?;
    prctl::set_name(NAME)?;
    umask(Mode::from_bits_truncate(0o022));
    nix::unistd::chdir("/")
}
