//! Processes in a container: run, attach, and the way to their output.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fence_init::protocol::{FailureKind, Rlimit, SpawnSpec, WindowSize as InitWindowSize};

use super::entry::Entry;
use super::logging;
use super::{Error, Result, Supervisor};
use crate::container::{ExitStatus, Handle, Limits, ProcessId, ProcessSpec, State, WindowSize};
use crate::events::What;
use crate::fault;
use crate::init;

pub use crate::init::{Chunk, InputSource, Stream, Written};

/// How long the outputs of an attachment whose process has ended can still be fetched by their stream id.
const KEEP_OUTPUTS: Duration = Duration::from_secs(60);

impl Supervisor {
    /// Run a process. Returns once its program runs.
    pub async fn run(&self, handle: &Handle, spec: ProcessSpec) -> Result<Attachment> {
        spec.check()?;
        let entry = self.entry(handle)?;
        self.check_running(&entry, "run a process")?;
        self.check_time_left()?;
        fault::point("run/spawning");
        let attachment = match spec.pea.clone() {
            Some(pea) => self.run_pea(&entry, spec, pea).await?,
            None => self.spawn(&entry, spec).await?,
        };
        let process = attachment.process_id().clone();
        self.tell(&entry, What::ProcessStarted { process });
        fault::point("run/spawned");
        Ok(attachment)
    }

    /// Attach to a process that runs, or ended and whose end nobody was told yet.
    pub async fn attach(&self, handle: &Handle, process: &ProcessId) -> Result<Attachment> {
        let entry = self.entry(handle)?;
        let has_processes = matches!(entry.record().state, State::Active | State::Stopped) && entry.record().pid != 0;
        if !has_processes || process.is_internal() {
            return Err(Error::ProcessNotFound {
                handle: handle.clone(),
                process: process.to_string(),
            });
        }
        check_not_paused(&entry, "attach to a process")?;
        let attachment = entry
            .link_of(process)
            .attach(process)
            .await
            .map_err(|error| process_failed(handle, process, error))?;
        Ok(Attachment::new(entry, attachment))
    }

    /// As [`attach`](Supervisor::attach), once those attached have left or stayed for so long: what they do not take
    /// of the output is given only to an attachment that is alone.
    pub async fn attach_after(&self, handle: &Handle, process: &ProcessId, patience: Duration) -> Result<Attachment> {
        if let Some(known) = self.entry(handle)?.link_of(process).process(process) {
            let _ = tokio::time::timeout(patience, known.unattached()).await;
        }
        self.attach(handle, process).await
    }

    /// The reader of an attachment's output, by its stream id; `None` = there is no such attachment, or it was taken.
    pub fn take_output(
        &self,
        handle: &Handle,
        process: &ProcessId,
        stream_id: &str,
        stream: Stream,
    ) -> Option<OutputReader> {
        let entry = self.entry(handle).ok()?;
        let attachment = entry.attachments().get(stream_id).cloned()?;
        if attachment.process().id != *process {
            return None;
        }
        let reader = attachment.take_output(stream)?;
        Some(OutputReader {
            handle: handle.clone(),
            reader,
        })
    }

    pub(super) async fn spawn(&self, entry: &Arc<Entry>, spec: ProcessSpec) -> Result<Attachment> {
        let id = spec.id.clone().unwrap_or_else(ProcessId::fresh);
        if entry.peas().contains_key(&id) {
            let handle = entry.handle.clone();
            return Err(Error::ProcessExists { handle, process: id });
        }
        let spec = {
            let record = entry.record();
            let env = record.image.env.iter().chain(&record.spec.env);
            self.init_spec(env, &record.limits, &id, spec)
        };
        let attachment = entry.link.spawn(spec, id.clone()).await;
        let attachment = attachment.map_err(|error| process_failed(&entry.handle, &id, error))?;
        self.keep_logs(entry);
        Ok(Attachment::new(entry.clone(), attachment))
    }

