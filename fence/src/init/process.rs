//! One process below init, as fence knows it: how it ended, and how much input it may still be sent.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use fence_init::protocol::{Exit, ProcessEntry, STDIN_WINDOW};
use tokio::sync::{Semaphore, watch};

use crate::container::ProcessId;

/// A process that runs, or ended and was not collected yet.
#[derive(Debug)]
pub struct Process {
    pub id: ProcessId,
    /// Init's number for it.
    pub number: u32,
    /// In the container's own numbering.
    pub pid: i32,
    /// Whether it runs on a terminal.
    pub tty: bool,
    /// Fence's number for this run, where its output is for a log too; 0 = it is not.
    pub log: u64,
    exit: watch::Sender<Option<Exit>>,
    /// How many bytes may be sent beyond what init has passed on.
    pub(super) input_window: Semaphore,
    input: Mutex<Input>,
    /// How much of the input of this connection init has passed on.
    input_passed: watch::Sender<u64>,
    /// Nobody wants to know of it any more.
    pub(super) abandoned: AtomicBool,
    /// Attachments that live.
    attachments: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Input {
    sent: u64,
    acked: u64,
}

impl Process {
    pub(super) fn new(entry: ProcessEntry, id: ProcessId) -> Process {
        Process {
            id,
            number: entry.process,
            pid: entry.pid,
            tty: entry.tty,
            log: entry.log,
            exit: watch::Sender::new(entry.exit),
            input_window: Semaphore::new(STDIN_WINDOW as usize),
            input: Mutex::default(),
            input_passed: watch::Sender::new(0),
            abandoned: AtomicBool::new(false),
            attachments: watch::Sender::new(0),
        }
    }

    /// How it ended, once it has.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Wait until it has ended.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        loop {
            if let Some(exit) = *exit.borrow_and_update() {
                return exit;
            }
            if exit.changed().await.is_err() {
                // The sender lives in self, so this cannot be; a killed process is the truth nearest to it.
                return Exit::Signal(nix::libc::SIGKILL);
            }
        }
    }

    /// It has ended; the first word stands. Returns whether this was the first.
    pub(super) fn ended(&self, exit: Exit) -> bool {
        let first = self.exit.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(exit);
            }
            first
        });
        self.input_window.close();
        first
    }

    /// Whether anybody is attached to it.
    pub fn is_attached(&self) -> bool {
        *self.attachments.borrow() > 0
    }

    pub(super) fn attached(&self) {
        self.attachments.send_modify(|count| *count += 1);
    }

    pub(super) fn detached(&self) {
        self.attachments.send_modify(|count| *count -= 1);
    }

    /// Wait until nothing is attached; init knows of it then, before anything that is asked of it from now on.
    pub async fn unattached(&self) {
        // The sender lives in self, so this cannot fail.
        let _ = self.attachments.subscribe().wait_for(|count| *count == 0).await;
    }

    /// So much more is on its way. Gives how much that is altogether.
    pub(super) fn input_sent(&self, bytes: u64) -> u64 {
        let mut input = self.input();
        input.sent += bytes;
        input.sent
    }

    /// Wait until init has passed on so much of what was sent to it, or nobody will ever read it.
    pub(super) async fn input_passed(&self, upto: u64) {
        let mut passed = self.input_passed.subscribe();
        tokio::select! {
            // The sender lives in self, so this cannot fail.
            _ = passed.wait_for(|passed| *passed >= upto) => {}
            _ = self.wait() => {}
        }
    }

    /// Whether init has passed on all that was sent to it: nothing is lost with the connection.
    pub(super) fn is_input_passed_on(&self) -> bool {
        let input = self.input();
        input.sent == input.acked
    }

    /// Init has passed on all input before `upto`, counted since the connection began. False where it cannot have.
    pub(super) fn input_acked(&self, upto: u64) -> bool {
        let mut input = self.input();
        if upto < input.acked || upto > input.sent {
            return false;
        }
        self.input_window.add_permits((upto - input.acked) as usize);
        input.acked = upto;
        self.input_passed.send_replace(upto);
        true
    }

    fn input(&self) -> std::sync::MutexGuard<'_, Input> {
        self.input.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
