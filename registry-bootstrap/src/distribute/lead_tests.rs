//! A whole rollout in a store in memory: the leader, nodes that do what is wished of them, and leaders that die.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::config::{Author, Config, KeyPath, Name, Scope, Target};
use cluster::leader::LEADER;
use cluster::nodes::record::by_id_key;
use cluster::nodes::report::{alive_key, report_key};
use cluster::store::memory::MemoryStore;
use cluster::store::{Store, Txn};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::job::{self, Check, Chosen, Job, Known, Node, Phase, Rollout, Standing};
use super::lead;
use super::told::{self, InUse, Pull, PullState, Told, Trial, TrialState};
use super::wish::{self, Wishes};

const EXACT: &str = "core:5000/x@sha256:0000000000000000000000000000000000000000000000000000000000000000";
const NAME: &str = "core:5000/x:1";

/// What a node makes of it.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Good,
    /// It cannot have the image.
    Full,
    /// The image does not pass on it.
    Picky,
    /// Its fence goes on with the image it has.
    Stubborn,
}

struct Setting {
    store: Arc<MemoryStore>,
    nodes: Vec<JoinHandle<()>>,
    job: Job,
}

fn node_name(n: u128) -> Name {
    Name::new(&format!("dea{n}")).unwrap()
}

fn target(scope: Scope) -> Target {
    Target {
        scope,
        address: KeyPath::parse("fence/docker/image").unwrap(),
        own: true,
    }
}

/// Be a node for ever.
async fn be_node(store: Arc<MemoryStore>, n: u128, kind: Kind) {
    let (id, name) = (Uuid::from_u128(n), node_name(n));
    let config = Config::for_node(store.clone(), name.clone());
    let mut in_use = "old".to_owned();
    loop {
        let wishes: Wishes = match store.get(&wish::key(id)).await.unwrap() {
            Some(entry) => serde_json::from_slice(&entry.value).unwrap(),
            None => Wishes::default(),
        };
        let pull = |wished: &wish::Pull| {
            let state = if kind == Kind::Full {
                PullState::Failed
            } else {
                PullState::Here
            };
            let named = !wished.name.is_empty();
            (
                wished.job,
                Pull {
                    state,
                    named,
                    ..Pull::default()
                },
            )
        };
        let pulls: BTreeMap<Uuid, Pull> = wishes.pulls.iter().map(pull).collect();
        let state = if kind == Kind::Picky {
            TrialState::Failed
        } else {
            TrialState::Passed
        };
        let trial = wishes.trial.map(|wished| Trial {
            job: wished.job,
            state,
            problem: String::new(),
            log: Vec::new(),
        });
        let scope = Target {
            own: false,
            ..target(Scope::Node(name.clone()))
        };
        let configured = config
            .get(&scope)
            .await
            .unwrap()
            .and_then(|value| value.as_str().map(str::to_owned));
        if let Some(configured) = configured
            .clone()
            .filter(|name| kind != Kind::Stubborn || !name.contains('@'))
        {
            in_use = configured;
        }
        let told = Told {
            at: Timestamp::UNIX_EPOCH,
            pulls,
            trial,
            fence: Some(InUse {
                configured: configured.into_iter().collect(),
                name: in_use.clone(),
                ..InUse::default()
            }),
        };
        let value = serde_json::to_vec(&told).unwrap();
        store.txn(Txn::new().put(told::key(id), value)).await.unwrap();
        sleep(Duration::from_millis(300)).await;
    }
}

