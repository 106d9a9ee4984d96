//! What is out of order and being put right: since when, how often it was tried, when it is tried next.
//!
//! Pure bookkeeping over an instant that is handed in; what is compared and done stands in [`super::reconcile`]
//! and [`super::sweep`]. Nothing is given up for good: the pauses between tries grow to [`RepairTimes::longest`], and what
//! failed is shown in the node's status until it is done.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// How often it is looked whether a container turns up that the engine was asked for and has not given.
const LATE_LOOKS: u32 = 7;

/// How patient repairs are.
#[derive(Clone, Copy, Debug)]
pub struct RepairTimes {
    /// How long something has to be there without a record before it is removed: it may just be being made.
    pub grace: Duration,
    /// The pause after the first try that failed; each further one is twice as long.
    pub first: Duration,
    pub longest: Duration,
}

impl Default for RepairTimes {
    fn default() -> RepairTimes {
        RepairTimes {
            grace: Duration::from_secs(5),
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
        }
    }
}

/// Something that could not be put right yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub what: String,
    pub why: String,
    /// RFC 3339.
    pub since: String,
    pub tries: u32,
}

/// What can be out of order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A container whose create or destroy was cut off, by instance.
    CutOff(String),
    /// A container that ended with the machine, by instance.
    Comeback(String),
    /// A container that is to be stopped because the node is being retired, by instance.
    Retired(String),
    /// A record that could not be taken over, by handle.
    Record(String),
    /// A container of this node without a record, by the engine's id.
    Stray(String),
    /// The same where its record was lost and cannot be had back yet.
    Lost(String),
    /// A disk without room, by a directory on it.
    Disk(PathBuf),
    /// A container that the engine may yet make, by instance.
    Late(String),
    /// A container's directory without a record.
    Directory(PathBuf),
    /// The ports of a container, by instance.
    Ports(String),
    /// The rules in the kernel.
    Rules,
}

struct Repair {
    next: Instant,
    tries: u32,
    since: jiff::Timestamp,
    /// What could not be done, and why.
    failure: Option<(String, String)>,
}

/// All repairs under way.
pub(super) struct Repairs {
    times: RepairTimes,
    all: BTreeMap<Subject, Repair>,
}

impl Repairs {
    pub(super) fn new(times: RepairTimes) -> Repairs {
        Repairs {
            times,
            all: BTreeMap::new(),
        }
    }

    /// Whether it is time to see to this, which is known from now on.
    pub(super) fn is_due(&mut self, subject: &Subject, now: Instant) -> bool {
        self.entry(subject, now, Duration::ZERO).next <= now
    }

    /// The same for something that may just be being made: not before it was known for the grace time.
    pub(super) fn is_due_after_grace(&mut self, subject: &Subject, now: Instant) -> bool {
        let grace = self.times.grace;
        self.entry(subject, now, grace).next <= now
    }

    /// It could not be put right now.
    pub(super) fn failed(&mut self, subject: &Subject, now: Instant, what: String, why: String) {
        let RepairTimes { first, longest, .. } = self.times;
        let repair = self.entry(subject, now, Duration::ZERO);
        if repair.failure.is_none() {
            repair.since = jiff::Timestamp::now();
        }
        repair.postpone(now, first, longest);
        repair.failure = Some((what, why));
    }

    /// It is in order.
    pub(super) fn done(&mut self, subject: &Subject) {
        self.all.remove(subject);
    }

    /// The engine was asked for this container and has none: look for it a few times more.
    pub(super) fn expect_late(&mut self, instance: &str, now: Instant) {
        let first = self.times.first;
        self.entry(&Subject::Late(instance.to_owned()), now, first);
    }

    /// Whether this container may turn up late.
    pub(super) fn is_late(&self, instance: &str) -> bool {
        self.all.contains_key(&Subject::Late(instance.to_owned()))
    }

