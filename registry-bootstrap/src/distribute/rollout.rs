//! The next step of a rollout. Pure: what is seen goes in, what is to be written comes out.
//!
//! Pulled everywhere, tried on one node, set on that one and then wave by wave as the nodes' own value, at last configured for
//! all. A node that is dead is passed over and finds the new value when it is back; where more than one dies with the image, it
//! fails. What is configured names the image by its digest, so that all have the same, whenever they look. Whatever fails before that last step has
//! everything put back: what nodes got is taken away again, and nothing else was changed.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::job::{Check, Failure, Job, OfNode, Phase, Progress, Rollout, Standing};
use super::pull::{self, Seen, View};
use super::told::{MAX_LINES, Told, TrialState, short};

/// How many nodes' values are changed at once: what fits one transaction, with its records.
pub const AT_ONCE: usize = 40;
/// How long nodes may take to give the image its name: it is convenient, and nothing depends on it.
const NAMED_WITHIN: Duration = Duration::from_secs(30);
/// How long fence may take to be restarted on a node.
pub const RESTART: Duration = Duration::from_secs(120);
/// How long nodes may take to go back to what they had.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// What is to be done beside writing the progress.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing.
    None,
    /// These nodes get the image as their own value.
    Set(Vec<Uuid>),
    /// The own values of these are taken away.
    Unset(Vec<Uuid>),
    /// The image is configured for all, and the own values of these nodes are taken away with the same change.
    Configure(Vec<Uuid>),
    /// Fence is restarted on this node.
    Restart(Uuid),
}

/// Take the next step. `since` is how long nothing has come of it, as the leader measures it.
pub fn step(
    job: &Job,
    rollout: &Rollout,
    progress: &mut Progress,
    view: &View,
    abort: Option<&str>,
    since: Duration,
) -> Action {
    let goes_on = matches!(progress.phase, Phase::Pulling | Phase::Trying(_) | Phase::Setting);
    if let (true, Some(by)) = (goes_on, abort) {
        return fail(progress, Failure::new("", "abort", format!("{by} had it aborted")));
    }
    let step = Step {
        job,
        rollout,
        view,
        since,
    };
    match progress.phase {
        Phase::Pulling => step.pulling(progress),
        Phase::Trying(node) => step.trying(progress, node),
        Phase::Setting => step.setting(progress),
        Phase::Finishing => unset_or(progress, Phase::Naming),
        Phase::Naming => step.naming(progress),
        Phase::PuttingBack => step.putting_back(progress),
        Phase::Done | Phase::Failed => Action::None,
    }
}

/// From now on everything is put back.
pub fn fail(progress: &mut Progress, failure: Failure) -> Action {
    progress.failure.get_or_insert(failure);
    progress.phase = Phase::PuttingBack;
    Action::None
}

struct Step<'a> {
    job: &'a Job,
    rollout: &'a Rollout,
    view: &'a View,
    since: Duration,
}

