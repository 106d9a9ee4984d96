//! How long the agent waits before it starts a process again, and when it calls its deaths a failure.

use std::time::Duration;

use cluster::process::State;

/// The times a worker goes by.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The wait after the first death; doubled after each further one.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// After so many deaths in a row the state is [`State::Fatal`].
    pub fatal_after: u32,
    /// A process that ran as long is healthy: a later death is the first again.
    pub healthy_after: Duration,
    /// How soon a process that is not ready yet is asked again, at first.
    pub ask_starting: Duration,
    /// How often a process that was ready is asked.
    pub ask_running: Duration,
    /// How long one answer may take.
    pub answer_within: Duration,
    /// How long a process waits for those it needs before it is started all the same.
    pub needs_within: Duration,
    /// How long a process may take to end in its own time.
    pub end_within: Duration,
    /// How long a killed process may take to be gone.
    pub die_within: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            fatal_after: 5,
            healthy_after: Duration::from_secs(30),
            ask_starting: Duration::from_millis(50),
            ask_running: Duration::from_secs(5),
            answer_within: Duration::from_secs(2),
            needs_within: Duration::from_secs(30),
            end_within: Duration::from_secs(30),
            die_within: Duration::from_secs(10),
        }
    }
}

impl Timing {
    /// How long to wait after the `deaths`th death in a row.
    pub fn wait_after(&self, deaths: u32) -> Duration {
        let doublings = deaths.saturating_sub(1).min(31);
        self.first_wait.saturating_mul(1 << doublings).min(self.longest_wait)
    }

    /// How long to wait before a process that is not ready is asked again, after a wait of `last`.
    pub fn next_question(&self, last: Duration) -> Duration {
        last.saturating_mul(2).clamp(self.ask_starting, self.ask_starting * 20)
    }

    /// The state in which that wait is spent.
    pub fn state_after(&self, deaths: u32) -> State {
        if deaths < self.fatal_after {
            State::Backoff
        } else {
            State::Fatal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let timing = Timing::default();
        let waits: Vec<u128> = (1..=8).map(|deaths| timing.wait_after(deaths).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(timing.wait_after(u32::MAX), timing.longest_wait);
    }

    #[test]
    fn repeated_deaths_are_fatal() {
        let timing = Timing::default();
        assert_eq!(
            [1, 4, 5, 6].map(|n| timing.state_after(n)),
            [State::Backoff, State::Backoff, State::Fatal, State::Fatal]
        );
    }
}
