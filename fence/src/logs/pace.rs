//! How fast a container's output may be written down. Pure: the caller says what time it is.

use std::time::Duration;

use tokio::time::Instant;

/// A burst that is written at once, in seconds' worth of the rate.
const BURST_SECONDS: u64 = 4;

/// What one container has written lately.
#[derive(Debug)]
pub struct Pace {
    /// When what was written will be no burden any more.
    settled: Instant,
}

impl Pace {
    pub fn new(now: Instant) -> Pace {
        Pace { settled: now }
    }

    /// So many bytes are to be written, at most so many a second: how long to wait before that.
    pub fn wait(&mut self, bytes: u64, rate: u64, now: Instant) -> Duration {
        let rate = rate.max(1);
        let cost = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate);
        self.settled = self.settled.max(now) + cost;
        let burst = Duration::from_secs(BURST_SECONDS);
        (self.settled - now).saturating_sub(burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_a_flood_at_the_rate() {
        let start = Instant::now();
        let (mut pace, mut now, mut written) = (Pace::new(start), start, 0);
        assert_eq!(pace.wait(4000, 1000, now), Duration::ZERO);
        for _ in 0..100 {
            now += pace.wait(500, 1000, now);
            written += 500;
        }
        assert_eq!(
            (now - start).as_millis(),
            written,
            "half a byte a millisecond would be too little"
        );
        let later = now + Duration::from_secs(100);
        assert_eq!(
            pace.wait(4000, 1000, later),
            Duration::ZERO,
            "who was quiet may burst again"
        );
    }
}