impl Step<'_> {
    fn pulling(&self, progress: &mut Progress) -> Action {
        if !pull::step(self.job, progress, self.view, self.since) {
            return Action::None;
        }
        let failed = self.first(progress, |of| of.standing == Standing::Failed);
        if let Some((id, of)) = failed {
            let failure = Failure::new(&self.name(id), "pull", of.problem.clone());
            return fail(progress, failure);
        }
        self.try_next(progress)
    }

    /// Try the image on the next node that can, or give up.
    fn try_next(&self, progress: &mut Progress) -> Action {
        let can = |id: Uuid| self.is_alive(id) && !self.view.get(&id).is_some_and(|seen| seen.retiring);
        let next = self
            .job
            .nodes
            .iter()
            .find(|node| stands_here(progress, node.id) && can(node.id));
        match next {
            Some(node) => {
                progress.phase = Phase::Trying(node.id);
                Action::None
            }
            None => fail(
                progress,
                Failure::new(
                    "",
                    "trial",
                    "no node is alive that has the image and takes containers".to_owned(),
                ),
            ),
        }
    }

    fn trying(&self, progress: &mut Progress, node: Uuid) -> Action {
        if !self.is_alive(node) {
            let of = progress.nodes.entry(node).or_default();
            (of.standing, of.died) = (Standing::Away, true);
            "it died while the image was tried on it".clone_into(&mut of.problem);
            return match too_many_died(progress) {
                Some(failure) => fail(progress, failure),
                None => self.try_next(progress),
            };
        }
        let trial = self.told(node).and_then(|told| told.trial.as_ref());
        match trial.filter(|trial| trial.job == self.job.id) {
            Some(trial) if trial.state == TrialState::Passed => {
                progress.phase = Phase::Setting;
                self.set(progress, &[node])
            }
            Some(trial) if trial.state == TrialState::Failed => {
                let mut failure = Failure::new(&self.name(node), "trial", trial.problem.clone());
                failure.log = trial.log.iter().take(MAX_LINES).map(|line| short(line)).collect();
                fail(progress, failure)
            }
            _ if self.since > Check::bound(self.rollout.ready_within) => {
                let reason = format!("it did not say within {} s how the trial went", self.since.as_secs());
                fail(progress, Failure::new(&self.name(node), "trial", reason))
            }
            _ => Action::None,
        }
    }

    fn set(&self, progress: &mut Progress, nodes: &[Uuid]) -> Action {
        for node in nodes {
            progress.nodes.entry(*node).or_default().set = true;
        }
        Action::Set(nodes.to_vec())
    }

    fn setting(&self, progress: &mut Progress) -> Action {
        let mut late = None;
        for node in &self.job.nodes {
            let of = progress.nodes.entry(node.id).or_default();
            if !of.set || of.taken || !self.has_come_back(node.id, of) {
                continue;
            }
            match self.taken(node.id, of) {
                Taken::Yes => of.taken = true,
                Taken::Restart => return Action::Restart(node.id),
                Taken::NotYet(why) => late = Some((node.id, why)),
                Taken::Never(why) => {
                    return fail(progress, Failure::new(node.name.as_str(), "restart", why));
                }
                Taken::Away => {
                    (of.standing, of.died) = (Standing::Away, true);
                    "it died when it got the image".clone_into(&mut of.problem);
                }
            }
        }
        if let Some(failure) = too_many_died(progress) {
            return fail(progress, failure);
        }
        let within = self.taken_within();
        match late {
            Some((node, why)) if self.since > within => {
                let reason = format!("it did not take the image up within {} s{why}", within.as_secs());
                fail(progress, Failure::new(&self.name(node), "set", reason))
            }
            Some(_) => Action::None,
            None => self.next_wave(progress),
        }
    }

    /// Whether a node that has the image as its own value is alive, or may be told to have died: one that is back counts again.
    fn has_come_back(&self, id: Uuid, of: &mut OfNode) -> bool {
        if of.died && self.is_alive(id) {
            (of.standing, of.died) = (Standing::Here, false);
            of.problem.clear();
        }
        !of.died
    }

    fn next_wave(&self, progress: &mut Progress) -> Action {
        self.pass_over_dead(progress);
        let waits = |id: Uuid| {
            progress
                .nodes
                .get(&id)
                .is_some_and(|of| of.standing == Standing::Here && !of.set)
        };
        let next = self.job.nodes.iter().map(|node| node.id).filter(|id| waits(*id));
        let next: Vec<Uuid> = next.take(self.job.wave.clamp(1, AT_ONCE)).collect();
        if next.is_empty() {
            if !progress.nodes.values().any(|of| of.taken) {
                let failure = Failure::new("", "set", "no node is alive any more that has the image".to_owned());
                return fail(progress, failure);
            }
            progress.phase = Phase::Finishing;
            return Action::Configure(take_set(progress));
        }
        self.set(progress, &next)
    }

    /// Nodes that died before their turn came.
    fn pass_over_dead(&self, progress: &mut Progress) {
        for node in self.job.nodes.iter().filter(|node| !self.is_alive(node.id)) {
            let of = progress.nodes.entry(node.id).or_default();
            if of.standing == Standing::Here && !of.set {
                of.standing = Standing::Away;
                "it is dead".clone_into(&mut of.problem);
            }
        }
    }

    /// How long a node has to take the image up, its fence's restart included.
    fn taken_within(&self) -> Duration {
        let restart = if self.rollout.restart { RESTART } else { Duration::ZERO };
        Duration::from_secs(self.rollout.taken_within).saturating_add(restart)
    }

    /// Whether a node uses the image that it got.
    fn taken(&self, id: Uuid, of: &OfNode) -> Taken {
        if !self.is_alive(id) {
            return Taken::Away;
        }
        let fence = self.told(id).and_then(|told| told.fence.as_ref());
        let pinned = self.job.image.pinned();
        let uses = fence.is_some_and(|fence| fence.name == pinned && fence.configured.first() == Some(&pinned));
        if !uses {
            let why = fence.map(|fence| fence.problem.as_str()).filter(|why| !why.is_empty());
            return Taken::NotYet(why.map_or_else(String::new, |why| format!(": {}", short(why))));
        }
        match (self.rollout.restart, of.restart) {
            (false, _) => Taken::Yes,
            (true, None) => Taken::Restart,
            (true, Some(number)) => match self.view.get(&id).and_then(|seen| seen.answered.as_ref()) {
                Some((answered, problem)) if *answered >= number => match problem.as_str() {
                    "" => Taken::Yes,
                    why => Taken::Never(short(why)),
                },
                _ => Taken::NotYet(": its fence is being restarted".to_owned()),
            },
        }
    }

    fn naming(&self, progress: &mut Progress) -> Action {
        let is_named = |id: Uuid| {
            let pull = self.told(id).and_then(|told| told.pulls.get(&self.job.id));
            !self.is_alive(id) || self.job.image.tag().is_empty() || pull.is_some_and(|pull| pull.named)
        };
        let is_done = progress
            .nodes
            .iter()
            .all(|(id, of)| of.standing != Standing::Here || is_named(*id));
        if !is_done && self.since <= NAMED_WITHIN {
            return Action::None;
        }
        progress.phase = Phase::Done;
        Action::None
    }

    fn putting_back(&self, progress: &mut Progress) -> Action {
        let unset = take_set(progress);
        if !unset.is_empty() {
            return Action::Unset(unset);
        }
        // Where it was configured before, they go on with it.
        let goes_on = first_of(self.rollout.from.as_ref()) == Some(self.job.image.pinned().as_str());
        let uses = |id: &Uuid| {
            let fence = self.told(*id).and_then(|told| told.fence.as_ref());
            !goes_on && self.is_alive(*id) && fence.is_some_and(|fence| fence.name == self.job.image.pinned())
        };
        let still: Vec<String> = progress
            .nodes
            .keys()
            .filter(|id| uses(id))
            .map(|id| self.name(*id))
            .collect();
        if !still.is_empty() && self.since <= BACK_WITHIN {
            return Action::None;
        }
        if let (false, Some(failure)) = (still.is_empty(), &mut progress.failure) {
            let some = still.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
            failure.reason.push_str(&format!(
                "; not seen to go back within {} s: {some}",
                BACK_WITHIN.as_secs()
            ));
        }
        progress.phase = Phase::Failed;
        Action::None
    }

    fn told(&self, id: Uuid) -> Option<&Told> {
        self.view.get(&id)?.told.as_ref()
    }

    fn is_alive(&self, id: Uuid) -> bool {
        self.view.get(&id).is_some_and(|seen: &Seen| seen.alive)
    }

    fn name(&self, id: Uuid) -> String {
        let node = self.job.nodes.iter().find(|node| node.id == id);
        node.map_or_else(|| id.to_string(), |node| node.name.to_string())
    }

    fn first<'p>(&self, progress: &'p Progress, is: impl Fn(&OfNode) -> bool) -> Option<(Uuid, &'p OfNode)> {
        let all = self.job.nodes.iter();
        all.filter_map(|node| Some((node.id, progress.nodes.get(&node.id)?)))
            .find(|(_, of)| is(of))
    }
}

