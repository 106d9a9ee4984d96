//! What fence and fence-init say to each other over the container's socket.
//!
//! Fence listens, init connects. A message is a frame: a 4-byte big-endian length of what follows, one kind byte,
//! the payload. [`Kind::Control`] frames carry one JSON message ([`ToInit`] or [`FromInit`]), the data kinds carry
//! raw bytes behind a short binary head, so that output is never copied through JSON.
//!
//! Output flows by acknowledgement. Init keeps what a process wrote in one bounded buffer per stream; an
//! [`ToInit::Ack`] says how far the reader of an attachment has come, and init sends at most [`WINDOW`] bytes beyond
//! it. An attachment that never acks is never sent any output. What no attachment has acked stays in the buffer when
//! the connection breaks, and is what the first attachment after it begins with. When a process is forgotten, every
//! stream of its attachments ends at once, also one that was not opened yet: what is lost is told as dropped.
//!
//! Beside clients there is the log: an attachment that says so has a place of its own in both streams, which outlasts it
//! and its connection. What it has taken is not taken from anybody, what others have taken still comes to it, and it
//! holds nobody up: where it is too slow, it is told what was dropped.
//!
//! This module is a library for both sides and does no I/O. Both treat the other's frames as hostile: every length
//! is bounded by [`MAX_FRAME`], and an undecodable frame ends the connection, never the process.

use serde::{Deserialize, Serialize};

/// The protocol this build speaks. Fence speaks this and every older one it still finds in a running container.
pub const VERSION: u32 = 1;
/// The longest frame (kind byte and payload) either side accepts, in bytes.
pub const MAX_FRAME: usize = 1024 * 1024;
/// The longest payload of one data frame, in bytes.
pub const MAX_DATA: usize = 64 * 1024;
/// How many bytes of one output stream may be on their way beyond the last acknowledged one.
pub const WINDOW: u64 = 256 * 1024;
/// How many bytes of one process's input fence may send beyond what init said it has passed on.
pub const STDIN_WINDOW: u64 = 256 * 1024;
/// The output kept per process and stream when nobody reads, in bytes, unless init is told less.
pub const DEFAULT_BUFFER: usize = 10 * 1024 * 1024;
/// The most output init may be told to keep per process and stream, in bytes; a spawn that asks for more is refused.
pub const MAX_BUFFER: usize = 64 * 1024 * 1024;
/// Where fence mounts the directory that holds this container's socket, read-only, inside the container.
pub const RUN_DIR: &str = "/.fence/run";
/// The name of the socket in [`RUN_DIR`].
pub const SOCKET_NAME: &str = "init.sock";
/// Where fence mounts the directory that holds the init binary, read-only, inside the container.
pub const BIN_DIR: &str = "/.fence/bin";
/// The name of the binary in [`BIN_DIR`].
pub const BIN_NAME: &str = "fence-init";
/// The argument that says that init is not the first process of its process namespace.
pub const GUEST: &str = "--guest";

/// `BIN_NAME TAR_IN USER DIRECTORY`, run as a process, unpacks a tar archive from its input; an empty user is root, and what
/// is relative is below the user's home. An init that does not know it says that it is not the first process.
pub const TAR_IN: &str = "tar-in";
/// `BIN_NAME TAR_OUT USER PATH`, run as a process, packs what is there to its output, once its input has ended.
pub const TAR_OUT: &str = "tar-out";

/// The first byte of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// One JSON message.
    Control = 0,
    /// Init to fence: `attachment: u32 BE`, `stream: u8` ([`Stream`]), bytes of output.
    Output = 1,
    /// Fence to init: `process: u32 BE` (the number from [`FromInit::Spawned`]), bytes of input.
    Input = 2,
    /// Fence to init, where it said [`FromInit::Hello`] with `input_sources`: `process: u32 BE`, `source: u64 BE`,
    /// `from: u64 BE`, bytes of input. A source is somebody who sends input and may send it again after fence was lost;
    /// `from` counts its bytes. What init has of it is passed over; as to windows it counts like any other input.
    InputFrom = 3,
}

