//! A conversation with a process in a container: its streams are kato's, its signals and its exit code too.
//!
//! ```text
//!         the way to it broke                    the process ended
//!  attached ───────────────▶ attaching again     ─────────────────▶ kato ends with its code
//!     ▲                         │   │
//!     └─────────────────────────┘   └─ a minute without fence, or two signals: kato gives up, the process goes on
//! ```
//!
//! The process belongs to its container. When fence is restarted, or loses its own way to the process for a moment, the
//! conversation goes on with the output that nobody has read; input and signals of the meantime are kept. The exit code is fence's to keep.

mod events;
mod input;
mod keys;
mod link;
mod output;
mod terminal;

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use events::{Event, Events};
use input::Input;
pub use input::Source;
use link::{LinkEnd, Local};
use output::Output;
use terminal::RawTerminal;
pub use terminal::window_size;

use super::problem;
use crate::commands::Context;
use crate::error::{Error, Exit, Result};
use crate::fence_api::{self, Attached, Client, RefusalKind, stream};

/// How long kato looks for fence again before it gives up.
const REATTACH: Duration = Duration::from_secs(60);
/// The pause between two attempts, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));
/// How long a signal to end may wait for a fence that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The exit codes where the program to run is not in the container, or cannot be executed, as of a shell.
const NO_PROGRAM: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// A conversation to be had.
pub struct Session<'a> {
    /// Kato's streams and options.
    pub context: &'a Context,
    /// The fence to have it through.
    pub client: Client,
    /// The container.
    pub handle: &'a str,
    /// Where the process's input comes from.
    pub source: Source,
}

/// A signal ended kato while fence did not answer.
struct Interrupted(i32);

