//! A process's output on its way to a client: tells the end of a container from a way to it that broke.
//!
//! Both first show as a lost connection to the container's first process. That a container ended is known from the
//! engine, a moment later; the outputs of its processes have come to their end then.
//!
//! Over a way that broke Garden's clients, which cannot be told to come again, get the rest from here. kato can: it attaches
//! again and sends again what may be lost of its input, which only it still has.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::supervisor::{Chunk, OutputReader, Result};

/// How long it may take until it is known that a container ended.
pub(super) const END_KNOWN: Duration = Duration::from_secs(1);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The next piece, or `None` at the end. A temporary error: the process goes on, and another attachment can have the
/// rest.
pub(super) async fn next(output: &mut OutputReader) -> Result<Option<Chunk>> {
    let mut broken: Option<Instant> = None;
    loop {
        match output.next().await {
            Err(error) if error.is_temporary() && broken.get_or_insert_with(Instant::now).elapsed() < END_KNOWN => {
                sleep(LOOK).await;
            }
            next => return next,
        }
    }
}

/// As [`next`], over a way that breaks and is there again. A temporary error: it was not there again for a while.
pub(super) async fn next_over_breaks(output: &mut OutputReader) -> Result<Option<Chunk>> {
    loop {
        match output.next().await {
            Err(error) if error.is_temporary() => output.resume().await?,
            next => return next,
        }
    }
}