    /// What init is asked for, given the environment that the process's own comes after.
    pub(super) fn init_spec<'a>(
        &self,
        env: impl Iterator<Item = &'a String>,
        limits: &Limits,
        id: &ProcessId,
        spec: ProcessSpec,
    ) -> SpawnSpec {
        let mut env: Vec<String> = env.cloned().collect();
        env.extend(spec.env);
        SpawnSpec {
            id: id.to_string(),
            path: spec.path,
            args: spec.args,
            env,
            dir: spec.dir,
            user: spec.user,
            rlimits: spec
                .rlimits
                .into_iter()
                .map(|(resource, value)| Rlimit { resource, value })
                .collect(),
            tty: spec.tty.map(|size| InitWindowSize {
                columns: size.columns,
                rows: size.rows,
            }),
            buffer: self.policy().output_buffer_for(limits),
            log: if spec.log { logging::fresh_run() } else { 0 },
        }
    }

    pub(super) fn check_running(&self, entry: &Entry, attempt: &'static str) -> Result<()> {
        let wrong = |state| {
            Err(Error::WrongState {
                handle: entry.handle.clone(),
                attempt,
                state,
            })
        };
        if entry.is_being_destroyed() {
            return wrong("being destroyed");
        }
        check_not_paused(entry, attempt)?;
        let record = entry.record();
        match record.state {
            State::Active | State::Stopped if record.pid == 0 => wrong("not running; start it first"),
            State::Creating | State::Active | State::Stopped => Ok(()),
            State::Lost => wrong("lost: the engine no longer has it"),
            State::Destroying => wrong("being destroyed"),
        }
    }
}

/// What is frozen gives no answer, and whoever asked would wait for it in vain.
pub(super) fn check_not_paused(entry: &Entry, attempt: &'static str) -> Result<()> {
    match entry.record().paused {
        true => Err(Error::Paused {
            handle: entry.handle.clone(),
            attempt,
        }),
        false => Ok(()),
    }
}

/// A client's attachment to a process.
///
/// Dropping it ends the attachment once the readers taken from it are gone too. Where the process has ended, what was
/// not read of its output can still be taken by stream id for a minute.
pub struct Attachment {
    entry: Arc<Entry>,
    inner: Arc<init::Attachment>,
    stream_id: String,
}

impl Attachment {
    pub(super) fn new(entry: Arc<Entry>, inner: init::Attachment) -> Attachment {
        let inner = Arc::new(inner);
        let stream_id = uuid::Uuid::now_v7().simple().to_string();
        entry.attachments().insert(stream_id.clone(), inner.clone());
        Attachment {
            entry,
            inner,
            stream_id,
        }
    }

    /// The process.
    pub fn process_id(&self) -> &ProcessId {
        &self.inner.process().id
    }

    /// The name under which [`Supervisor::take_output`] finds this attachment's outputs.
    pub fn stream_id(&self) -> &str {
        &self.stream_id
    }

    /// Whether all output comes on one stream, from a terminal.
    pub fn has_tty(&self) -> bool {
        self.inner.has_tty()
    }

    /// The reader of a stream; each can be taken once.
    pub fn take_output(&self, stream: Stream) -> Option<OutputReader> {
        let reader = self.inner.take_output(stream)?;
        Some(OutputReader {
            handle: self.entry.handle.clone(),
            reader,
        })
    }

    /// What can be done to the process.
    pub fn control(&self) -> ProcessControl {
        ProcessControl {
            handle: self.entry.handle.clone(),
            control: self.inner.control(),
        }
    }

    /// End it at once: what was not read of its output is what the next attachment begins with.
    pub fn leave(mut self) {
        let stream_id = std::mem::take(&mut self.stream_id);
        self.entry.attachments().remove(&stream_id);
    }

    /// Wait until the process has ended, whatever of its output was read.
    pub async fn wait(&self) -> Result<ExitStatus> {
        Ok(ExitStatus(self.inner.wait().await.status()))
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let entry = Arc::downgrade(&self.entry);
        let stream_id = std::mem::take(&mut self.stream_id);
        let forget = move || {
            if let Some(entry) = entry.upgrade() {
                entry.attachments().remove(&stream_id);
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.inner.process().exit().is_some() => {
                runtime.spawn(async move {
                    tokio::time::sleep(KEEP_OUTPUTS).await;
                    forget();
                });
            }
            _ => forget(),
        }
    }
}

/// Reads one output of an attachment.
pub struct OutputReader {
    handle: Handle,
    reader: init::OutputReader,
}

impl OutputReader {
    /// The next piece, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        self.reader
            .next()
            .await
            .map_err(|error| init_failed(&self.handle, error))
    }

