//! Signals: those that init gets, as something to wait for, and those it sends.

use fence_init::protocol::{Failure, FailureKind};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpgid};

use crate::failure::failure;

/// What a signal means to init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A child may have ended.
    Child,
    /// The container is to stop.
    Stop,
}

/// Blocks every signal, so that none interrupts or kills init, and makes those that matter readable.
pub fn listen() -> nix::Result<SignalFd> {
    SigSet::all().thread_set_mask()?;
    let matter = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT]);
    SignalFd::with_flags(&matter, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// The next signal that means something.
pub fn hear(signals: &SignalFd) -> Option<Heard> {
    while let Ok(Some(info)) = signals.read_signal() {
        if i32::try_from(info.ssi_signo) == Ok(libc::SIGCHLD) {
            return Some(Heard::Child);
        }
        // Senders outside the container have no pid in it. What runs inside does not get to stop it.
        if info.ssi_pid == 0 {
            return Some(Heard::Stop);
        }
    }
    None
}

/// Refuses what is no signal.
pub fn check(signal: i32) -> Result<(), Failure> {
    if (1..=libc::SIGRTMAX()).contains(&signal) {
        return Ok(());
    }
    Err(failure(FailureKind::Invalid, format!("no such signal: {signal}")))
}

/// Signals a process, and its whole group where it leads one.
pub fn send(pid: i32, signal: i32) -> nix::Result<()> {
    let leads = getpgid(Some(Pid::from_raw(pid))) == Ok(Pid::from_raw(pid));
    kill(if leads { -pid } else { pid }, signal)
}

/// Kills a child that was not reaped yet and may only just be becoming the leader of a group, with that group.
pub fn kill_group(pid: i32) {
    // The child first: then it starts nothing more, and its group is all there will be. It may have ended, and may lead
    // no group yet.
    let _ = kill(pid, libc::SIGKILL);
    let _ = kill(-pid, libc::SIGKILL);
}

/// Signals one process.
pub fn send_one(pid: i32, signal: i32) -> nix::Result<()> {
    kill(pid, signal)
}

/// Signals every process but init. That there is none is no error.
pub fn send_all(signal: i32) -> nix::Result<()> {
    match kill(EVERY_OTHER, signal) {
        Err(Errno::ESRCH) => Ok(()),
        other => other,
    }
}

/// Whether any process but init exists, if only to be reaped.
pub fn any_other() -> bool {
    kill(EVERY_OTHER, 0) != Err(Errno::ESRCH)
}

/// Said by the first process of a container this means the container's others, see kill(2). `main` made sure of that, and
/// a guest does not say it; see [`reach`](crate::reach).
const EVERY_OTHER: i32 = -1;

fn kill(pid: i32, signal: i32) -> nix::Result<()> {
    // SAFETY: takes two numbers. nix's own wrapper knows no real-time signals.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_group_is_killed_and_so_is_one_that_leads_none() {
        for leads in [true, false] {
            let mut command = Command::new("sh");
            let script = if leads {
                "sleep 1000 & echo ready; wait"
            } else {
                "echo ready; exec sleep 1000"
            };
            command.args(["-c", script]).stdout(Stdio::piped());
            if leads {
                command.process_group(0);
            }
            let mut child = command.spawn().unwrap();
            let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
            assert_eq!(output.next().unwrap().unwrap(), "ready");
            kill_group(i32::try_from(child.id()).unwrap());
            // All that had it open are gone.
            assert!(output.next().is_none());
            assert!(!child.wait().unwrap().success());
        }
    }

    #[test]
    fn only_real_signals_pass() {
        for good in [1, 9, 15, 34, 64] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [i32::MIN, -1, 0, 65, i32::MAX] {
            assert_eq!(check(bad).unwrap_err().kind, FailureKind::Invalid, "{bad}");
        }
    }
}
