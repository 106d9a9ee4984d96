//! What a new process does between fork and exec: becomes who it is to be, where it is to be. Runs in the child, so
//! whatever a hostile container puts in its way (its users' file, a directory) can hurt that child alone.
//!
//! Init has one thread, so the child may allocate. It never returns into init's code: it executes, or reports a
//! [`Failure`] through a pipe and leaves.

use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fence_init::protocol::{Failure, FailureKind, SpawnSpec};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::unistd::{
    Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, fchown, setgid, setgroups, setsid, setuid,
};

use crate::failure::{failure, system};
use crate::limits::{self, OpenFiles};
use crate::stdio::{Theirs, take_terminal};
use crate::user::User;
use crate::{env, program, user};

/// How much more likely than init its processes are to be killed when memory runs out.
const OOM_RAISE: i32 = 300;
/// The most that the kernel takes.
const OOM_MAX: i32 = 1000;
/// Where a process reads and sets that.
const OOM_FILE: &str = "/proc/self/oom_score_adj";
/// The exit status of a process that could not be executed, as of a shell.
const NOT_EXECUTED: i32 = 127;

/// Becomes the process, or reports why not.
pub fn main(spec: &SpawnSpec, theirs: Theirs, report: &OwnedFd, files: OpenFiles) -> ! {
    let Err(why) = become_process(spec, theirs, files);
    let text = serde_json::to_vec(&why).unwrap_or_default();
    // The text fits the empty pipe; where init is gone so is this process.
    let _ = nix::unistd::write(report, &text);
    // SAFETY: ends this process at once, which is what a child that shares init's state has to do.
    unsafe { libc::_exit(NOT_EXECUTED) }
}

fn become_process(spec: &SpawnSpec, theirs: Theirs, files: OpenFiles) -> Result<Infallible, Failure> {
    let tty = spec.tty.is_some();
    take_streams(theirs, tty).map_err(|errno| system("set up standard streams", errno))?;
    raise_oom_score();
    let user = user::find(&spec.user, &user::read(user::PASSWD), &user::read(user::GROUP))?;
    let env = env::complete(&spec.env, &user);
    let dir = if spec.dir.is_empty() {
        &user.home
    } else {
        spec.dir.as_bytes()
    };
    enter(Path::new(OsStr::from_bytes(dir)), &user)?;
    own_streams(&user);
    files.restore()?;
    limits::apply(&spec.rlimits)?;
    drop_to(&user).map_err(|errno| system(&format!("become user {}", user.name), errno))?;
    let program = program::find(&spec.path, env::value(&env, "PATH").unwrap_or_default())?;
    let args = std::iter::once(&spec.path)
        .chain(&spec.args)
        .map(|arg| text(arg.as_bytes()))
        .collect::<Result<Vec<_>, _>>()?;
    let env = env.iter().map(|entry| text(entry)).collect::<Result<Vec<_>, _>>()?;
    reset_signals().map_err(|errno| system("reset signals", errno))?;
    execve(&program, &args, &env).map_err(|errno| program::refused(&spec.path, errno))
}

/// Leads a session of its own, on its own streams.
fn take_streams(theirs: Theirs, tty: bool) -> nix::Result<()> {
    setsid()?;
    dup2_stdin(&theirs.input)?;
    dup2_stdout(&theirs.stdout)?;
    dup2_stderr(&theirs.stderr)?;
    if tty {
        take_terminal()?;
    }
    Ok(())
}

/// Lets the user open its own streams again by name, as in `cat /dev/stdin`.
fn own_streams(user: &User) {
    for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: all three were just opened and stay so until exec. A failure costs only the convenience above.
        let _ = fchown(
            unsafe { BorrowedFd::borrow_raw(stream) },
            Some(Uid::from_raw(user.uid)),
            None,
        );
    }
}

/// Raises the score, never lowers it: that would need a capability containers lack.
fn raise_oom_score() {
    let score = std::fs::read_to_string(OOM_FILE)
        .ok()
        .and_then(|score| score.trim().parse::<i32>().ok());
    if let Some(score) = score {
        // Without /proc, or where it is read-only, the kernel's own choice has to do.
        let _ = std::fs::write(OOM_FILE, score.saturating_add(OOM_RAISE).min(OOM_MAX).to_string());
    }
}

/// Goes to the working directory and makes it first where it is missing, with root's rights.
fn enter(dir: &Path, user: &User) -> Result<(), Failure> {
    chdir("/").map_err(|errno| system("change to directory /", errno))?;
    let mut entered = chdir(dir);
    if entered == Err(Errno::ENOENT) {
        make(dir, user).map_err(|errno| system(&format!("make working directory {}", dir.display()), errno))?;
        entered = chdir(dir);
    }
    entered.map_err(|errno| system(&format!("change to directory {}", dir.display()), errno))
}

/// Makes what is missing of the path and gives it to the user.
pub fn make(dir: &Path, user: &User) -> nix::Result<()> {
    let mut path = PathBuf::new();
    for component in dir.components() {
        path.push(component);
        match nix::unistd::mkdir(&path, Mode::from_bits_truncate(0o755)) {
            // Opened, since by now the name may stand for something else.
            Ok(()) => {
                let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let made = open(&path, flags, Mode::empty())?;
                fchown(&made, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
            }
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Becomes the user, for good.
pub fn drop_to(user: &User) -> nix::Result<()> {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    setgid(Gid::from_raw(user.gid))?;
    setuid(Uid::from_raw(user.uid))
}

/// Gives every signal its default effect again and blocks none.
fn reset_signals() -> nix::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default effect runs no code of ours. The few signals that cannot be set have it anyway.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    SigSet::empty().thread_set_mask()
}

fn text(bytes: &[u8]) -> Result<CString, Failure> {
    CString::new(bytes).map_err(|_| failure(FailureKind::Invalid, "an argument or a variable contains a zero byte"))
}
