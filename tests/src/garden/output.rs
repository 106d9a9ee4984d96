//! One output of a process, collected while it comes: readers wait for what they expect in it, with a deadline.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{Error, Result};

/// A cheap handle on what one side stream has delivered so far.
#[derive(Clone, Debug, Default)]
pub struct Output {
    shared: Arc<(Mutex<Collected>, Condvar)>,
}

#[derive(Debug, Default)]
struct Collected {
    bytes: Vec<u8>,
    /// The stream ended, and how.
    end: Option<std::result::Result<(), String>>,
}

impl Output {
    /// An output that ended with nothing in it.
    pub(super) fn ended() -> Output {
        let output = Output::default();
        output.lock().end = Some(Ok(()));
        output
    }

    /// Collect everything the reader gives, on a thread of its own.
    pub(super) fn collect(mut reader: impl Read + Send + 'static) -> Output {
        let output = Output::default();
        let filled = output.clone();
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                let end = match reader.read(&mut buffer) {
                    Ok(0) => Ok(()),
                    Ok(count) => {
                        filled.lock().bytes.extend_from_slice(&buffer[..count]);
                        filled.shared.1.notify_all();
                        continue;
                    }
                    Err(error) => Err(error.to_string()),
                };
                filled.lock().end = Some(end);
                filled.shared.1.notify_all();
                return;
            }
        });
        output
    }

    /// What came so far.
    pub fn so_far(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// What came so far, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Wait until the output contains the text.
    pub fn wait_for(&self, text: &str, limit: Duration) -> Result<()> {
        let contains = |c: &Collected| {
            c.bytes
                .windows(text.len().max(1))
                .any(|window| window == text.as_bytes())
        };
        let what = format!("{text:?}");
        let collected = self.wait(limit, &what, |c| contains(c) || c.end.is_some())?;
        if contains(&collected) {
            return Ok(());
        }
        Err(Error::Protocol(format!(
            "the output ended without {text:?}: {:?}",
            String::from_utf8_lossy(&collected.bytes)
        )))
    }

    /// Wait until the server has closed the stream.
    pub fn wait_for_end(&self, limit: Duration) -> Result<()> {
        let collected = self.wait(limit, "its end", |c| c.end.is_some())?;
        match &collected.end {
            Some(Err(error)) => Err(Error::Protocol(format!("the output broke off: {error}"))),
            _ => Ok(()),
        }
    }

    fn wait(
        &self,
        limit: Duration,
        what: &str,
        done: impl Fn(&Collected) -> bool,
    ) -> Result<MutexGuard<'_, Collected>> {
        let deadline = Instant::now() + limit;
        let mut collected = self.lock();
        while !done(&collected) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let tail = &collected.bytes[collected.bytes.len().saturating_sub(2000)..];
                let tail = String::from_utf8_lossy(tail);
                return Err(Error::Protocol(format!(
                    "waited {limit:?} for {what} in the output, which ends {tail:?}"
                )));
            }
            collected = self
                .shared
                .1
                .wait_timeout(collected, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(collected)
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
