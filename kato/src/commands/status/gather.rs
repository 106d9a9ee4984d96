//! Asks the agent, fence, Docker and the tree how they are, all at once and none for long.

use std::time::Duration;

use cluster::config::{Config, KeyPath, Scope};
use cluster::nodes::{Access, NodeFile, Paths, open_tree};
use cluster::process::{Observed, Process, Wanted};
use serde_json::Value;
use tokio::time::timeout;

use super::model::{Node, Parts, Seen, Tree};
use super::whole::{self, Cluster};
use crate::agent::desk::ask_fence;
use crate::agent::wire::{Action, Report};
use crate::agent::{client, glance};
use crate::docker_api;
use crate::error::{Result, chain};
use crate::fence_api;

/// How long one part may take. The agent asks fence meanwhile, which has less.
const WITHIN: Duration = Duration::from_secs(3);
/// How long Docker may take to tell how it is set.
const DOCKER_WITHIN: Duration = Duration::from_millis(1500);

/// How things are on this node, and what its cluster knows of all.
pub async fn node(paths: &Paths) -> Result<(Node, Cluster)> {
    let node = NodeFile::load(paths)?;
    let engine = docker_api::Engine::new(&node.docker.socket, DOCKER_WITHIN);
    let (report, tree, engine, cluster) = tokio::join!(
        report(paths, &node),
        tree(paths, &node),
        engine.info(),
        whole::look(paths, &node)
    );
    let report = report?;
    let live_restore = engine
        .map(|engine| engine.live_restore_enabled)
        .map_err(|error| chain(&error));
    let parts = Parts {
        report,
        tree,
        live_restore,
    };
    Ok((Node::new(node, parts), cluster))
}

/// What the agent says; where it says nothing, what can be seen without it. Who may not ask cannot tell anything.
async fn report(paths: &Paths, node: &NodeFile) -> Result<Seen> {
    let asked = timeout(WITHIN, client::ask(paths, Action::Status)).await;
    let problem = match asked {
        Ok(Ok(Report {
            processes,
            fence,
            fence_problem,
            standing,
            ..
        })) => {
            return Ok(Seen {
                processes,
                fence,
                fence_problem,
                standing,
            });
        }
        Ok(Err(error)) if error.is_denied() => return Err(error),
        Ok(Err(error)) => chain(&error),
        Err(_) => format!("the agent gave no answer within {} s", WITHIN.as_secs()),
    };
    let client = fence_api::Client::new(paths);
    let (others, (fence, fence_problem)) = tokio::join!(glance::look(paths, node), ask_fence(&client));
    let mut processes = vec![Observed {
        problem,
        ..Observed::stopped(Process::Agent, Wanted::Running)
    }];
    processes.extend(others);
    Ok(Seen {
        processes,
        fence,
        fence_problem,
        standing: None,
    })
}

/// What the tree has now, or why it cannot be read.
async fn tree(paths: &Paths, node: &NodeFile) -> std::result::Result<Tree, String> {
    let read = async {
        let store = open_tree(paths, node, Access::Node).await;
        let config = Config::for_node(store.map_err(|error| chain(&error))?, node.name.clone());
        let layers = config.layers().await.map_err(|error| chain(&error))?;
        let image = KeyPath::parse("fence/docker/image").map_err(|error| chain(&error))?;
        let image = layers
            .effective(config.schema(), &Scope::Node(node.name.clone()))
            .nest(&image);
        Ok(Tree {
            revision: layers.revision,
            image: names(image),
        })
    };
    let late = || Err(format!("the config tree gave no answer within {} s", WITHIN.as_secs()));
    timeout(WITHIN, read).await.unwrap_or_else(|_| late())
}

/// The image names of a value that is one name or a list of them.
fn names(value: Option<Value>) -> Vec<String> {
    match value {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}