impl Session<'_> {
    /// Begins with `begin`, which attaches to the process or starts it, and ends with the process.
    pub async fn hold(self, begin: impl Future<Output = fence_api::Result<Attached>>) -> Result<Exit> {
        let mut events = Events::listen()?;
        let mut attached = match patiently(&mut events, begin).await {
            Ok(Ok(attached)) => attached,
            Ok(Err(error)) => return self.not_begun(error).await,
            Err(interrupted) => return Ok(interrupted.exit()),
        };
        let started = attached.started.clone();
        let raw = self.raw_terminal(started.tty)?;
        let input = Input::open(self.source_for(raw.as_ref()))?;
        let mut local = Local {
            events,
            input,
            output: Output::open()?,
        };
        let lost = |dropped: &stream::Dropped| self.tell_lost(raw.as_ref(), dropped);
        loop {
            match link::converse(attached, &mut local, lost).await? {
                LinkEnd::Exited(status) => return Ok(Exit::Process(u8::try_from(status).unwrap_or(u8::MAX))),
                LinkEnd::Failed(problem) => {
                    return Err(Error::failed(format!(
                        "lost process '{}': {problem}",
                        started.process_id
                    )));
                }
                LinkEnd::Detached => return Ok(self.detached(raw, &started.process_id)),
                LinkEnd::Broken => {}
            }
            let again = self.reattach(raw.as_ref(), &started.process_id);
            attached = match patiently(&mut local.events, again).await {
                Ok(attached) => attached?,
                Err(interrupted) => return Ok(interrupted.exit()),
            };
        }
    }

    /// A program that is not there or cannot be run is told as a shell tells it; other failures are kato's own.
    async fn not_begun(&self, error: fence_api::Error) -> Result<Exit> {
        let code = match error.refusal() {
            Some(RefusalKind::ExecutableNotFound) => Some(NO_PROGRAM),
            Some(RefusalKind::NotExecutable) => Some(NOT_EXECUTABLE),
            _ => None,
        };
        let error = problem::explain(&self.client, self.handle, error).await;
        match code {
            Some(code) => {
                self.context.ui.say(error.report().trim_end());
                Ok(Exit::Process(code))
            }
            None => Err(error),
        }
    }

    fn raw_terminal(&self, tty: bool) -> Result<Option<RawTerminal>> {
        if !tty || !matches!(self.source, Source::Stdin { .. }) {
            return Ok(None);
        }
        RawTerminal::enter().map_err(|error| Error::failed("could not take over the terminal").because(error))
    }

    /// The keys that detach mean something only where somebody types them.
    fn source_for(&self, raw: Option<&RawTerminal>) -> Source {
        match self.source {
            Source::Stdin { detach_keys } => Source::Stdin {
                detach_keys: detach_keys && raw.is_some(),
            },
            other => other,
        }
    }

    async fn reattach(&self, raw: Option<&RawTerminal>, process: &str) -> Result<Attached> {
        self.detail(raw, "the connection to the process broke; attaching again");
        if let Some(raw) = raw {
            raw.keys_are_signals(true);
        }
        let attached = self.try_to_attach(process).await?;
        if let Some(raw) = raw {
            raw.keys_are_signals(false);
        }
        self.detail(raw, "attached again");
        Ok(attached)
    }

    async fn try_to_attach(&self, process: &str) -> Result<Attached> {
        let deadline = Instant::now() + REATTACH;
        let mut pause = PAUSES.0;
        loop {
            match self.client.attach(self.handle, process).await {
                Ok(attached) => return Ok(attached),
                Err(error) if error.is_temporary() && Instant::now() + pause < deadline => sleep(pause).await,
                Err(error) => return Err(self.lost(process, error)),
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn lost(&self, process: &str, error: fence_api::Error) -> Error {
        let message = format!("lost the connection to process '{process}'");
        let failed = if error.is_temporary() {
            Error::unreachable(message).hint(format!("kato container attach {} {process}", self.handle))
        } else {
            Error::failed(message)
        };
        failed.because(Error::from(error))
    }

    fn detached(&self, raw: Option<RawTerminal>, process: &str) -> Exit {
        drop(raw);
        let ui = self.context.ui;
        ui.say(&format!(
            "\ndetached; back with: kato container attach {} {process}",
            self.handle
        ));
        Exit::Done
    }

    fn tell_lost(&self, raw: Option<&RawTerminal>, dropped: &stream::Dropped) {
        let stream::Dropped { stream, bytes } = dropped;
        let text = format!("{bytes} bytes of {stream} are lost: nobody read them in time");
        self.context.ui.warn(&on(raw, text));
    }

    fn detail(&self, raw: Option<&RawTerminal>, text: &str) {
        self.context.ui.detail(&on(raw, format!("kato: {text}")));
    }
}

/// The text of a line that may go to a raw terminal, where the end of a line does not lead to the begin of the next.
fn on(raw: Option<&RawTerminal>, text: String) -> String {
    if raw.is_some() { format!("\r{text}\r") } else { text }
}

impl Interrupted {
    fn exit(&self) -> Exit {
        Exit::Process(u8::try_from(128 + self.0).unwrap_or(u8::MAX))
    }
}

/// Waits for fence while no signal says otherwise: one that asks to end may wait a little for the process to get it,
/// a second one ends the wait.
async fn patiently<T>(events: &mut Events, work: impl Future<Output = T>) -> std::result::Result<T, Interrupted> {
    tokio::pin!(work);
    let mut first: Option<(i32, Instant)> = None;
    loop {
        let until = first.map_or_else(Instant::now, |(_, until)| until);
        tokio::select! {
            done = &mut work => return Ok(done),
            event = events.arrival() => if let Event::Signal(signal) = event && events::is_ending(signal) {
                if first.is_some() {
                    return Err(Interrupted(signal));
                }
                first = Some((signal, Instant::now() + PATIENCE));
            },
            () = sleep_until(until), if first.is_some() => {
                // Only reached with a first signal, see the condition.
                return Err(Interrupted(first.map_or(0, |(signal, _)| signal)));
            }
        }
    }
}
