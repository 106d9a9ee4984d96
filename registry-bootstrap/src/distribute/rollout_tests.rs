//! A rollout step by step, as the leader would take it.

use std::time::Duration;

use cluster::config::{Name, Scope};
use jiff::Timestamp;
use uuid::Uuid;

use super::job::{Check, Chosen, Job, Node, Phase, Progress, Rollout, Standing};
use super::pull::{Seen, View};
use super::rollout::{AT_ONCE, Action, step};
use super::told::{InUse, Pull, PullState, Told, Trial, TrialState};
use super::wish::Wishes;

const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(10_000);

/// A rollout to so many nodes, and what is seen of them.
struct Setting {
    job: Job,
    progress: Progress,
    view: View,
    abort: Option<&'static str>,
}

impl Setting {
    fn new(nodes: u128, wave: usize) -> Self {
        let nodes = (1..=nodes).map(|n| Node {
            id: Uuid::from_u128(n),
            name: Name::new(&format!("dea{n}")).unwrap(),
            bytes: 1,
        });
        let job = Job {
            id: Uuid::from_u128(1000),
            image: Chosen {
                name: "core:5000/x:1".to_owned(),
                exact: "core:5000/x@sha256:00".to_owned(),
            },
            nodes: nodes.collect(),
            wave,
            rollout: Some(Rollout {
                scope: Scope::Cluster,
                from: None,
                check: Check::Runs(5),
                ready_within: 60,
                taken_within: 60,
                restart: false,
            }),
            by: "root".to_owned(),
            command: String::new(),
            at: Timestamp::UNIX_EPOCH,
        };
        let alive = Seen {
            alive: true,
            told: Some(Told::default()),
            ..Seen::default()
        };
        Setting {
            view: job.nodes.iter().map(|node| (node.id, alive.clone())).collect(),
            progress: Progress::of(&job),
            job,
            abort: None,
        }
    }

    fn step(&mut self, since: Duration) -> Action {
        let rollout = self.job.rollout.clone().unwrap();
        step(&self.job, &rollout, &mut self.progress, &self.view, self.abort, since)
    }

    fn told(&mut self, n: u128) -> &mut Told {
        self.view.get_mut(&Uuid::from_u128(n)).unwrap().told.as_mut().unwrap()
    }

    fn pulls(&mut self, n: u128, state: PullState) {
        let job = self.job.id;
        let pull = Pull {
            state,
            named: true,
            problem: "no room".to_owned(),
            ..Pull::default()
        };
        self.told(n).pulls.insert(job, pull);
    }

    fn tried(&mut self, n: u128, state: TrialState) {
        let job = self.job.id;
        self.told(n).trial = Some(Trial {
            job,
            state,
            problem: "it ended".to_owned(),
            log: vec!["line".to_owned()],
        });
    }

    fn uses(&mut self, n: u128, name: &str) {
        self.told(n).fence = Some(InUse {
            configured: vec![name.to_owned()],
            name: name.to_owned(),
            ..InUse::default()
        });
    }

    fn kill(&mut self, n: u128) {
        self.view.get_mut(&Uuid::from_u128(n)).unwrap().alive = false;
    }

    fn standing(&self, n: u128) -> Standing {
        self.progress.nodes[&Uuid::from_u128(n)].standing
    }

    /// Everybody has the image, and the first node tried it.
    fn to_the_first(nodes: u128, wave: usize) -> Self {
        let mut setting = Setting::new(nodes, wave);
        for _ in 0..=nodes {
            assert_eq!(setting.step(SOON), Action::None);
            (1..=nodes).for_each(|n| setting.pulls(n, PullState::Here));
        }
        assert_eq!(setting.progress.phase, Phase::Trying(Uuid::from_u128(1)));
        setting.tried(1, TrialState::Passed);
        assert_eq!(setting.step(SOON), Action::Set(ids(&[1])));
        setting
    }
}

fn ids(ns: &[u128]) -> Vec<Uuid> {
    ns.iter().map(|n| Uuid::from_u128(*n)).collect()
}

const PINNED: &str = "core:5000/x:1@sha256:00";

#[test]
fn a_good_image_goes_to_one_then_to_waves_then_to_all() {
    let mut setting = Setting::to_the_first(4, 2);
    assert_eq!(setting.step(SOON), Action::None, "the first has not taken it up");
    setting.uses(1, PINNED);
    assert_eq!(setting.step(SOON), Action::Set(ids(&[2, 3])));
    setting.uses(2, PINNED);
    assert_eq!(setting.step(SOON), Action::None);
    setting.uses(3, PINNED);
    assert_eq!(setting.step(SOON), Action::Set(ids(&[4])));
    setting.uses(4, PINNED);
    assert_eq!(setting.step(SOON), Action::Configure(ids(&[1, 2, 3, 4])));
    assert_eq!(setting.progress.phase, Phase::Finishing);
    assert_eq!(setting.step(SOON), Action::None);
    assert_eq!(setting.progress.phase, Phase::Naming);
    assert_eq!(setting.step(SOON), Action::None);
    assert_eq!(setting.progress.phase, Phase::Done);
    assert_eq!(setting.step(SOON), Action::None);
}

