//! What is to be done with an image on many nodes, and how far it is: written by an administrator, carried on by the leader.
//!
//! ```text
//! images/job/ID        the job, as it was given; never changed
//! images/progress/ID   how far it is; the leader's alone
//! images/abort/ID      it is to be given up, and who says so
//! images/rollout       the rollout that is under way: there is one at a time
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::config::{Name, Scope};
use cluster::store::{Outcome, Page, Store, Txn};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{Error, Result};

/// Where all of it is.
pub const IMAGES: &str = "images/";
/// Where jobs are.
pub const JOBS: &str = "images/job/";
/// Where it is said how far they are.
pub const PROGRESS: &str = "images/progress/";
/// Where it is said that they are to be given up.
pub const ABORT: &str = "images/abort/";
/// Which rollout is under way.
pub const ROLLOUT: &str = "images/rollout";
/// The most nodes of a job.
pub const MAX_NODES: usize = 2000;

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: Uuid,
    pub image: Chosen,
    /// The nodes, in the order in which they come.
    pub nodes: Vec<Node>,
    /// How many nodes at a time.
    pub wave: usize,
    /// Where it is to be configured as well.
    pub rollout: Option<Rollout>,
    /// Who gave it.
    pub by: String,
    /// With which command.
    pub command: String,
    pub at: Timestamp,
}

/// A node of a job, by the name it had then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: Uuid,
    pub name: Name,
    /// What has to come over the network, in bytes, of the image for its architecture.
    pub bytes: u64,
}

/// The image that was chosen: a name may be another's tomorrow, a digest may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// `registry/name:tag`.
    pub name: String,
    /// `registry/name@sha256:…`, of the index where there are several architectures.
    pub exact: String,
}

impl Chosen {
    /// What is configured: the name for people, and the digest that decides, whatever becomes of the name.
    pub fn pinned(&self) -> String {
        match self.exact.split_once('@') {
            Some((_, digest)) if !self.name.contains('@') => format!("{}@{digest}", self.name),
            _ => self.name.clone(),
        }
    }

    /// The name that a node gives the image; "" where it has none but its digest.
    pub fn tag(&self) -> &str {
        if self.name.contains('@') { "" } else { &self.name }
    }
}

/// Where an image is to be configured, and how it is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The cluster, or a realm.
    pub scope: Scope,
    /// What was configured there itself when it began.
    pub from: Option<Value>,
    /// What a trial container has to pass.
    pub check: Check,
    /// How long it has until it does, in seconds.
    pub ready_within: u64,
    /// How long a node has to take up its new image, in seconds.
    pub taken_within: u64,
    /// Whether the process fence is restarted on each node.
    pub restart: bool,
}

/// What a container of an image has to do to be held for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Its command still runs after so many seconds.
    Runs(u64),
    /// This command ends with 0 in it.
    Command(Vec<String>),
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub phase: Phase,
    /// By their ids.
    pub nodes: BTreeMap<Uuid, OfNode>,
    /// Why it failed, where it did.
    pub failure: Option<Failure>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nodes pull.
    Pulling,
    /// A container of it is tried on this node.
    Trying(Uuid),
    /// Nodes get it as their own value, wave by wave.
    Setting,
    /// It is configured for all; what was set for single nodes is taken away.
    Finishing,
    /// Nodes give it its name.
    Naming,
    /// It failed: what was set is taken away, and nodes go back to what they had.
    PuttingBack,
    /// It was done.
    Done,
    /// It failed, and everything is as it was.
    Failed,
}

/// How far a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfNode {
    pub standing: Standing,
    /// It has its own value for the time of the rollout.
    #[serde(default, skip_serializing_if = "is_not")]
    pub set: bool,
    /// It uses the image.
    #[serde(default, skip_serializing_if = "is_not")]
    pub taken: bool,
    /// It died when it tried the image or got it.
    #[serde(default, skip_serializing_if = "is_not")]
    pub died: bool,
    /// The order by which fence is restarted there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<u64>,
    /// What is in the way, or "".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// How a node stands to the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its turn comes.
    #[default]
    Waiting,
    /// It pulls.
    Pulling,
    /// It has it.
    Here,
    /// It could not.
    Failed,
    /// It is dead, or no node any more.
    Away,
}

