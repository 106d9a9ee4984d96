//! Which image was configured when: what a create may have been made of.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The history of the configured image. Only images that are here are written down.
#[derive(Debug)]
pub struct Images {
    set: Mutex<Vec<Set>>,
}

#[derive(Debug)]
struct Set {
    name: String,
    asked: Instant,
    acknowledged: Option<Instant>,
}

impl Images {
    /// This one is configured.
    pub fn new(name: &str) -> Images {
        let now = Instant::now();
        let first = Set {
            name: name.to_owned(),
            asked: now,
            acknowledged: Some(now),
        };
        Images {
            set: Mutex::new(vec![first]),
        }
    }

    /// Another one is being configured.
    pub fn asked(&self, name: &str) {
        self.set().push(Set {
            name: name.to_owned(),
            asked: Instant::now(),
            acknowledged: None,
        });
    }

    /// It is.
    pub fn acknowledged(&self) {
        if let Some(last) = self.set().last_mut() {
            last.acknowledged = Some(Instant::now());
        }
    }

    /// Whether a create that was asked for and answered then may have got this one.
    pub fn may_be(&self, name: &str, from: Instant, to: Instant) -> bool {
        let set = self.set();
        // One is over when the next was acknowledged before the create was asked for.
        let over = |at: usize| {
            let mut later = set[at + 1..].iter();
            later.any(|next| next.acknowledged.is_some_and(|then| then < from))
        };
        let mut all = set.iter().enumerate();
        all.any(|(at, it)| it.name == name && it.asked <= to && !over(at))
    }

    fn set(&self) -> MutexGuard<'_, Vec<Set>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
