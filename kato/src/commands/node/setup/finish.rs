//! The end of `kato node setup core`: the core is started, and lets nodes in.

use std::time::Duration;

use cluster::identity::Address;
use cluster::nodes::NodeFile;
use tokio::time::{Instant, sleep};

use super::core::CoreArgs;
use crate::agent::client;
use crate::agent::joining::client::fetch_ca;
use crate::agent::wire::Action;
use crate::commands::node::{problem, shared};
use crate::commands::{Context, process};
use crate::error::{Exit, Result};

/// How often the door is tried.
const LOOK: Duration = Duration::from_millis(100);

/// Wait until nodes can ask to be let in.
async fn door_opens(core: &str, within: Duration) -> Result<()> {
    let address: Address = core.parse().map_err(problem::identity)?;
    let deadline = Instant::now() + within;
    loop {
        match fetch_ca(&address).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error.hint("kato status")),
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// Start it, unless that is not wanted, and say what comes next.
pub async fn finish(context: &Context, args: &CoreArgs, node: &NodeFile) -> Result<Exit> {
    let paths = &context.paths;
    let (core, ca) = node
        .cluster
        .as_ref()
        .map(|known| (known.core.as_str(), known.ca.as_str()))
        .unwrap_or_default();
    let next = format!(
        "Node {} is the core of a cluster; its CA's fingerprint is\n  {ca}\n\nNext, on another node: kato node attach --ca-fingerprint {ca} -e dea {core}",
        node.name
    );
    if args.no_start {
        context.ui.line(&next)?;
        return Ok(Exit::Done);
    }
    let within = Duration::from_secs(args.timeout.into());
    let progress = context.ui.progress("starting the core");
    shared::restart(paths, node, within).await?;
    let within_ms = u64::from(args.timeout) * 1000;
    let processes = Vec::new();
    let report = client::ask(paths, Action::Start { processes, within_ms }).await?;
    door_opens(core, within).await?;
    shared::heard_of(paths, node).await;
    drop(progress);
    context.ui.table(&process::table(&report.processes))?;
    context.ui.line(&format!("\n{next}"))?;
    Ok(Exit::Done)
}
