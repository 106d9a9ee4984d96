//! Starting the agent itself, apart from the shell and terminal of who started it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cluster::nodes::Paths;
use cluster::process::Process;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tokio::time::{Instant, sleep};

use super::lock::Lock;
use super::process_control::systemd;
use super::{client, logs, table};
use crate::error::{Error, Result};

/// How long the agent may take until it answers, or until it is gone.
const WITHIN: Duration = Duration::from_secs(15);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);
/// How many lines of its log are shown when it fails.
const LOG_LINES: usize = 10;

/// Have an agent that answers: the one that runs, or a new one. Whether it is new.
pub async fn have_agent(paths: &Paths) -> Result<bool> {
    if client::is_there(paths).await? {
        return Ok(false);
    }
    let failed = |error| Error::failed("could not start the agent").because(error);
    let mut child = match systemd::manages(paths) {
        true => systemd::start_agent().await.map(|()| None).map_err(|error| {
            Error::failed("could not start the agent")
                .because(error)
                .hint("systemctl status kato-agent")
        })?,
        false => Some(spawn(paths).map_err(failed)?),
    };
    let deadline = Instant::now() + WITHIN;
    while !client::is_there(paths).await? {
        if let Some(child) = &mut child
            && let Some(status) = child.try_wait().map_err(failed)?
        {
            return Err(did_not_come(paths, &format!("it ended with {status}")));
        }
        if Instant::now() >= deadline {
            return Err(did_not_come(
                paths,
                &format!("it did not answer within {} s", WITHIN.as_secs()),
            ));
        }
        sleep(LOOK).await;
    }
    Ok(true)
}

/// Wait until the agent has ended.
pub async fn gone(paths: &Paths) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    while !Lock::is_free(paths)? {
        if Instant::now() >= deadline {
            return Err(Error::unreachable(format!(
                "the agent did not end within {} s",
                WITHIN.as_secs()
            )));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

fn spawn(paths: &Paths) -> io::Result<Child> {
    let log = table::log_file(paths, Process::Agent);
    fs::create_dir_all(paths.log_dir())?;
    let log = OpenOptions::new().create(true).append(true).mode(0o640).open(log)?;
    keep_files_from_children()?;
    Command::new(std::env::current_exe()?)
        .arg("--root")
        .arg(paths.root())
        .args(["agent", "--detached"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

fn did_not_come(paths: &Paths, why: &str) -> Error {
    let log = table::log_file(paths, Process::Agent);
    Error::unreachable(format!("the agent did not start: {why}"))
        .detail(logs::last_lines(&log, LOG_LINES))
        .hint(format!("see {}", log.display()))
}

/// Leave the session of whoever started this program, so that closing a terminal does not end it.
pub fn leave_session() -> Result<()> {
    nix::unistd::setsid()
        .map(drop)
        .map_err(|errno| Error::failed("could not leave the session").because(errno))
}

/// Keep files that this program was started with, such as a script's lock, from the programs it starts: those live on.
pub fn keep_files_from_children() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if number > 2 {
            // SAFETY: the number is only used for this one call, which changes no more than the descriptor's flag; if
            // it was closed since it was listed, the call fails and changes nothing.
            let file = unsafe { BorrowedFd::borrow_raw(number) };
            match fcntl(file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
                Ok(_) | Err(nix::errno::Errno::EBADF) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(())
}