    /// Go on with what follows once the way to the process was lost, as soon as it is there again; an error where it is not
    /// for a while.
    pub async fn resume(&mut self) -> Result<()> {
        self.reader
            .resume()
            .await
            .map_err(|error| init_failed(&self.handle, error))
    }

    /// What [`next`](OutputReader::next) gave so far was passed on, and need not be kept for the next attachment.
    pub fn delivered(&mut self) {
        self.reader.delivered();
    }

    /// As [`delivered`](OutputReader::delivered), for what comes before this offset of the whole stream.
    pub fn delivered_upto(&mut self, offset: u64) {
        self.reader.delivered_upto(offset);
    }

    /// Where in the whole stream the next piece begins.
    pub fn position(&self) -> u64 {
        self.reader.position()
    }
}

/// What can be done to a process by whoever is attached to it.
#[derive(Clone)]
pub struct ProcessControl {
    handle: Handle,
    control: init::ProcessControl,
}

impl ProcessControl {
    /// Pass on input, of a source where one is given; waits while the process does not read.
    pub async fn write(&self, data: Bytes, source: Option<&mut InputSource>) -> Result<Written> {
        self.control
            .write(data, source)
            .await
            .map_err(|error| init_failed(&self.handle, error))
    }

    /// Wait until the container's first process has passed on what was written until then, or nobody will ever read it.
    pub async fn passed_on(&self, written: Written) {
        self.control.passed_on(written).await;
    }

    /// The source of this name with what the process has of its input, which it is not given twice; `None` where its
    /// container's first process is too old for it.
    pub async fn input_source(&self, name: u64) -> Result<Option<InputSource>> {
        self.control
            .input_source(name)
            .await
            .map_err(|error| init_failed(&self.handle, error))
    }

    /// The input has come to its end.
    pub async fn close_input(&self) -> Result<()> {
        self.control
            .close_input()
            .await
            .map_err(|error| init_failed(&self.handle, error))
    }

    /// Send a signal by its Linux number.
    pub async fn signal(&self, signal: i32) -> Result<()> {
        self.control
            .signal(signal)
            .await
            .map_err(|error| init_failed(&self.handle, error))
    }

    /// Set the size of the process's terminal.
    pub async fn resize(&self, size: WindowSize) -> Result<()> {
        self.control
            .resize(size)
            .await
            .map_err(|error| init_failed(&self.handle, error))
    }
}

/// An error of init that is about no process in particular.
pub(super) fn init_failed(handle: &Handle, error: init::Error) -> Error {
    match error {
        init::Error::Refused(failure) => Error::ProcessRefused {
            handle: handle.clone(),
            message: failure.message,
        },
        other => Error::InitUnreachable {
            handle: handle.clone(),
            reason: other.to_string(),
        },
    }
}

pub(super) fn process_failed(handle: &Handle, process: &ProcessId, error: init::Error) -> Error {
    let handle = handle.clone();
    match error.refusal() {
        Some(FailureKind::ExecutableNotFound) => Error::ExecutableNotFound {
            handle,
            message: error.to_string(),
        },
        Some(FailureKind::NotExecutable) => Error::NotExecutable {
            handle,
            message: error.to_string(),
        },
        Some(FailureKind::ProcessNotFound) => Error::ProcessNotFound {
            handle,
            process: process.to_string(),
        },
        Some(FailureKind::ProcessExists) => Error::ProcessExists {
            handle,
            process: process.clone(),
        },
        Some(FailureKind::UserNotFound | FailureKind::Invalid | FailureKind::Limit | FailureKind::System) | None => {
            init_failed(&handle, error)
        }
    }
}