    /// It was looked for containers that may turn up late.
    pub(super) fn looked_for_late(&mut self, now: Instant) {
        let RepairTimes { first, longest, .. } = self.times;
        for (_, repair) in self
            .all
            .iter_mut()
            .filter(|(subject, repair)| matches!(subject, Subject::Late(_)) && repair.next <= now)
        {
            repair.postpone(now, first, longest);
        }
        self.keep(|subject, tries| !matches!(subject, Subject::Late(_)) || tries < LATE_LOOKS);
    }

    /// Forget what this says no to, given how often it was tried.
    pub(super) fn keep(&mut self, mut wanted: impl FnMut(&Subject, u32) -> bool) {
        self.all.retain(|subject, repair| wanted(subject, repair.tries));
    }

    /// Whether this is known to be out of order.
    pub(super) fn knows(&self, subject: &Subject) -> bool {
        self.all.contains_key(subject)
    }

    /// Whether this was tried in vain.
    pub(super) fn has_failed(&self, subject: &Subject) -> bool {
        self.all.get(subject).is_some_and(|repair| repair.failure.is_some())
    }

    /// Whether anything is to be tried by now.
    pub(super) fn any_due(&self, now: Instant) -> bool {
        self.all.values().any(|repair| repair.next <= now)
    }

    /// What was in the way may be gone: what failed is tried again without waiting.
    pub(super) fn try_again(&mut self, now: Instant) {
        for repair in self.all.values_mut().filter(|repair| repair.failure.is_some()) {
            (repair.next, repair.tries) = (now, 0);
        }
    }

    /// What could not be put right yet.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let failed = self.all.values().filter_map(|repair| {
            let (what, why) = repair.failure.clone()?;
            Some(Problem {
                what,
                why,
                since: repair.since.to_string(),
                tries: repair.tries,
            })
        });
        failed.collect()
    }

    fn entry(&mut self, subject: &Subject, now: Instant, wait: Duration) -> &mut Repair {
        self.all.entry(subject.clone()).or_insert_with(|| Repair {
            next: now + wait,
            tries: 0,
            since: jiff::Timestamp::now(),
            failure: None,
        })
    }
}

impl Repair {
    fn postpone(&mut self, now: Instant, first: Duration, longest: Duration) {
        let factor = 1 << self.tries.min(16);
        self.next = now + (first * factor).min(longest);
        self.tries = self.tries.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn repairs() -> (Repairs, Subject, Instant) {
        let subject = Subject::Stray("e1".into());
        (Repairs::new(RepairTimes::default()), subject, Instant::now())
    }

    #[test]
    fn what_may_just_be_being_made_is_left_alone_for_the_grace_time() {
        let (mut repairs, subject, now) = repairs();
        assert!(!repairs.is_due_after_grace(&subject, now));
        assert!(!repairs.is_due_after_grace(&subject, now + 4 * SECOND));
        assert!(repairs.is_due_after_grace(&subject, now + 5 * SECOND));
        assert!(repairs.problems().is_empty(), "nothing has failed");
    }

    #[test]
    fn pauses_grow_and_have_an_end() {
        let (mut repairs, subject, mut now) = repairs();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert!(repairs.is_due(&subject, now));
            repairs.failed(&subject, now, "it".into(), "because".into());
            let start = now;
            while !repairs.any_due(now) {
                now += SECOND;
            }
            pauses.push((now - start).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(repairs.problems()[0].tries, 12);
        repairs.try_again(now);
        assert!(repairs.any_due(now), "without waiting once the cause is gone");
        repairs.done(&subject);
        assert!(!repairs.any_due(now + 999 * SECOND) && repairs.problems().is_empty());
    }

    #[test]
    fn a_container_that_may_turn_up_is_looked_for_a_few_times() {
        let (mut repairs, _, mut now) = repairs();
        repairs.expect_late("i", now);
        let mut looks = 0;
        while repairs.is_late("i") {
            now += SECOND;
            looks += u32::from(repairs.any_due(now));
            repairs.looked_for_late(now);
        }
        assert_eq!(looks, LATE_LOOKS);
    }
}
