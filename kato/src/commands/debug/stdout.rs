//! Whether anybody still reads what this program prints, for a command that may have nothing to print for long.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::oneshot;

/// Wait until the reader of stdout is gone. Where that cannot be told, as with a file, it never is.
pub async fn is_closed() {
    let (gone, told) = oneshot::channel();
    // A thread of its own, which ends with the program: nothing but the reader's end wakes it.
    let thread = std::thread::Builder::new().name("stdout".to_owned());
    let started = thread.spawn(move || {
        if wait() {
            // Nobody may want to know any more.
            let _ = gone.send(());
        }
    });
    if started.is_err() || told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Whether the reader has gone; the other answer is that it cannot be told.
fn wait() -> bool {
    let Ok(stdout) = io::stdout().as_fd().try_clone_to_owned() else {
        return false;
    };
    loop {
        // Errors and hang-ups are told without asking for anything.
        let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) => return true,
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}
