//! The end of the container, asked for from outside (`docker stop`): every process is told to terminate, after a
//! while killed; init itself leaves when none is left and who listens has heard of it, or when time is up.

use std::time::{Duration, Instant};

use nix::libc;

use crate::link::Link;
use crate::reach::Reach;
use crate::table::Table;

/// How long processes have to terminate: less than the ten seconds after which Docker kills init.
const TERMINATE: Duration = Duration::from_secs(8);
/// How long they have to be gone once they were killed.
const KILL: Duration = Duration::from_secs(1);
/// How long fence may take to read the last output once all are gone.
const DELIVER: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Terminating,
    Killing,
    Delivering,
}

/// How far the stop has come.
#[derive(Debug)]
pub struct Stop {
    step: Step,
    deadline: Instant,
    reach: Reach,
}

impl Stop {
    /// Tells every process to terminate. One that is suspended has to run for that.
    pub fn begin(now: Instant, reach: Reach) -> Self {
        // A signal that cannot be sent leaves the kill at the end.
        let _ = reach.signal(libc::SIGTERM);
        let _ = reach.signal(libc::SIGCONT);
        Self {
            step: Step::Terminating,
            deadline: now + TERMINATE,
            reach,
        }
    }

    /// When to look again at the latest.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Goes on as far as it can, and says whether init may leave. To be called whenever anything happened.
    pub fn advance(&mut self, now: Instant, table: &Table, link: &Link) -> bool {
        if self.step != Step::Delivering && !self.reach.any() {
            self.step = Step::Delivering;
            self.deadline = now + DELIVER;
        }
        let late = now >= self.deadline;
        match self.step {
            Step::Terminating if late => {
                let _ = self.reach.signal(libc::SIGKILL);
                self.step = Step::Killing;
                self.deadline = now + KILL;
                false
            }
            Step::Terminating => false,
            Step::Killing => late,
            Step::Delivering => late || !link.is_up() || (link.is_flushed() && table.delivered()),
        }
    }
}
