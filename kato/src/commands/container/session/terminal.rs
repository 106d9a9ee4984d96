//! The administrator's terminal: raw while a process of a container owns it, and as it was in every end.
//!
//! The state before is kept here for the whole program, because a panic has to restore it too.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, Once, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::fence_api::spec::WindowSize;

static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);
static PANIC_HOOK: Once = Once::new();

/// The terminal is raw as long as this lives.
#[derive(Debug)]
pub struct RawTerminal {
    raw: Termios,
}

impl RawTerminal {
    /// Makes the terminal on standard input raw: every key goes to the process. `None` where there is no terminal.
    pub fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        PANIC_HOOK.call_once(restore_on_panic);
        let entered = RawTerminal { raw };
        tcsetattr(&stdin, OptionalActions::Now, &entered.raw)?;
        Ok(Some(entered))
    }

    /// Whether Ctrl-C and its like are signals to kato, as they are while there is no process to type them to.
    pub fn keys_are_signals(&self, signals: bool) {
        let mut modes = self.raw.clone();
        modes.local_modes.set(LocalModes::ISIG, signals);
        // A terminal that is gone has no keys.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone needs nothing restored.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

fn restore_on_panic() {
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        next(panic);
    }));
}

/// The size of the terminal on standard input, else of the one on standard output.
pub fn window_size() -> Option<WindowSize> {
    let size = tcgetwinsize(io::stdin()).or_else(|_| tcgetwinsize(io::stdout())).ok()?;
    // A terminal that was never given a size says 0; the process gets the usual size then.
    let known = size.ws_col > 0 && size.ws_row > 0;
    known.then_some(WindowSize {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}