/// One of a process's two outputs; with a tty all output is [`Stream::Stdout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

/// Fence's messages. `seq` is echoed by the answer ([`FromInit::Spawned`], [`FromInit::Attached`],
/// [`FromInit::InputSource`], [`FromInit::Done`] or [`FromInit::Failed`]); messages without one have no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToInit {
    /// Start a process and attach to it from its first byte. Where the connection breaks before init has answered, the
    /// process is killed and forgotten.
    Spawn {
        seq: u64,
        attachment: u32,
        spec: Box<SpawnSpec>,
    },
    /// Attach to a process, running or exited and not yet collected. Output begins with what is unread if nothing
    /// else is attached, else with what comes from now on.
    Attach {
        seq: u64,
        attachment: u32,
        id: String,
        /// As the log, of a process that was started to have one; where init said [`FromInit::Hello`] with `logs`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        log: bool,
    },
    /// End an attachment. The process goes on.
    Detach { attachment: u32 },
    /// The reader of this attachment has passed on every byte of the stream before `upto` (an offset since the
    /// process's start, counting dropped bytes too). The first ack opens the stream; it may repeat the offset that
    /// [`FromInit::Attached`] gave.
    Ack { attachment: u32, stream: Stream, upto: u64 },
    /// End of input: close the process's standard input (a tty gets its end-of-file character).
    CloseInput { process: u32 },
    /// Send a signal to one process (to its process group where it leads one).
    Signal { seq: u64, id: String, signal: i32 },
    /// Send a signal to every process of the container but init.
    SignalAll { seq: u64, signal: i32 },
    /// Set the terminal's size.
    Resize {
        seq: u64,
        id: String,
        columns: u16,
        rows: u16,
    },
    /// Ask how much of its input a process has from a source, see [`Kind::InputFrom`].
    InputSource { seq: u64, process: u32, source: u64 },
    /// Forget an exited process: its exit code and output were delivered. Streams still attached end, see
    /// [`FromInit::StreamEnd`]. Unknown ids are fine.
    Collect { id: String },
    /// Ask for the processes and whether anything but init is alive.
    List { seq: u64 },
}

/// Init's messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromInit {
    /// The first message on every connection. `processes` are those running, and those exited and not collected.
    Hello {
        protocol: u32,
        build: String,
        processes: Vec<ProcessEntry>,
        /// Whether init knows [`Kind::InputFrom`]; the first builds of this protocol do not.
        #[serde(default)]
        input_sources: bool,
        /// Whether init knows of logs.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        logs: bool,
    },
    /// The process runs (its exec succeeded). `pid` is in the container's own numbering.
    Spawned { seq: u64, process: u32, pid: i32 },
    /// Attached; output begins at these offsets. `exit` is set where the process has ended.
    Attached {
        seq: u64,
        process: u32,
        stdout_from: u64,
        stderr_from: u64,
        tty: bool,
        exit: Option<Exit>,
    },
    /// Done, nothing to say.
    Done { seq: u64 },
    /// The answer to [`ToInit::List`]. `others` is how many processes live besides init, children or not; where it is 0
    /// the [`FromInit::Exited`] of every process was sent before.
    Listed {
        seq: u64,
        processes: Vec<ProcessEntry>,
        others: u32,
    },
    /// The process has all input of that source before `upto`.
    InputSource { seq: u64, upto: u64 },
    /// Refused or failed; nothing was changed.
    Failed { seq: u64, error: Failure },
    /// A process ended.
    Exited { id: String, exit: Exit },
    /// Bytes `from..upto` of the stream were dropped before this attachment could read them.
    Dropped {
        attachment: u32,
        stream: Stream,
        from: u64,
        upto: u64,
    },
    /// No more output will come on this stream of this attachment: all of it was sent, or the process was forgotten.
    StreamEnd { attachment: u32, stream: Stream },
    /// All input of this process before offset `upto`, counted from the beginning of this connection, was passed on (or
    /// thrown away, where nobody reads it any more); fence may send [`STDIN_WINDOW`] beyond it.
    InputAck { process: u32, upto: u64 },
}

