//! The status of a node as one value, made of what everybody said. Pure; what follows from it is in [`super::judge`].

use cluster::nodes::{Kind, NodeFile, Role};
use cluster::process::{self, Observed, Wanted};
use serde::Serialize;

use super::judge::{judge, warn};
use crate::agent::joining::Standing;
use crate::fence_api::wire::{ContainerCounts, Engine, ImageStatus, Retiring, Status as FenceStatus};

/// What was said about the processes.
pub struct Seen {
    /// All processes.
    pub processes: Vec<Observed>,
    /// What fence said.
    pub fence: Option<FenceStatus>,
    /// Why fence said nothing, or "".
    pub fence_problem: String,
    /// How the node stands with its cluster, where that is a question.
    pub standing: Option<Standing>,
}

/// What the tree has now.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Of the last change.
    pub revision: u64,
    /// The image configured for this node.
    pub image: Vec<String>,
}

/// What everybody said.
pub struct Parts {
    /// The agent, or a look without it.
    pub report: Seen,
    /// The tree.
    pub tree: Result<Tree, String>,
    /// Whether Docker keeps containers while it is stopped, or why it does not say.
    pub live_restore: Result<bool, String>,
}

/// The status of one node.
#[derive(Debug, Serialize)]
pub struct Node {
    /// Its name.
    pub node: String,
    /// Its id.
    pub id: String,
    /// The kind of cloud it belongs to.
    pub kind: Kind,
    /// What it does.
    pub roles: Vec<Role>,
    /// The configuration.
    pub config: Config,
    /// The image of new containers; what fence did not say is empty. `None` where the node has no containers.
    pub image: Option<ImageStatus>,
    /// Docker, as fence sees it.
    pub engine: Option<EngineView>,
    /// How many containers there are, where fence said so.
    pub containers: Option<ContainerCounts>,
    /// Where the node is being retired: how far that is.
    pub retiring: Option<Retiring>,
    /// The processes.
    pub processes: Vec<Observed>,
    /// What is not in order, and what to do about it.
    pub problems: Vec<Problem>,
    /// What an administrator should know although it is in order.
    pub warnings: Vec<String>,
}

/// The configuration.
#[derive(Debug, Serialize)]
pub struct Config {
    /// The revision that fence follows.
    pub revision: Option<u64>,
    /// The revision that the tree has.
    pub latest: Option<u64>,
}

/// Docker, as fence sees it, and how it is set.
#[derive(Debug, Serialize)]
pub struct EngineView {
    /// What fence sees.
    #[serde(flatten)]
    pub engine: Engine,
    /// Whether containers go on while it is stopped.
    pub live_restore: Option<bool>,
}

/// Something that is not in order.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What.
    pub problem: String,
    /// What to do, or "".
    pub hint: String,
}

impl Node {
    /// The status that these parts make.
    pub fn new(node: NodeFile, parts: Parts) -> Self {
        let Parts {
            report,
            tree,
            live_restore,
        } = parts;
        // What Docker does is nobody's matter where there are no containers.
        let has_containers = node.roles.contains(&Role::Dea);
        let live_restore_known = live_restore.as_ref().ok().copied().filter(|_| has_containers);
        let docker = live_restore.err().filter(|_| has_containers);
        let problems = judge(&node, &report, &tree, docker);
        let warnings = warn(&report, live_restore_known);
        let fence = report.fence;
        let config = Config {
            revision: fence.as_ref().map(|fence| fence.config.revision),
            latest: tree.as_ref().ok().map(|tree| tree.revision),
        };
        let image = has_containers.then(|| match (&fence, tree) {
            (Some(fence), _) => fence.image.clone(),
            (None, Ok(tree)) => ImageStatus {
                configured: tree.image,
                ..ImageStatus::default()
            },
            (None, Err(_)) => ImageStatus::default(),
        });
        Node {
            node: node.name.to_string(),
            id: node.id.to_string(),
            kind: node.kind,
            roles: node.roles,
            config,
            image,
            containers: fence.as_ref().map(|fence| fence.containers.clone()),
            retiring: fence.as_ref().and_then(|fence| fence.retiring.clone()),
            engine: fence.map(|fence| EngineView {
                engine: fence.engine,
                live_restore: live_restore_known,
            }),
            processes: report.processes,
            problems,
            warnings,
        }
    }

    /// Also name the processes of roles that the node does not have.
    pub fn add_roles_not_here(&mut self) {
        let absent: Vec<Role> = Role::ALL
            .into_iter()
            .filter(|role| !self.roles.contains(role))
            .collect();
        for process in process::of_roles(&absent) {
            if !self.processes.iter().any(|seen| seen.process == process) {
                self.processes.push(Observed::stopped(process, Wanted::Stopped));
            }
        }
    }
}
