//! What happened to this node's containers, as events with a number that grows over the whole node.
//!
//! [`Journal`] keeps the last of them, on disk and in memory, and says when there is a new one. An event is written
//! before anyone sees it, so a number that was seen is never another event's. Who tells of what is the supervisor's
//! business; how events reach a client is that of the faces.

mod file;
mod journal;

use serde::{Deserialize, Serialize};

use crate::container::{Handle, ProcessId};

pub use journal::{Batch, Journal};

/// The longest reason kept with an event, in characters.
const MAX_REASON: usize = 512;

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// One more than that of the event before, whatever container that was about; after the machine was started some are
    /// left out.
    pub number: u64,
    /// RFC 3339.
    pub time: String,
    pub container: Handle,
    /// Tells containers of one handle apart.
    pub instance: String,
    #[serde(flatten)]
    pub what: What,
}

/// What happened, with what there is to know about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum What {
    /// It was made and is active.
    Created,
    /// Its main process was started.
    Started {
        command: Vec<String>,
    },
    /// Its main process ended.
    MainEnded {
        exit_status: i32,
    },
    ProcessStarted {
        process: ProcessId,
    },
    ProcessEnded {
        process: ProcessId,
        exit_status: i32,
    },
    /// The kernel killed a process of it for want of memory.
    OutOfMemory,
    Paused,
    Resumed,
    /// All its processes were ended.
    Stopped {
        reason: String,
    },
    /// The engine or the kernel ended its first process, and with it all others.
    Died {
        reason: String,
    },
    /// The engine no longer has it.
    Lost {
        reason: String,
    },
    /// Output could not be kept for want of room.
    DiskFull {
        reason: String,
    },
    Destroyed,
}

impl What {
    /// Its name in the `type` of an event.
    pub fn name(&self) -> &'static str {
        match self {
            What::Created => "created",
            What::Started { .. } => "started",
            What::MainEnded { .. } => "main_ended",
            What::ProcessStarted { .. } => "process_started",
            What::ProcessEnded { .. } => "process_ended",
            What::OutOfMemory => "out_of_memory",
            What::Paused => "paused",
            What::Resumed => "resumed",
            What::Stopped { .. } => "stopped",
            What::Died { .. } => "died",
            What::Lost { .. } => "lost",
            What::DiskFull { .. } => "disk_full",
            What::Destroyed => "destroyed",
        }
    }

    /// No text of it is longer than an event may have it.
    fn bounded(mut self) -> What {
        match &mut self {
            What::Stopped { reason } | What::Died { reason } | What::Lost { reason } | What::DiskFull { reason } => {
                if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
                    reason.truncate(end);
                }
            }
            What::Started { command } => {
                // The whole of it is in what is told of the container.
                command.truncate(16);
                for word in command {
                    if let Some((end, _)) = word.char_indices().nth(64) {
                        word.truncate(end);
                    }
                }
            }
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_in_json_is_the_name() {
        let text = || "x".to_owned();
        let process: ProcessId = "p".parse().unwrap();
        let all = [
            What::Created,
            What::Started { command: vec![text()] },
            What::MainEnded { exit_status: 1 },
            What::ProcessStarted {
                process: process.clone(),
            },
            What::ProcessEnded {
                process,
                exit_status: 1,
            },
            What::OutOfMemory,
            What::Paused,
            What::Resumed,
            What::Stopped { reason: text() },
            What::Died { reason: text() },
            What::Lost { reason: text() },
            What::DiskFull { reason: text() },
            What::Destroyed,
        ];
        for what in all {
            let json = serde_json::to_value(&what).unwrap();
            assert_eq!(json["type"], what.name());
            assert_eq!(serde_json::from_value::<What>(json).unwrap(), what);
        }
    }

    #[test]
    fn texts_are_cut_at_their_bound() {
        let long = "é".repeat(10_000);
        let What::Died { reason } = (What::Died { reason: long.clone() }).bounded() else {
            panic!()
        };
        assert_eq!(reason.chars().count(), MAX_REASON);
        let What::Started { command } = (What::Started {
            command: vec![long; 100],
        })
        .bounded() else {
            panic!()
        };
        assert!(command.len() == 16 && command[0].chars().count() == 64);
    }
}
