//! What a node says of its images, in two keys: how far it is with what is wished of it and which image its fence uses ([`Told`]),
//! which changes often, and which images it has and who uses them ([`Stock`]), which is large.
//!
//! Both are bounded in size: a node may not write much to the store.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How large the images of a stock may be as JSON, in bytes; of more than that the largest are told.
pub const MAX_STOCK: usize = 24 * 1024;
/// The most names that are told of an image.
pub const MAX_NAMES: usize = 8;
/// The most lines of a log, and characters of a line or of any other text.
pub const MAX_LINES: usize = 20;
pub const MAX_TEXT: usize = 300;
/// How much more or less room on a disk is worth telling, in bytes.
const SEEN: u64 = 64 << 20;
/// The most jobs that are told of at once.
pub const MAX_PULLS: usize = 16;

/// How far a node is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// How far it is with what it is to have, by the job.
    #[serde(default)]
    pub pulls: BTreeMap<Uuid, Pull>,
    /// How the container does that is to be tried.
    #[serde(default)]
    pub trial: Option<Trial>,
    /// What its fence makes containers of, where that says so.
    #[serde(default)]
    pub fence: Option<InUse>,
}

/// The images of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stock {
    /// When.
    pub at: Timestamp,
    /// Why its Docker could not be asked, or "".
    #[serde(default)]
    pub problem: String,
    /// Where images are.
    #[serde(default)]
    pub disk: Option<Disk>,
    /// The largest first.
    #[serde(default)]
    pub images: Vec<Image>,
    /// How many more there are that are not told.
    #[serde(default)]
    pub more: usize,
}

/// The disk of the engine's data, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub size: u64,
    pub free: u64,
}

/// An image in the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub id: String,
    /// Tags, and digests where it has none.
    pub names: Vec<String>,
    pub bytes: u64,
    /// How many containers are made of it, whoever made them.
    pub containers: u32,
    /// Whether fence is to make containers of it, or does.
    #[serde(default)]
    pub configured: bool,
    /// Whether housekeeping may remove it: it came by the cluster and could be had again.
    #[serde(default)]
    pub kept_house: bool,
}

/// How far it is with an image that it is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    pub state: PullState,
    /// Whether it has the name that was wished.
    #[serde(default)]
    pub named: bool,
    /// What came so far of what is known to come, in bytes.
    #[serde(default)]
    pub current: u64,
    #[serde(default)]
    pub total: u64,
    /// Why it could not; of one that goes on, why it was tried again.
    #[serde(default)]
    pub problem: String,
}

/// How a pull stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullState {
    #[default]
    Waiting,
    Pulling,
    Here,
    Failed,
}

/// How a container does that is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub job: Uuid,
    pub state: TrialState,
    /// Why it did not pass.
    #[serde(default)]
    pub problem: String,
    /// The last lines of its command.
    #[serde(default)]
    pub log: Vec<String>,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    Running,
    Passed,
    Failed,
}

/// What fence makes containers of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InUse {
    /// The names configured.
    pub configured: Vec<String>,
    /// The one that is used.
    pub name: String,
    pub id: String,
    /// Why it is not the first one, or "".
    #[serde(default)]
    pub problem: String,
}

/// Where a node says how far it is.
pub fn key(node: Uuid) -> String {
    format!("{}images", cluster::nodes::report::state_prefix(node))
}

/// A text as it is told: not longer than that, and in one line.
pub fn short(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MAX_TEXT).collect()
}

impl Told {
    /// Whether it says the same, whenever it was said.
    pub fn says_the_same(&self, other: &Told) -> bool {
        (&self.pulls, &self.trial, &self.fence) == (&other.pulls, &other.trial, &other.fence)
    }
}

impl Stock {
    /// Of these images, the largest first, as many as are told.
    pub fn of(mut images: Vec<Image>) -> Self {
        images.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.id.cmp(&b.id)));
        let mut size = 0;
        let fits = |image: &&Image| {
            size += serde_json::to_vec(image).map_or(MAX_STOCK, |json| json.len() + 1);
            size <= MAX_STOCK
        };
        let told = images.iter().take_while(fits).count();
        let more = images.len() - told;
        images.truncate(told);
        Stock {
            images,
            more,
            ..Stock::default()
        }
    }

    /// Whether it says the same, whenever it was said; of the disk only changes that somebody would see.
    pub fn says_the_same(&self, other: &Stock) -> bool {
        let disk = match (self.disk, other.disk) {
            (Some(one), Some(other)) => one.size == other.size && one.free.abs_diff(other.free) < SEEN,
            (one, other) => one == other,
        };
        disk && (&self.problem, &self.images, self.more) == (&other.problem, &other.images, other.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_not_larger_than_it_may_write() {
        let image = |bytes| Image {
            id: format!("sha256:{bytes:064}"),
            names: vec!["x".repeat(MAX_TEXT); MAX_NAMES],
            bytes,
            containers: 1,
            configured: false,
            kept_house: true,
        };
        let stock = Stock::of((0..100).map(image).collect());
        assert!(stock.more > 0 && stock.images.len() + stock.more == 100);
        assert_eq!(stock.images[0].bytes, 99);
        assert!(serde_json::to_vec(&stock).unwrap().len() < 30 * 1024);
        let text = short(&"\u{1b}\n".repeat(1000));
        assert_eq!(text, " ".repeat(MAX_TEXT));
        let told = Told {
            pulls: (0..MAX_PULLS as u128)
                .map(|n| {
                    let problem = "p".repeat(MAX_TEXT);
                    (
                        Uuid::from_u128(n),
                        Pull {
                            problem,
                            ..Pull::default()
                        },
                    )
                })
                .collect(),
            trial: Some(Trial {
                job: Uuid::nil(),
                state: TrialState::Failed,
                problem: "p".repeat(MAX_TEXT),
                log: vec!["\u{10ffff}".repeat(MAX_TEXT); MAX_LINES],
            }),
            ..Told::default()
        };
        assert!(serde_json::to_vec(&told).unwrap().len() < 40 * 1024);
    }
}
