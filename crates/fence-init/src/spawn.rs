//! Starts a process: checks what was asked, makes its streams, forks. What the child then does is in
//! [`child`](crate::child); whether it succeeded comes later, through the report pipe.

use std::os::fd::{AsFd, OwnedFd};

use fence_init::protocol::{DEFAULT_BUFFER, Failure, FailureKind, MAX_BUFFER, SpawnSpec};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{ForkResult, fork, pipe2};

use crate::child;
use crate::failure::{failure, system};
use crate::limits::OpenFiles;
use crate::stdio::{self, Ours};

/// The longest name of a process, in bytes.
const MAX_ID: usize = 128;
/// The longest report of a child that could not start, in bytes.
const MAX_REPORT: usize = 4096;

/// A process that was forked and may not have executed yet.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    /// Ends when the process executes; before that it may say why it cannot.
    pub report: OwnedFd,
    pub streams: Ours,
}

/// Checks what no look at the container can tell.
pub fn check(spec: &SpawnSpec) -> Result<(), Failure> {
    let invalid = |message: &str| Err(failure(FailureKind::Invalid, message));
    if spec.id.is_empty() || spec.id.len() > MAX_ID || spec.id.contains(char::is_control) {
        return invalid("a process id has 1 to 128 bytes and no control characters");
    }
    if spec.path.is_empty() {
        return invalid("no program given");
    }
    let mut texts = [&spec.path, &spec.dir, &spec.user]
        .into_iter()
        .chain(&spec.args)
        .chain(&spec.env);
    if texts.any(|text| text.contains('\0')) {
        return invalid("an argument, a variable or a name contains a zero byte");
    }
    if spec.buffer > MAX_BUFFER {
        return Err(failure(
            FailureKind::Limit,
            format!("a buffer of {} bytes is more than {MAX_BUFFER}", spec.buffer),
        ));
    }
    Ok(())
}

/// How much output to keep per stream.
pub fn buffer(spec: &SpawnSpec) -> usize {
    if spec.buffer == 0 { DEFAULT_BUFFER } else { spec.buffer }
}

/// Starts the process.
pub fn spawn(spec: &SpawnSpec, files: OpenFiles) -> Result<Child, Failure> {
    let (streams, theirs) = match spec.tty {
        Some(size) => stdio::terminal(size)?,
        None => stdio::pipes()?,
    };
    let (report, their_report) =
        pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|errno| system("make a pipe for a process", errno))?;
    // SAFETY: init has one thread, so the child begins with every lock free and may run any code.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => child::main(spec, theirs, &their_report, files),
        Ok(ForkResult::Parent { child }) => Ok(Child {
            pid: child.as_raw(),
            report,
            streams,
        }),
        Err(Errno::EAGAIN) => Err(failure(
            FailureKind::Limit,
            "start a process: the container has as many as it may",
        )),
        Err(errno) => Err(system("start a process", errno)),
    }
}

/// Reads a child's report: `None` while it has not executed, then whether it did.
pub fn outcome(report: impl AsFd) -> Option<Result<(), Failure>> {
    let mut text = [0; MAX_REPORT];
    match nix::unistd::read(report, &mut text) {
        Ok(0) => Some(Ok(())),
        Ok(count) => Some(Err(serde_json::from_slice(&text[..count]).unwrap_or_else(|_| {
            failure(FailureKind::System, "start a process: it left an unreadable report")
        }))),
        Err(Errno::EAGAIN | Errno::EINTR) => None,
        Err(errno) => Some(Err(system("read the report of a new process", errno))),
    }
}
