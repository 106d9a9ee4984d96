//! Waiting for a condition, with a deadline; nothing in a story sleeps for a time that someone guessed.

use std::thread;
use std::time::{Duration, Instant};

/// How long a story waits for something that should happen soon.
pub const LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// Ask until there is an answer; none when there is none in time.
pub fn poll<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() >= deadline {
            return answer;
        }
        thread::sleep(PAUSE);
    }
}

/// Ask until there is an answer, and panic with what was awaited when there is none in time.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, ask: impl FnMut() -> Option<T>) -> T {
    match poll(limit, ask) {
        Some(answer) => answer,
        None => panic!("waited {limit:?} in vain: {what}"),
    }
}