/// Why a rollout failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// On which node; "" where it is nobody's.
    pub node: String,
    /// In which step.
    pub step: String,
    pub reason: String,
    /// The last lines of what the image's command said.
    #[serde(default)]
    pub log: Vec<String>,
}

// Serde hands a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_not(flag: &bool) -> bool {
    !flag
}

impl Progress {
    /// Nothing is done yet.
    pub fn of(job: &Job) -> Self {
        Progress {
            phase: Phase::Pulling,
            nodes: job.nodes.iter().map(|node| (node.id, OfNode::default())).collect(),
            failure: None,
            ended: None,
        }
    }

    /// Whether nothing more is done.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Done | Phase::Failed)
    }

    /// How many nodes stand so.
    pub fn count(&self, standing: Standing) -> usize {
        self.nodes.values().filter(|node| node.standing == standing).count()
    }
}

impl Check {
    /// How long a trial may take in all, with what it takes to make the container.
    pub fn bound(ready_within: u64) -> Duration {
        const MAKING: u64 = 120;
        Duration::from_secs(ready_within.saturating_add(MAKING))
    }
}

/// A job, with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub job: Job,
    pub progress: Progress,
    /// The revision of the progress; 0 where it was not written yet.
    pub revision: u64,
    /// Who wants it given up.
    pub abort: Option<String>,
}

/// All jobs, the oldest first. What cannot be read is left out: another version's leader does it.
pub async fn all(store: &dyn Store) -> cluster::store::Result<Vec<Known>> {
    let range = store.range(IMAGES, Page::ALL).await?;
    let find = |key: String| range.entries.iter().find(move |entry| entry.key == key);
    let mut known: Vec<Known> = Vec::new();
    for entry in range.entries.iter().filter(|entry| entry.key.starts_with(JOBS)) {
        let Ok(job) = serde_json::from_slice::<Job>(&entry.value) else {
            tracing::warn!(key = entry.key, "a job for images cannot be read");
            continue;
        };
        let written = find(format!("{PROGRESS}{}", job.id));
        let progress = match written {
            Some(entry) => serde_json::from_slice(&entry.value).ok(),
            None => Some(Progress::of(&job)),
        };
        let Some(progress) = progress else {
            tracing::warn!(job = %job.id, "how far a job for images is cannot be read");
            continue;
        };
        let abort = find(format!("{ABORT}{}", job.id)).map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
        known.push(Known {
            progress,
            revision: written.map_or(0, |entry| entry.revision),
            abort,
            job,
        });
    }
    known.sort_by_key(|known| (known.job.at, known.job.id));
    Ok(known)
}

/// One job.
pub async fn find(store: &dyn Store, id: Uuid) -> cluster::store::Result<Option<Known>> {
    let Some(job) = store.get(&format!("{JOBS}{id}")).await? else {
        return Ok(None);
    };
    let Ok(job) = serde_json::from_slice::<Job>(&job.value) else {
        return Ok(None);
    };
    let written = store.get(&format!("{PROGRESS}{id}")).await?;
    let abort = store.get(&format!("{ABORT}{id}")).await?;
    let progress = match &written {
        Some(entry) => serde_json::from_slice(&entry.value).ok(),
        None => Some(Progress::of(&job)),
    };
    Ok(progress.map(|progress| Known {
        progress,
        revision: written.map_or(0, |entry| entry.revision),
        abort: abort.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()),
        job,
    }))
}