#[test]
fn no_more_nodes_pull_at_a_time_than_a_wave_has() {
    let mut setting = Setting::new(3, 2);
    setting.step(SOON);
    assert_eq!(setting.progress.count(Standing::Pulling), 2);
    assert_eq!(setting.standing(3), Standing::Waiting);
    setting.pulls(2, PullState::Here);
    setting.step(SOON);
    assert_eq!(setting.standing(3), Standing::Pulling);
    assert_eq!(setting.progress.count(Standing::Pulling), 2);
}

#[test]
fn a_node_without_room_ends_it_before_anything_is_set() {
    let mut setting = Setting::new(2, 2);
    setting.step(SOON);
    setting.pulls(1, PullState::Here);
    setting.pulls(2, PullState::Failed);
    setting.step(SOON);
    let failure = setting.progress.failure.clone().unwrap();
    assert_eq!(
        (failure.node.as_str(), failure.step.as_str(), failure.reason.as_str()),
        ("dea2", "pull", "no room")
    );
    assert_eq!(setting.step(SOON), Action::None);
    assert_eq!(setting.progress.phase, Phase::Failed);
}

#[test]
fn an_image_that_does_not_pass_is_set_nowhere() {
    let mut setting = Setting::new(1, 1);
    setting.step(SOON);
    setting.pulls(1, PullState::Here);
    setting.step(SOON);
    setting.tried(1, TrialState::Failed);
    setting.step(SOON);
    assert_eq!(setting.progress.failure.as_ref().unwrap().log, ["line"]);
    assert_eq!(setting.step(SOON), Action::None);
    assert_eq!(setting.progress.phase, Phase::Failed);
}

#[test]
fn what_is_not_taken_up_in_time_is_put_back_everywhere() {
    let mut setting = Setting::to_the_first(2, 2);
    setting.uses(1, PINNED);
    assert_eq!(setting.step(SOON), Action::Set(ids(&[2])));
    setting.uses(2, "old");
    setting.told(2).fence.as_mut().unwrap().problem = "the image is odd".to_owned();
    assert_eq!(setting.step(LATE), Action::None);
    let failure = setting.progress.failure.clone().unwrap();
    assert_eq!((failure.node.as_str(), failure.step.as_str()), ("dea2", "set"));
    assert!(failure.reason.contains("the image is odd"), "{failure:?}");
    assert_eq!(setting.step(SOON), Action::Unset(ids(&[1, 2])));
    assert_eq!(setting.step(SOON), Action::None);
    assert_eq!(setting.progress.phase, Phase::PuttingBack, "the first still uses it");
    setting.uses(1, "old");
    setting.step(SOON);
    assert_eq!(setting.progress.phase, Phase::Failed);
}

#[test]
fn a_node_that_dies_is_passed_over_in_every_phase() {
    let mut setting = Setting::new(3, 3);
    setting.kill(3);
    setting.step(SOON);
    assert_eq!(setting.standing(3), Standing::Away);
    setting.pulls(1, PullState::Here);
    setting.pulls(2, PullState::Here);
    setting.step(SOON);
    assert_eq!(setting.progress.phase, Phase::Trying(Uuid::from_u128(1)));
    setting.kill(1);
    setting.step(SOON);
    assert_eq!(setting.progress.phase, Phase::Trying(Uuid::from_u128(2)));
    // Two that die with it are one too many.
    setting.kill(2);
    setting.step(SOON);
    let failure = setting.progress.failure.clone().unwrap();
    assert!(failure.reason.contains("2 nodes died"), "{failure:?}");
}

#[test]
fn one_that_dies_in_its_wave_does_not_end_it_and_two_do() {
    let mut setting = Setting::to_the_first(4, 3);
    setting.uses(1, PINNED);
    setting.kill(4);
    assert_eq!(
        setting.step(SOON),
        Action::Set(ids(&[2, 3])),
        "a dead node is not given anything"
    );
    setting.uses(2, PINNED);
    setting.kill(3);
    let mut other = Setting {
        job: setting.job.clone(),
        progress: setting.progress.clone(),
        view: setting.view.clone(),
        abort: None,
    };
    assert_eq!(
        setting.step(SOON),
        Action::Configure(ids(&[1, 2, 3])),
        "its own value goes as well"
    );
    other.kill(2);
    other.step(SOON);
    assert!(other.progress.failure.unwrap().reason.contains("2 nodes died"));
}