impl Setting {
    async fn with(kinds: &[Kind]) -> Self {
        let store = Arc::new(MemoryStore::new());
        let mut nodes = Vec::new();
        for (n, kind) in (1..).zip(kinds) {
            let id = Uuid::from_u128(n);
            let record = format!(r#"{{"name": "dea{n}"}}"#);
            let txn = Txn::new()
                .put(alive_key(id), "{}")
                .put(report_key(id), "{}")
                .put(by_id_key(id), record);
            store.txn(txn).await.unwrap();
            nodes.push(tokio::spawn(be_node(store.clone(), n, *kind)));
        }
        let job = Job {
            id: Uuid::new_v4(),
            image: Chosen {
                name: NAME.to_owned(),
                exact: EXACT.to_owned(),
            },
            nodes: (1..=kinds.len() as u128)
                .map(|n| Node {
                    id: Uuid::from_u128(n),
                    name: node_name(n),
                    bytes: 1,
                })
                .collect(),
            wave: 2,
            rollout: Some(Rollout {
                scope: Scope::Cluster,
                from: None,
                check: Check::Runs(5),
                ready_within: 60,
                taken_within: 10,
                restart: false,
            }),
            by: "root".to_owned(),
            command: "kato image rollout".to_owned(),
            at: Timestamp::now(),
        };
        Setting { store, nodes, job }
    }

    fn leader(&self, n: u128) -> JoinHandle<()> {
        let store: Arc<dyn Store> = self.store.clone();
        tokio::spawn(async move { lead::lead(store, Uuid::from_u128(n), &node_name(n)).await })
    }

    async fn over(&self) -> Known {
        let wait = async {
            loop {
                let known = job::find(self.store.as_ref(), self.job.id).await.unwrap().unwrap();
                if known.progress.is_over() {
                    return known;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(600), wait).await.unwrap()
    }

    /// What stands in the layers themselves: the cluster's, then the nodes'.
    async fn own(&self) -> Vec<Option<Value>> {
        let config = Config::new(self.store.clone(), node_name(1));
        let nodes = self.job.nodes.iter().map(|node| Scope::Node(node.name.clone()));
        let mut all = Vec::new();
        for scope in [Scope::Cluster].into_iter().chain(nodes) {
            all.push(config.get(&target(scope)).await.unwrap());
        }
        all
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        self.nodes.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_image_is_configured_for_all_whoever_leads() {
    let setting = Setting::with(&[Kind::Good; 5]).await;
    job::give(setting.store.as_ref(), &setting.job).await.unwrap();
    // One leader after the other dies, each a little later.
    for n in 10..16 {
        let leader = setting.leader(n);
        sleep(Duration::from_millis(400 * (n as u64 - 9))).await;
        leader.abort();
        // Its lease runs out.
        setting.store.txn(Txn::new().delete(LEADER)).await.unwrap();
    }
    let leader = setting.leader(20);
    let known = setting.over().await;
    leader.abort();
    assert_eq!(known.progress.phase, Phase::Done, "{:?}", known.progress);
    assert!(known.progress.nodes.values().all(|of| of.taken && !of.set));
    assert_eq!(
        setting.own().await,
        [Some(json!(setting.job.image.pinned())), None, None, None, None, None]
    );
    assert_eq!(setting.store.get(job::ROLLOUT).await.unwrap(), None);
    let all = cluster::config::history::Query {
        limit: 100,
        ..Default::default()
    };
    let config = Config::new(setting.store.clone(), node_name(1));
    let history = config.history(&all).await.unwrap().records;
    assert!(
        history.iter().all(|record| record.command == "kato image rollout"),
        "{history:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_wished_of_nodes_is_over_with_the_job() {
    let setting = Setting::with(&[Kind::Good, Kind::Full]).await;
    let pull = Job {
        rollout: None,
        ..setting.job.clone()
    };
    job::give(setting.store.as_ref(), &pull).await.unwrap();
    let leader = setting.leader(10);
    let known = setting.over().await;
    assert_eq!(known.progress.count(Standing::Here), 1);
    assert_eq!(known.progress.count(Standing::Failed), 1);
    sleep(Duration::from_secs(5)).await;
    leader.abort();
    for node in &setting.job.nodes {
        assert_eq!(setting.store.get(&wish::key(node.id)).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_wrong_with_it_everything_is_put_back() {
    for (kinds, step) in [
        ([Kind::Good, Kind::Full, Kind::Good], "pull"),
        ([Kind::Picky, Kind::Good, Kind::Good], "trial"),
        ([Kind::Good, Kind::Good, Kind::Stubborn], "set"),
    ] {
        let setting = Setting::with(&kinds).await;
        job::give(setting.store.as_ref(), &setting.job).await.unwrap();
        let leader = setting.leader(10);
        let known = setting.over().await;
        leader.abort();
        assert_eq!(known.progress.phase, Phase::Failed);
        assert_eq!(known.progress.failure.unwrap().step, step);
        assert_eq!(setting.own().await, [None, None, None, None], "{step}");
        assert_eq!(setting.store.get(job::ROLLOUT).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_change_stays_and_the_rollout_is_put_back() {
    let setting = Setting::with(&[Kind::Good, Kind::Stubborn]).await;
    job::give(setting.store.as_ref(), &setting.job).await.unwrap();
    let leader = setting.leader(10);
    let config = Config::new(setting.store.clone(), node_name(1));
    let author = Author {
        who: "alice".to_owned(),
        command: "kato config set".to_owned(),
    };
    let own = target(Scope::Node(node_name(2)));
    timeout(Duration::from_secs(60), async {
        while config.get(&own).await.unwrap().is_none() {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
    config.set(&own, json!("alices:1"), false, &author).await.unwrap();
    let known = setting.over().await;
    leader.abort();
    assert_eq!(known.progress.phase, Phase::Failed);
    assert_eq!(setting.own().await, [None, None, Some(json!("alices:1"))]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_renamed_meanwhile_has_no_value_left_under_either_name() {
    let setting = Setting::with(&[Kind::Good, Kind::Stubborn]).await;
    job::give(setting.store.as_ref(), &setting.job).await.unwrap();
    let leader = setting.leader(10);
    let config = Config::new(setting.store.clone(), node_name(1));
    let (own, moved) = (target(Scope::Node(node_name(2))), target(Scope::Node(node_name(7))));
    timeout(Duration::from_secs(60), async {
        while config.get(&own).await.unwrap().is_none() {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
    let author = Author {
        who: "alice".to_owned(),
        command: "kato node rename".to_owned(),
    };
    let value = config.get(&own).await.unwrap().unwrap();
    config.set(&moved, value, false, &author).await.unwrap();
    config.del(&own, &author).await.unwrap();
    let renamed = Txn::new().put(by_id_key(Uuid::from_u128(2)), r#"{"name": "dea7"}"#);
    setting.store.txn(renamed).await.unwrap();
    let known = setting.over().await;
    leader.abort();
    assert_eq!(known.progress.phase, Phase::Failed);
    assert_eq!(
        (config.get(&own).await.unwrap(), config.get(&moved).await.unwrap()),
        (None, None)
    );
}

#[tokio::test(start_paused = true)]
async fn fallbacks_stay_behind_the_new_image() {
    let mut setting = Setting::with(&[Kind::Good]).await;
    let before = json!(["old:1", "base:1"]);
    let author = Author {
        who: "alice".to_owned(),
        command: "kato config set".to_owned(),
    };
    let config = Config::new(setting.store.clone(), node_name(1));
    let cluster = target(Scope::Cluster);
    config.set(&cluster, before.clone(), false, &author).await.unwrap();
    setting.job.rollout.as_mut().unwrap().from = Some(before);
    job::give(setting.store.as_ref(), &setting.job).await.unwrap();
    let leader = setting.leader(10);
    assert_eq!(setting.over().await.progress.phase, Phase::Done);
    leader.abort();
    let expected = json!([setting.job.image.pinned(), "base:1"]);
    assert_eq!(config.get(&cluster).await.unwrap(), Some(expected));
}