/// The image that is used of what was configured.
fn first_of(configured: Option<&Value>) -> Option<&str> {
    match configured? {
        Value::Array(names) => names.first()?.as_str(),
        one => one.as_str(),
    }
}

/// More than one node died with the image: it may be the image.
fn too_many_died(progress: &Progress) -> Option<Failure> {
    const MOST: usize = 1;
    let died = progress.nodes.values().filter(|of| of.died).count();
    (died > MOST).then(|| Failure::new("", "set", format!("{died} nodes died when they got the image")))
}

/// Whether a node has taken an image up.
enum Taken {
    Yes,
    NotYet(String),
    /// It does, and its fence is to be restarted.
    Restart,
    Never(String),
    Away,
}

fn stands_here(progress: &Progress, id: Uuid) -> bool {
    progress.nodes.get(&id).is_some_and(|of| of.standing == Standing::Here)
}

/// Some of the nodes that have the image as their own value, which is to be taken away now.
fn take_set(progress: &mut Progress) -> Vec<Uuid> {
    let set = progress.nodes.iter_mut().filter(|(_, of)| of.set).take(AT_ONCE);
    set.map(|(id, of)| {
        of.set = false;
        *id
    })
    .collect()
}

fn unset_or(progress: &mut Progress, then: Phase) -> Action {
    let unset = take_set(progress);
    if unset.is_empty() {
        progress.phase = then;
        return Action::None;
    }
    Action::Unset(unset)
}

impl Failure {
    /// A failure without a log.
    pub fn new(node: &str, step: &str, reason: String) -> Self {
        Failure {
            node: node.to_owned(),
            step: step.to_owned(),
            reason: short(&reason),
            log: Vec::new(),
        }
    }
}
