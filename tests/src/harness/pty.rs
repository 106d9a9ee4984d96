//! A program on a terminal of its own, as a person at a keyboard has it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::pty::{Winsize, openpty};

use super::command::{run, wait};
use super::wait::{LIMIT, poll};

/// A program that runs on a terminal; killed when dropped.
pub struct OnTerminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    device: String,
}

impl OnTerminal {
    /// Start the command on a new terminal of this size, as the leader of a session of its own.
    pub fn start(command: &Command, columns: u16, rows: u16) -> OnTerminal {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap_or_else(|error| panic!("could not open a terminal: {error}"));
        let device = nix::unistd::ttyname(&pty.slave).unwrap_or_else(|error| panic!("no terminal name: {error}"));
        // setsid makes the terminal the controlling one; it then becomes the command itself, so that pids stay.
        let mut leader = Command::new("setsid");
        leader
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => leader.env(name, value),
                None => leader.env_remove(name),
            };
        }
        let side = |fd: &OwnedFd| {
            Stdio::from(
                fd.try_clone()
                    .unwrap_or_else(|error| panic!("could not share: {error}")),
            )
        };
        leader
            .stdin(side(&pty.slave))
            .stdout(side(&pty.slave))
            .stderr(side(&pty.slave));
        let child = leader
            .spawn()
            .unwrap_or_else(|error| panic!("could not run setsid: {error}"));
        let keyboard = File::from(pty.master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let reader = keyboard
            .try_clone()
            .unwrap_or_else(|error| panic!("could not share: {error}"));
        collect(reader, screen.clone());
        OnTerminal {
            child,
            keyboard,
            screen,
            device: device.display().to_string(),
        }
    }

    /// The program's pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Type the text.
    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        self.keyboard
            .write_all(text.as_bytes())
            .unwrap_or_else(|error| panic!("could not type {text:?}: {error}"));
    }

    /// Change the terminal's size; the program is told by SIGWINCH.
    #[track_caller]
    pub fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        run(Command::new("stty").args(["-F", &self.device, "cols", &columns, "rows", &rows])).ok();
    }

    /// Everything shown so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Wait until the text was shown.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let shown = poll(LIMIT, || self.screen().contains(text).then_some(()));
        assert!(
            shown.is_some(),
            "the terminal never showed {text:?}, but\n{}",
            self.screen()
        );
    }

    /// The exit code, once the program has ended.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> (i32, String) {
        match wait(&mut self.child, limit) {
            Some(code) => (code, self.screen()),
            None => panic!(
                "the program on the terminal did not end within {limit:?}; it showed\n{}",
                self.screen()
            ),
        }
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Read until the last program on the terminal has closed it, which is an error on a terminal.
fn collect(mut terminal: File, screen: Arc<Mutex<Vec<u8>>>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            screen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(&buffer[..count]);
        }
    });
}
