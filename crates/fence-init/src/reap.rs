//! Takes the ended children from the kernel: those init started, and every orphan of the container.

use fence_init::protocol::Exit;
use nix::libc;

/// The next child that has ended, with its pid; `None` when there is none at the moment.
pub fn next() -> Option<(i32, Exit)> {
    loop {
        let mut status = 0;
        // SAFETY: the status is a live integer. nix's wrapper would lose a child killed by a real-time signal.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid <= 0 {
            return None;
        }
        if libc::WIFEXITED(status) {
            return Some((pid, Exit::Code(libc::WEXITSTATUS(status))));
        }
        if libc::WIFSIGNALED(status) {
            return Some((pid, Exit::Signal(libc::WTERMSIG(status))));
        }
    }
}
