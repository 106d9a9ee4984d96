//! `kato start|stop|restart`: the roles of this node, of another or of all, that is their processes together.

use clap::Args;
use cluster::nodes::{NodeFile, Role};
use cluster::process::{OrderAction, Process, UnknownRole};

use super::cloud::orders::{self, Orders};
use super::cloud::{Seen, WhereArgs};
use super::{Context, order};
use crate::agent::wire::Action;
use crate::agent::{self, client, detach};
use crate::error::{Error, Exit, Result};

/// The roles meant and the time they have.
#[derive(Args, Debug)]
struct Which {
    /// The roles; all of this node if none is named
    #[arg(value_name = "ROLE")]
    roles: Vec<String>,
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    within: order::WithinArgs,
}

/// Start this node's roles, and the agent where none runs
///
/// Returns when their processes are ready.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato start
  kato start dea
  kato start -n two dea     Those of the node two")]
pub struct StartArgs {
    #[command(flatten)]
    which: Which,
}

/// Stop this node's roles; app containers go on running
///
/// Without a role it stops all processes and then the agent; on other nodes the agent and the config store go on. To
/// stop apps, see `kato container destroy --all`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato stop
  kato stop dea")]
pub struct StopArgs {
    #[command(flatten)]
    which: Which,
}

/// Restart this node's roles; app containers go on running
///
/// Processes are restarted one after the other, each when the one before it is ready.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato restart
  kato restart dea
  kato restart -c dea       On all nodes that have the role")]
pub struct RestartArgs {
    #[command(flatten)]
    which: Which,
}

/// Start.
pub async fn start(context: &Context, args: &StartArgs) -> Result<Exit> {
    if let Some(exit) = args.which.elsewhere(context, OrderAction::Start).await? {
        return Ok(exit);
    }
    let node = NodeFile::load(&context.paths)?;
    let processes = args.which.processes(&node)?;
    if detach::have_agent(&context.paths).await? {
        context.ui.say("agent started");
    }
    order::start(context, processes, args.which.within).await
}

/// Stop.
pub async fn stop(context: &Context, args: &StopArgs) -> Result<Exit> {
    if let Some(exit) = args.which.elsewhere(context, OrderAction::Stop).await? {
        return Ok(exit);
    }
    let node = NodeFile::load(&context.paths)?;
    let processes = args.which.processes(&node)?;
    let within_ms = args.which.within.millis();
    if !args.which.roles.is_empty() {
        return order::give(
            context,
            processes,
            |_| "stopped",
            |processes| Action::Stop { processes, within_ms },
        )
        .await;
    }
    if !client::is_there(&context.paths).await? {
        agent::stop_without_agent(&context.paths, args.which.within.duration()).await?;
        context.ui.say("all processes are stopped");
        return Ok(Exit::Done);
    }
    // Without names, so that it is also for what no role of the node has any more.
    client::ask(
        &context.paths,
        Action::Stop {
            processes: Vec::new(),
            within_ms,
        },
    )
    .await?;
    client::ask(&context.paths, Action::Leave).await?;
    detach::gone(&context.paths).await?;
    context
        .ui
        .say("all processes and the agent are stopped; app containers go on running");
    Ok(Exit::Done)
}

/// Restart.
pub async fn restart(context: &Context, args: &RestartArgs) -> Result<Exit> {
    if let Some(exit) = args.which.elsewhere(context, OrderAction::Restart).await? {
        return Ok(exit);
    }
    let node = NodeFile::load(&context.paths)?;
    let processes = args.which.processes(&node)?;
    if detach::have_agent(&context.paths).await? {
        context.ui.say("agent started");
    }
    let within_ms = args.which.within.millis();
    order::give(
        context,
        processes,
        |_| "restarted",
        |processes| Action::Restart { processes, within_ms },
    )
    .await
}

impl Which {
    /// Give the order to other nodes, or to all, if that is meant.
    async fn elsewhere(&self, context: &Context, action: OrderAction) -> Result<Option<Exit>> {
        let roles = named(&self.roles)?;
        let Some((cloud, mut nodes)) = self.place.elsewhere(context).await? else {
            return Ok(None);
        };
        // On all nodes those are meant that have one of the roles.
        let has = |node: &Seen| roles.is_empty() || roles.iter().any(|role| node.record.roles.contains(role));
        if let Some(node) = nodes.iter().find(|node| !self.place.cluster && !has(node)) {
            let message = format!("the node {} does not have these roles", node.record.name);
            return Err(Error::not_found(message).hint("kato role info"));
        }
        nodes.retain(has);
        let orders = Orders {
            action,
            processes: Vec::new(),
            roles,
            within: self.within.duration(),
        };
        orders::give(context, &cloud, &nodes, &orders).await.map(Some)
    }

    /// The processes of these roles that the agent starts and stops.
    fn processes(&self, node: &NodeFile) -> Result<Vec<Process>> {
        let mut roles = named(&self.roles)?;
        if let Some(absent) = roles.iter().find(|role| !node.roles.contains(role)) {
            return Err(Error::not_found(format!("this node does not have the role {absent}")).hint("kato info"));
        }
        if roles.is_empty() {
            roles.clone_from(&node.roles);
        }
        Ok(order::of_roles(node, &roles))
    }
}

pub fn named(names: &[String]) -> Result<Vec<Role>> {
    let all = || Role::ALL.map(Role::name).join(", ");
    let unknown = |error: UnknownRole| Error::not_found(error.to_string()).hint(format!("roles: {}", all()));
    names.iter().map(|name| name.parse().map_err(unknown)).collect()
}
