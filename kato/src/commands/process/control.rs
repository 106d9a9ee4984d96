//! `kato process start|stop|restart`: orders to the agent, to another node's or to all, answered when they have taken
//! effect.

use clap::Args;
use cluster::nodes::NodeFile;
use cluster::process::{OrderAction, Process, of_roles};

use super::super::cloud::orders::{self, Orders};
use super::super::cloud::{Seen, WhereArgs};
use super::super::order;
use super::{ALL, Context, named};
use crate::agent::wire::Action;
use crate::agent::{client, detach};
use crate::error::{Error, Exit, Result};

/// The processes meant and the time they have.
#[derive(Args, Debug)]
struct Which {
    /// The processes; `all` means all of this node but the agent
    #[arg(value_name = "PROCESS", required = true)]
    processes: Vec<String>,
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    within: order::WithinArgs,
}

/// Start processes and wait until they are ready
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato process start fence")]
pub struct StartArgs {
    #[command(flatten)]
    which: Which,
}

/// Stop processes; they stay stopped until they are started
///
/// A process that was stopped so stays stopped when the agent or the machine is restarted. Stopping docker or fence
/// leaves app containers running.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato process stop fence")]
pub struct StopArgs {
    #[command(flatten)]
    which: Which,
}

/// Restart processes and wait until the new ones are ready
///
/// App containers and their processes go on. Restarting the agent leaves the other processes as they are.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato process restart fence
  kato process restart --cluster fence       On all nodes that have it
  kato process restart --timeout 120 docker fence")]
pub struct RestartArgs {
    #[command(flatten)]
    which: Which,
}

/// Start.
pub async fn start(context: &Context, args: StartArgs) -> Result<Exit> {
    if let Some(exit) = args.which.elsewhere(context, OrderAction::Start).await? {
        return Ok(exit);
    }
    let (agent, others) = args.which.split(context)?;
    if agent {
        detach::have_agent(&context.paths).await?;
    }
    order::start(context, others, args.which.within).await
}

/// Stop.
pub async fn stop(context: &Context, args: StopArgs) -> Result<Exit> {
    if let Some(exit) = args.which.elsewhere(context, OrderAction::Stop).await? {
        return Ok(exit);
    }
    let (agent, others) = args.which.split(context)?;
    if agent {
        let message = "the agent is stopped together with everything it looks after";
        return Err(Error::refused(message).hint("kato stop"));
    }
    let within_ms = args.which.within.millis();
    order::give(
        context,
        others,
        |_| "stopped",
        |processes| Action::Stop { processes, within_ms },
    )
    .await
}

/// Restart.
pub async fn restart(context: &Context, args: RestartArgs) -> Result<Exit> {
    if let Some(exit) = args.which.elsewhere(context, OrderAction::Restart).await? {
        return Ok(exit);
    }
    let (agent, others) = args.which.split(context)?;
    if agent {
        restart_agent(context).await?;
    }
    let within_ms = args.which.within.millis();
    order::give(
        context,
        others,
        |_| "restarted",
        |processes| Action::Restart { processes, within_ms },
    )
    .await
}

async fn restart_agent(context: &Context) -> Result<()> {
    if client::is_there(&context.paths).await? {
        client::ask(&context.paths, Action::Leave).await?;
        detach::gone(&context.paths).await?;
    }
    detach::have_agent(&context.paths).await?;
    context.ui.say("agent restarted");
    Ok(())
}

/// Whether the node's roles have one of these processes; none = all.
fn has_any(node: &Seen, processes: &[Process]) -> bool {
    let here = of_roles(&node.record.roles);
    processes.is_empty() || processes.iter().any(|process| here.contains(process))
}

impl Which {
    /// Give the order to other nodes, or to all, if that is meant.
    async fn elsewhere(&self, context: &Context, action: OrderAction) -> Result<Option<Exit>> {
        let processes = match self.processes.iter().any(|name| name == ALL) {
            true => Vec::new(),
            false => named(&self.processes)?,
        };
        let Some((cloud, mut nodes)) = self.place.elsewhere(context).await? else {
            return Ok(None);
        };
        if self.place.cluster {
            nodes.retain(|node| has_any(node, &processes));
        } else if let Some(node) = nodes.iter().find(|node| !has_any(node, &processes)) {
            let message = format!("the node {} has no such process", node.record.name);
            return Err(Error::not_found(message).hint("kato process list --cluster"));
        }
        let within = self.within.duration();
        let orders = Orders {
            action,
            processes,
            roles: Vec::new(),
            within,
        };
        orders::give(context, &cloud, &nodes, &orders).await.map(Some)
    }

    /// Whether the agent is meant by its name, and the others.
    fn split(&self, context: &Context) -> Result<(bool, Vec<Process>)> {
        if self.processes.iter().any(|name| name == ALL) {
            let node = NodeFile::load(&context.paths)?;
            return Ok((false, order::of_roles(&node, &node.roles)));
        }
        let mut processes = named(&self.processes)?;
        let agent = processes.contains(&Process::Agent);
        processes.retain(|process| *process != Process::Agent);
        Ok((agent, processes))
    }
}
