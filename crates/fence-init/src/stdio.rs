//! The three standard streams of a new process: pipes, or one terminal. Makes both ends; who keeps which is the
//! caller's business.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use fence_init::protocol::{Failure, WindowSize};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::libc;
use nix::pty::{Winsize, openpty};
use nix::unistd::pipe2;

use crate::failure::system;

/// A terminal's size where none is given.
const COLUMNS: u16 = 80;
const ROWS: u16 = 24;

mod ioctl {
    use nix::libc;

    nix::ioctl_write_ptr_bad!(set_window_size, libc::TIOCSWINSZ, libc::winsize);
    nix::ioctl_write_int_bad!(set_controlling_terminal, libc::TIOCSCTTY);
}

/// Init's ends; none of them blocks.
#[derive(Debug)]
pub struct Ours {
    pub input: OwnedFd,
    pub stdout: OwnedFd,
    /// A terminal has none.
    pub stderr: Option<OwnedFd>,
}

/// The process's ends.
#[derive(Debug)]
pub struct Theirs {
    pub input: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Three pipes.
pub fn pipes() -> Result<(Ours, Theirs), Failure> {
    let make = || -> nix::Result<(Ours, Theirs)> {
        let (input, our_input) = pipe2(OFlag::O_CLOEXEC)?;
        let (our_stdout, stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let (our_stderr, stderr) = pipe2(OFlag::O_CLOEXEC)?;
        for ours in [&our_input, &our_stdout, &our_stderr] {
            never_block(ours)?;
        }
        let ours = Ours {
            input: our_input,
            stdout: our_stdout,
            stderr: Some(our_stderr),
        };
        Ok((ours, Theirs { input, stdout, stderr }))
    };
    make().map_err(|errno| system("make pipes for a process", errno))
}

/// A terminal with the kernel's usual settings: echo, and `\n` shown as `\r\n`.
pub fn terminal(size: WindowSize) -> Result<(Ours, Theirs), Failure> {
    let make = || -> nix::Result<(Ours, Theirs)> {
        let size = WindowSize {
            columns: if size.columns == 0 { COLUMNS } else { size.columns },
            rows: if size.rows == 0 { ROWS } else { size.rows },
        };
        let pty = openpty(&winsize(size), None)?;
        // Nothing is executed between these two calls and openpty: init has one thread.
        for end in [&pty.master, &pty.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        never_block(&pty.master)?;
        let ours = Ours {
            input: copy(&pty.master)?,
            stdout: pty.master,
            stderr: None,
        };
        let theirs = Theirs {
            input: copy(&pty.slave)?,
            stdout: copy(&pty.slave)?,
            stderr: pty.slave,
        };
        Ok((ours, theirs))
    };
    make().map_err(|errno| system("open a terminal for a process", errno))
}

/// Sets the size of a terminal by one of its ends.
pub fn resize(terminal: impl AsFd, size: WindowSize) -> nix::Result<()> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and the kernel reads one winsize.
    unsafe { ioctl::set_window_size(terminal.as_fd().as_raw_fd(), &winsize(size)) }.map(drop)
}

/// Makes standard input the controlling terminal of the calling process, which leads its session.
pub fn take_terminal() -> nix::Result<()> {
    // SAFETY: the call takes no pointer.
    unsafe { ioctl::set_controlling_terminal(libc::STDIN_FILENO, 0) }.map(drop)
}

fn winsize(size: WindowSize) -> Winsize {
    Winsize {
        ws_col: size.columns,
        ws_row: size.rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn never_block(fd: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

fn copy(fd: &OwnedFd) -> nix::Result<OwnedFd> {
    fd.try_clone()
        .map_err(|error| nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or_default()))
}