/// The rollout that is under way, or else the last one.
pub async fn last_rollout(store: &dyn Store) -> cluster::store::Result<Option<Known>> {
    let under_way = store.get(ROLLOUT).await?;
    let id = under_way.and_then(|entry| String::from_utf8(entry.value).ok()?.parse().ok());
    if let Some(id) = id {
        return find(store, id).await;
    }
    let mut all = all(store).await?;
    all.retain(|known| known.job.rollout.is_some());
    Ok(all.into_iter().max_by_key(|known| known.progress.ended))
}

/// Give a job to the leader. A rollout is refused while there is another.
pub async fn give(store: &dyn Store, job: &Job) -> Result<()> {
    let failed = |error| match error {
        cluster::store::Error::NotGranted { .. } => Error::refused(
            "it needs an administrator's credential",
            "on the core: kato admin create NAME; then here: --credential FILE or /etc/kato/credential.yml",
        ),
        other => Error::store("give the job to the cluster")(other),
    };
    let key = format!("{JOBS}{}", job.id);
    let value = serde_json::to_vec(job).map_err(|error| Error::failed("write the job", error))?;
    let mut txn = Txn::new().when(&key, 0).put(key, value);
    if job.rollout.is_some() {
        txn = txn.when(ROLLOUT, 0).put(ROLLOUT, job.id.to_string());
    }
    match store.txn(txn).await.map_err(failed)? {
        Outcome::Done(_) => Ok(()),
        Outcome::Stale => Err(Error::refused(
            "another image is being rolled out",
            "kato image rollout status; kato image rollout abort",
        )),
    }
}

/// Have a job given up.
pub async fn abort(store: &dyn Store, id: Uuid, by: &str) -> Result<()> {
    let put = store.txn(Txn::new().put(format!("{ABORT}{id}"), by)).await;
    put.map(drop).map_err(Error::store("have the job given up"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::store::memory::MemoryStore;

    fn job(rollout: Option<Rollout>) -> Job {
        Job {
            id: Uuid::new_v4(),
            image: Chosen {
                name: "core:5000/x:1".to_owned(),
                exact: "core:5000/x@sha256:00".to_owned(),
            },
            nodes: Vec::new(),
            wave: 2,
            rollout,
            by: "root".to_owned(),
            command: "kato image pull".to_owned(),
            at: Timestamp::now(),
        }
    }

    #[tokio::test]
    async fn one_rollout_is_given_at_a_time_and_pulls_beside_it() {
        let store = MemoryStore::new();
        let rollout = Rollout {
            scope: Scope::Cluster,
            from: None,
            check: Check::Runs(5),
            ready_within: 60,
            taken_within: 60,
            restart: false,
        };
        let first = job(Some(rollout.clone()));
        give(&store, &first).await.unwrap();
        let error = give(&store, &job(Some(rollout))).await.unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Refused);
        let pull = job(None);
        give(&store, &pull).await.unwrap();
        abort(&store, first.id, "root").await.unwrap();
        let known = all(&store).await.unwrap();
        assert_eq!(known.len(), 2);
        let first = find(&store, first.id).await.unwrap().unwrap();
        assert_eq!((first.revision, first.abort.as_deref()), (0, Some("root")));
        assert_eq!(first.progress, Progress::of(&first.job));
        assert_eq!(find(&store, pull.id).await.unwrap().unwrap().abort, None);
    }

    #[tokio::test]
    async fn what_cannot_be_read_hides_no_other() {
        let store = MemoryStore::new();
        let one = job(None);
        give(&store, &one).await.unwrap();
        let other = job(None);
        give(&store, &other).await.unwrap();
        let odd = Txn::new()
            .put(format!("{JOBS}odd"), "{")
            .put(format!("{PROGRESS}{}", other.id), "{");
        store.txn(odd).await.unwrap();
        let known = all(&store).await.unwrap();
        assert_eq!(known.iter().map(|known| known.job.id).collect::<Vec<_>>(), [one.id]);
    }
}