/// A process to start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpawnSpec {
    /// Fence's name for the process: 1 to 128 bytes, unique among those not yet collected.
    pub id: String,
    /// The program: a path, or a name searched in the `PATH` of `env`.
    pub path: String,
    /// Arguments after the program's own name.
    pub args: Vec<String>,
    /// `K=V`, a later duplicate wins. Init adds `PATH`, `USER` and `HOME` where they are missing.
    pub env: Vec<String>,
    /// Working directory; empty = the user's home. Made (0755, the user's) where it is missing.
    pub dir: String,
    /// `name`, `name:group` or `uid:gid`, looked up in the container's own files; empty = root.
    pub user: String,
    /// Soft and hard limit alike.
    pub rlimits: Vec<Rlimit>,
    /// A terminal of this size instead of pipes.
    pub tty: Option<WindowSize>,
    /// The most output to keep per stream while nobody reads, in bytes, up to [`MAX_BUFFER`]; 0 = [`DEFAULT_BUFFER`].
    pub buffer: usize,
    /// Fence's number for this run, where its output is to be kept in a log; 0 = it is not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log: u64,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    pub columns: u16,
    pub rows: u16,
}

/// One resource limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    pub resource: Resource,
    pub value: u64,
}

/// The resources of setrlimit(2), by Garden's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Sigpending,
    Stack,
}

/// One line of the process table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessEntry {
    pub id: String,
    pub process: u32,
    pub pid: i32,
    /// Not told by an init from before it was.
    #[serde(default)]
    pub tty: bool,
    pub exit: Option<Exit>,
    /// As in [`SpawnSpec`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log: u64,
}

/// Serde's predicates take what they look at by reference.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// The highest signal of Linux.
const MAX_SIGNAL: i32 = 64;
/// The highest exit status, which also stands for what can be none.
const MAX_STATUS: i32 = 255;

impl Exit {
    /// The status a shell would show: the code, or 128 + the signal. Always 0 to 255: a code or signal that the kernel
    /// would not report, which only a peer can make up, counts as 255.
    pub fn status(self) -> i32 {
        match self {
            Exit::Code(code @ 0..=MAX_STATUS) => code,
            Exit::Signal(signal @ 1..=MAX_SIGNAL) => 128 + signal,
            Exit::Code(_) | Exit::Signal(_) => MAX_STATUS,
        }
    }
}

/// Why a request was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// One sentence: what was attempted, on what, why it failed.
    pub message: String,
}

/// What a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The program is not there.
    ExecutableNotFound,
    /// The program is there and cannot be executed.
    NotExecutable,
    /// The user or group is in none of the container's files.
    UserNotFound,
    /// No process of that id.
    ProcessNotFound,
    /// The id is in use.
    ProcessExists,
    /// The request makes no sense.
    Invalid,
    /// Too many processes, attachments or buffered bytes.
    Limit,
    /// The kernel refused.
    System,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_what_a_shell_would_show_whatever_the_peer_says() {
        for (exit, status) in [
            (Exit::Code(0), 0),
            (Exit::Code(7), 7),
            (Exit::Code(255), 255),
            (Exit::Signal(1), 129),
            (Exit::Signal(9), 137),
            (Exit::Signal(64), 192),
        ] {
            assert_eq!(exit.status(), status, "{exit:?}");
        }
        for bad in [i32::MIN, -1, 256, i32::MAX] {
            assert_eq!(Exit::Code(bad).status(), 255);
        }
        for bad in [i32::MIN, -1, 0, 65, 127, i32::MAX] {
            assert_eq!(Exit::Signal(bad).status(), 255);
        }
    }
}