#[test]
fn one_that_comes_back_in_time_is_waited_for() {
    let mut setting = Setting::to_the_first(3, 2);
    setting.uses(1, PINNED);
    setting.step(SOON);
    setting.kill(2);
    assert_eq!(setting.step(SOON), Action::None);
    assert_eq!(setting.standing(2), Standing::Away);
    setting.view.get_mut(&Uuid::from_u128(2)).unwrap().alive = true;
    setting.uses(3, PINNED);
    assert_eq!(setting.step(SOON), Action::None);
    setting.uses(2, PINNED);
    assert_eq!(setting.step(SOON), Action::Configure(ids(&[1, 2, 3])));
}

#[test]
fn nodes_that_never_say_how_far_they_are_hold_nothing_up_for_ever() {
    let mut setting = Setting::new(2, 1);
    setting.step(SOON);
    setting.step(LATE);
    assert_eq!(
        (setting.standing(1), setting.standing(2)),
        (Standing::Failed, Standing::Pulling)
    );
}

#[test]
fn it_is_given_up_when_somebody_wants_it_but_not_once_it_is_configured() {
    let mut setting = Setting::to_the_first(2, 2);
    setting.abort = Some("alice");
    setting.step(SOON);
    assert!(setting.progress.failure.as_ref().unwrap().reason.contains("alice"));
    assert_eq!(setting.step(SOON), Action::Unset(ids(&[1])));

    let mut setting = Setting::to_the_first(1, 1);
    setting.uses(1, PINNED);
    setting.step(SOON);
    assert_eq!(setting.progress.phase, Phase::Finishing);
    setting.abort = Some("alice");
    setting.step(SOON);
    setting.step(SOON);
    assert_eq!(setting.progress.phase, Phase::Done);
}

#[test]
fn fence_is_restarted_where_that_is_wanted_and_has_to_come_back() {
    let mut setting = Setting::to_the_first(1, 1);
    setting.job.rollout.as_mut().unwrap().restart = true;
    let first = Uuid::from_u128(1);
    setting.uses(1, PINNED);
    assert_eq!(setting.step(SOON), Action::Restart(first));
    setting.progress.nodes.get_mut(&first).unwrap().restart = Some(7);
    setting.view.get_mut(&first).unwrap().answered = Some((6, String::new()));
    assert_eq!(setting.step(SOON), Action::None);
    assert_eq!(setting.progress.phase, Phase::Setting);
    setting.view.get_mut(&first).unwrap().answered = Some((7, "it does not start".to_owned()));
    setting.step(SOON);
    assert_eq!(setting.progress.failure.as_ref().unwrap().reason, "it does not start");
}

#[test]
fn many_nodes_are_put_back_in_parts() {
    let nodes = 2 * AT_ONCE as u128 + 1;
    let mut setting = Setting::new(nodes, 1000);
    setting.progress.phase = Phase::PuttingBack;
    setting.progress.nodes.values_mut().for_each(|of| of.set = true);
    for expected in [AT_ONCE, AT_ONCE, 1] {
        assert!(matches!(setting.step(SOON), Action::Unset(some) if some.len() == expected));
    }
    setting.step(SOON);
    assert_eq!(setting.progress.phase, Phase::Failed);
}

#[test]
fn a_node_is_wished_what_its_turn_is_and_the_name_only_at_the_end() {
    let mut setting = Setting::new(2, 1);
    let wishes = |setting: &Setting, n: u128| {
        let mut wishes = Wishes::default();
        wishes.add(&setting.job, &setting.progress, Uuid::from_u128(n));
        wishes
    };
    setting.step(SOON);
    assert_eq!(wishes(&setting, 1).pulls[0].name, "");
    assert!(wishes(&setting, 2).is_empty() && wishes(&setting, 9).is_empty());
    setting
        .progress
        .nodes
        .values_mut()
        .for_each(|of| of.standing = Standing::Here);
    setting.progress.phase = Phase::Trying(Uuid::from_u128(1));
    assert!(wishes(&setting, 1).trial.is_some() && wishes(&setting, 2).trial.is_none());
    setting.progress.phase = Phase::Naming;
    assert_eq!(wishes(&setting, 2).pulls[0].name, "core:5000/x:1");
    setting.progress.phase = Phase::Done;
    assert!(wishes(&setting, 1).is_empty());
}

#[test]
fn nobody_is_waited_for_who_uses_the_image_as_before() {
    let mut setting = Setting::to_the_first(1, 1);
    setting.job.rollout.as_mut().unwrap().from = Some(serde_json::json!([PINNED, "base:1"]));
    setting.uses(1, PINNED);
    setting.abort = Some("alice");
    setting.step(SOON);
    assert_eq!(setting.step(SOON), Action::Unset(ids(&[1])));
    setting.step(SOON);
    assert_eq!(setting.progress.phase, Phase::Failed);
}
