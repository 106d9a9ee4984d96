//! How often each one may ask, and how much each may have open, by address or by name. It is told the time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many are remembered; beyond that, those that have been quiet are forgotten.
const MAX_KNOWN: usize = 10_000;

/// So many questions at once, and one more after each pause.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// The pause after which there is one more.
    pub every: Duration,
}

/// Who has asked how often.
pub struct Rates<K> {
    rate: Rate,
    /// When each would have asked last if it had kept to its pace.
    asked: HashMap<K, Instant>,
}

impl<K: Eq + Hash> Rates<K> {
    /// Nobody has asked.
    pub fn new(rate: Rate) -> Self {
        Rates {
            rate,
            asked: HashMap::new(),
        }
    }

    /// Whether this one may ask now; if so, it has.
    pub fn may_ask(&mut self, who: K, now: Instant) -> bool {
        self.may_ask_for(who, 1, now)
    }

    /// The same for something that counts as so many questions; it must not be more than a burst.
    pub fn may_ask_for(&mut self, who: K, cost: u32, now: Instant) -> bool {
        if self.asked.len() >= MAX_KNOWN && !self.asked.contains_key(&who) {
            self.asked.retain(|_, last| *last > now);
            if self.asked.len() >= MAX_KNOWN {
                return false;
            }
        }
        let last = self.asked.get(&who).copied().unwrap_or(now).max(now);
        let next = last + self.rate.every * cost;
        if next > now + self.rate.every * self.rate.burst {
            return false;
        }
        self.asked.insert(who, next);
        true
    }
}

/// How much each one has open.
pub struct Counts<K: Eq + Hash> {
    /// The most of one.
    most: usize,
    open: Mutex<HashMap<K, usize>>,
}

impl<K: Eq + Hash + Clone> Counts<K> {
    /// Nobody has anything open; each may have so much.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Counts {
            most,
            open: Mutex::default(),
        })
    }

    /// One more of this one's, unless it has the most already. It counts until what is returned is dropped.
    pub fn enter(self: &Arc<Self>, who: K) -> Option<Entered<K>> {
        let mut open = self.open();
        let count = open.entry(who.clone()).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Entered {
            counts: Arc::clone(self),
            who,
        })
    }
}

impl<K: Eq + Hash> Counts<K> {
    fn open(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        // A panic elsewhere leaves counts as they are, which is right.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that is open, and counted.
pub struct Entered<K: Eq + Hash> {
    counts: Arc<Counts<K>>,
    who: K,
}

impl<K: Eq + Hash> Drop for Entered<K> {
    fn drop(&mut self) {
        let mut open = self.counts.open();
        if let Some(count) = open.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const RATE: Rate = Rate {
        burst: 3,
        every: Duration::from_secs(1),
    };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn each_has_its_burst_and_then_its_pace_and_others_are_not_held_up() {
        let (mut rates, now) = (Rates::new(RATE), Instant::now());
        let asked: Vec<bool> = (0..5).map(|_| rates.may_ask(address(1), now)).collect();
        assert_eq!(asked, [true, true, true, false, false]);
        assert!(rates.may_ask(address(2), now));
        assert!(!rates.may_ask_for(address(2), 3, now) && rates.may_ask_for(address(2), 2, now));
        let later = now + RATE.every;
        assert!(rates.may_ask(address(1), later));
        assert!(!rates.may_ask(address(1), later));
    }

    #[test]
    fn each_has_so_much_open_and_no_more_until_it_closes() {
        let counts = Counts::new(2);
        let (first, second) = (counts.enter("a"), counts.enter("a"));
        assert!(first.is_some() && second.is_some() && counts.enter("a").is_none());
        assert!(counts.enter("b").is_some());
        drop(first);
        assert!(counts.enter("a").is_some());
        drop(second);
        assert!(counts.open().is_empty());
    }

    #[test]
    fn the_memory_is_bounded() {
        let (mut rates, now) = (Rates::new(RATE), Instant::now());
        for i in 0..MAX_KNOWN as u32 {
            assert!(rates.may_ask(IpAddr::from((1 << 24 | i).to_be_bytes()), now));
        }
        assert!(!rates.may_ask(address(1), now));
        assert!(rates.may_ask(address(1), now + RATE.every * 2));
        assert!(rates.asked.len() < 10);
    }
}
