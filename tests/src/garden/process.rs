//! A process as the Go client has it: the main connection read on a thread, the side streams collected, `wait` as there.

use std::io::Write;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::calls::{Client, line};
use super::error::{Error, Result};
use super::hijack::{MainConnection, Objects};
use super::http::Socket;
use super::output::Output;
use super::types::ProcessSpec;

/// The longest a test waits for a process, unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// Which side streams a caller wants; the Go client opens those that it was given a writer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    None,
    Both,
}

/// The two signals Garden knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Terminate = 0,
    Kill = 1,
}

/// A process that runs, or ran. Dropping it hangs up, which ends the attachment and not the process.
#[derive(Debug)]
pub struct Process {
    pub id: String,
    pub stream_id: String,
    pub stdout: Output,
    pub stderr: Output,
    control: Mutex<Socket>,
    sides: Vec<Socket>,
    exit: Receiver<Result<i32>>,
}

impl Client {
    /// Start a process with both outputs.
    pub fn run(&self, handle: &str, spec: &ProcessSpec) -> Result<Process> {
        self.run_with(handle, spec, Outputs::Both)
    }

    /// Start a process with the outputs wanted.
    pub fn run_with(&self, handle: &str, spec: &ProcessSpec, outputs: Outputs) -> Result<Process> {
        let main = self.open_run(handle, spec)?;
        self.follow(handle, main, outputs)
    }

    /// Attach to a process with both outputs.
    pub fn attach(&self, handle: &str, process: &str) -> Result<Process> {
        let main = self.open_attach(handle, process)?;
        self.follow(handle, main, Outputs::Both)
    }

    /// Run a process to its end: exit status, standard output and standard error.
    pub fn output(&self, handle: &str, spec: &ProcessSpec) -> Result<(i32, String, String)> {
        let process = self.run(handle, spec)?;
        let status = process.wait()?;
        Ok((status, process.stdout.text(), process.stderr.text()))
    }

    fn follow(&self, handle: &str, mut main: MainConnection, outputs: Outputs) -> Result<Process> {
        let first = main
            .next_object()?
            .ok_or_else(|| Error::Protocol("connection: decode failed: EOF".into()))?;
        let (id, stream_id) = (text(&first, "process_id")?, text(&first, "stream_id")?);
        let mut sides = Vec::new();
        // In this order, each one's head awaited before the next is asked for.
        let mut side = |stream: &str| -> Result<Output> {
            if outputs == Outputs::None {
                return Ok(Output::ended());
            }
            let lost = |source| Error::Connection {
                attempt: "read a side stream",
                source,
            };
            let reader = self
                .open_side(handle, &id, &stream_id, stream)?
                .into_reader()
                .map_err(lost)?;
            sides.push(reader.get_ref().try_clone().map_err(lost)?);
            Ok(Output::collect(reader))
        };
        let stdout = side("stdout")?;
        let stderr = side("stderr")?;
        let (objects, socket) = main.split();
        let exit = await_exit(objects)?;
        Ok(Process {
            id,
            stream_id,
            stdout,
            stderr,
            control: Mutex::new(socket),
            sides,
            exit,
        })
    }
}

impl Process {
    /// Write to the process's standard input.
    pub fn write(&self, data: &str) -> Result<()> {
        self.send(json!({ "process_id": self.id, "source": 0, "data": data }))
    }

    /// End the process's standard input.
    pub fn close_stdin(&self) -> Result<()> {
        self.send(json!({ "process_id": self.id, "source": 0 }))
    }

    /// Signal the process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.send(json!({ "process_id": self.id, "signal": signal as u8 }))
    }

    /// Set the size of the process's terminal.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        self.send(json!({ "process_id": self.id, "tty": { "window_size": { "columns": columns, "rows": rows } } }))
    }

    /// The exit status, once the process has ended and both outputs have.
    pub fn wait(&self) -> Result<i32> {
        self.wait_within(LIMIT)
    }

    /// [`wait`](Self::wait) with a limit of its own.
    pub fn wait_within(&self, limit: Duration) -> Result<i32> {
        let status = self.exit_within(limit)?;
        self.stdout.wait_for_end(limit)?;
        self.stderr.wait_for_end(limit)?;
        Ok(status)
    }

    /// The exit status as soon as the server has told it, whatever the outputs do.
    pub fn exit_within(&self, limit: Duration) -> Result<i32> {
        match self.exit.recv_timeout(limit) {
            Ok(exit) => exit,
            Err(RecvTimeoutError::Timeout) => Err(Error::Protocol(format!("{} did not end within {limit:?}", self.id))),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Protocol("the exit was asked for twice".into())),
        }
    }

    fn send(&self, object: Value) -> Result<()> {
        let mut socket = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        socket.write_all(&line(&object)).map_err(|source| Error::Connection {
            attempt: "write to the process",
            source,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.control.get_mut().unwrap_or_else(PoisonError::into_inner).hang_up();
        self.sides.iter().for_each(Socket::hang_up);
    }
}

/// Read objects until one tells the end, on a thread of its own.
fn await_exit(mut objects: Objects) -> Result<Receiver<Result<i32>>> {
    objects.without_limit().map_err(|source| Error::Connection {
        attempt: "wait for the process",
        source,
    })?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let exit = loop {
            match objects.next_object() {
                Ok(Some(object)) => {
                    if let Some(status) = object.get("exit_status").and_then(Value::as_i64) {
                        break i32::try_from(status).map_err(|_| Error::Protocol(format!("exit status {status}")));
                    }
                    if let Some(error) = object.get("error").and_then(Value::as_str) {
                        break Err(Error::Protocol(format!("connection: process error: {error}")));
                    }
                }
                Ok(None) => break Err(Error::Protocol("connection: decode failed: EOF".into())),
                Err(error) => break Err(error),
            }
        };
        // Nobody may want to know any more.
        let _ = sender.send(exit);
    });
    Ok(receiver)
}

fn text(object: &Value, key: &str) -> Result<String> {
    let value = object
        .get(key)
        .and_then(Value::as_str)
        .filter(|value| !value.is_empty());
    value
        .map(str::to_owned)
        .ok_or_else(|| Error::Protocol(format!("{object} has no {key}")))
}
