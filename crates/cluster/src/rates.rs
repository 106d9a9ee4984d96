//! How often one address may ask: pure, told the time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many addresses are remembered; beyond that, those that have been quiet are forgotten.
const MAX_ADDRESSES: usize = 10_000;

/// So many questions at once, and one more after each pause.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// The pause after which there is one more.
    pub every: Duration,
}

/// Who has asked how often.
pub struct Rates {
    rate: Rate,
    /// When each address would have asked last if it had kept to its pace.
    asked: HashMap<IpAddr, Instant>,
}

impl Rates {
    /// Nobody has asked.
    pub fn new(rate: Rate) -> Self {
        Rates {
            rate,
            asked: HashMap::new(),
        }
    }

    /// Whether this address may ask now; if so, it has.
    pub fn may_ask(&mut self, address: IpAddr, now: Instant) -> bool {
        if self.asked.len() >= MAX_ADDRESSES && !self.asked.contains_key(&address) {
            self.asked.retain(|_, last| *last > now);
            if self.asked.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let last = self.asked.get(&address).copied().unwrap_or(now).max(now);
        let next = last + self.rate.every;
        if next > now + self.rate.every * self.rate.burst {
            return false;
        }
        self.asked.insert(address, next);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        burst: 3,
        every: Duration::from_secs(1),
    };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn an_address_has_its_burst_and_then_its_pace_and_others_are_not_held_up() {
        let (mut rates, now) = (Rates::new(RATE), Instant::now());
        let asked: Vec<bool> = (0..5).map(|_| rates.may_ask(address(1), now)).collect();
        assert_eq!(asked, [true, true, true, false, false]);
        assert!(rates.may_ask(address(2), now));
        let later = now + RATE.every;
        assert!(rates.may_ask(address(1), later));
        assert!(!rates.may_ask(address(1), later));
    }

    #[test]
    fn the_memory_is_bounded() {
        let (mut rates, now) = (Rates::new(RATE), Instant::now());
        for i in 0..MAX_ADDRESSES as u32 {
            assert!(rates.may_ask(IpAddr::from((1 << 24 | i).to_be_bytes()), now));
        }
        assert!(!rates.may_ask(address(1), now));
        assert!(rates.may_ask(address(1), now + RATE.every * 2));
        assert!(rates.asked.len() < 10);
    }
}
