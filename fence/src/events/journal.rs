//! The last events of the node, for whoever asks from which number on.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::file::{Files, PER_FILE};
use super::{Event, What};
use crate::container::Handle;

/// The most events that are kept.
const KEPT: usize = 2 * PER_FILE;

/// The node's events. Clones are the same journal.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    /// The number of the last event.
    last: watch::Sender<u64>,
}

struct State {
    files: Files,
    kept: VecDeque<Arc<Event>>,
    last: u64,
    /// Whether it was said that events cannot be written.
    failing: bool,
}

/// Some events.
#[derive(Debug)]
pub struct Batch {
    pub events: Vec<Arc<Event>>,
    /// Where to go on.
    pub upto: u64,
    /// Events between where this was to begin and where it does are no longer kept, or the numbers have begun anew.
    pub missed: bool,
}

impl Journal {
    /// The journal in this directory. Where that cannot be used, events are kept in memory until it can.
    pub fn open(directory: &Path) -> Journal {
        let (files, kept, last) = match Files::open(directory) {
            Ok((files, found)) => (files, found.events, found.last),
            Err(error) => {
                tracing::error!(path = %directory.display(), %error, "could not read the events kept");
                (Files::none(directory), Vec::new(), 0)
            }
        };
        let mut kept: VecDeque<Arc<Event>> = kept.into_iter().map(Arc::new).collect();
        kept.drain(..kept.len().saturating_sub(KEPT));
        let state = State {
            files,
            kept,
            last,
            failing: false,
        };
        let inner = Inner {
            state: Mutex::new(state),
            last: watch::Sender::new(last),
        };
        Journal { inner: Arc::new(inner) }
    }

    /// Something happened.
    pub fn tell(&self, container: &Handle, instance: &str, what: What) {
        let mut state = self.state();
        let event = Event {
            number: state.last + 1,
            time: jiff::Timestamp::now().to_string(),
            container: container.clone(),
            instance: instance.to_owned(),
            what: what.bounded(),
        };
        match state.files.put(&event) {
            Ok(()) => state.failing = false,
            Err(error) if !state.failing => {
                tracing::error!(%error, "could not write an event down; it is kept in memory alone");
                state.failing = true;
            }
            Err(_) => {}
        }
        state.last = event.number;
        state.kept.push_back(Arc::new(event));
        if state.kept.len() > KEPT {
            state.kept.pop_front();
        }
        let last = state.last;
        // Before the next can be told, so that numbers are never seen to fall.
        self.inner.last.send_replace(last);
    }

    /// At most so many events after this number, of this container where one is given.
    pub fn after(&self, number: u64, container: Option<&str>, most: usize) -> Batch {
        let state = self.state();
        let first = state.kept.front().map_or(state.last + 1, |event| event.number);
        let (from, missed) = match number {
            // Of all that there is.
            0 => (0, false),
            number if number > state.last => (0, true),
            number => (number, number + 1 < first),
        };
        let start = state.kept.partition_point(|event| event.number <= from);
        let mut upto = state.last;
        let mut events = Vec::new();
        for event in state.kept.iter().skip(start) {
            if container.is_some_and(|wanted| event.container.as_str() != wanted) {
                continue;
            }
            if events.len() == most {
                break;
            }
            events.push(event.clone());
            upto = event.number;
        }
        if events.len() < most {
            upto = state.last;
        }
        Batch { events, upto, missed }
    }

    /// The number of the last event, as it grows.
    pub fn last(&self) -> watch::Receiver<u64> {
        self.inner.last.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tell(journal: &Journal, handle: &str, times: usize) {
        for _ in 0..times {
            journal.tell(&handle.parse().unwrap(), "i", What::Paused);
        }
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|event| event.number).collect()
    }

    #[test]
    fn numbers_go_on_after_a_restart_and_events_are_still_there() {
        let dir = tempfile::tempdir().unwrap();
        tell(&Journal::open(dir.path()), "a", 3);
        let journal = Journal::open(dir.path());
        tell(&journal, "b", 2);
        assert_eq!(numbers(&journal.after(0, None, 10)), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(&journal.after(2, None, 2)), [3, 4]);
        let of_b = journal.after(1, Some("b"), 10);
        assert_eq!((numbers(&of_b), of_b.upto, of_b.missed), (vec![4, 5], 5, false));
        assert_eq!(*journal.last().borrow(), 5);
    }

    #[test]
    fn a_line_that_was_cut_off_is_nobodys_and_the_next_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        tell(&Journal::open(dir.path()), "a", 1);
        let file = dir.path().join("events.jsonl");
        let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
        file.write_all(br#"{"number":2,"ti"#).unwrap();
        tell(&Journal::open(dir.path()), "a", 1);
        let journal = Journal::open(dir.path());
        assert_eq!(numbers(&journal.after(0, None, 10)), [1, 2]);
    }

    #[test]
    fn numbers_leave_a_gap_after_the_machine_was_started() {
        let dir = tempfile::tempdir().unwrap();
        tell(&Journal::open(dir.path()), "a", 2);
        std::fs::write(dir.path().join("boot"), "another").unwrap();
        let journal = Journal::open(dir.path());
        tell(&journal, "a", 1);
        assert_eq!(numbers(&journal.after(2, None, 10)), [1003]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_who_missed_some_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path());
        tell(&journal, "a", KEPT + 10);
        for journal in [journal, Journal::open(dir.path())] {
            let batch = journal.after(5, None, 1);
            assert!(batch.missed);
            assert!(batch.events[0].number > 10);
            assert!(!journal.after((KEPT + 9) as u64, None, 1).missed);
            assert!(
                journal.after((KEPT + 11) as u64, None, 1).missed,
                "the numbers began anew"
            );
        }
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(files.len(), 3);
    }

    #[test]
    fn without_a_directory_events_are_told_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let journal = Journal::open(&dir.path().join("file"));
        tell(&journal, "a", 2);
        assert_eq!(numbers(&journal.after(0, None, 10)), [1, 2]);
    }
}
