//! The family `kato role`: what nodes do. The change is written into a node's record; its agent does the rest.

mod info;

use std::time::Duration;

use clap::{Args, Subcommand};
use cluster::nodes::registry::Error as Refusal;
use cluster::nodes::{Kind, Record, Report, Role, node_store};
use cluster::process::{Process, of_roles};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Context;
use super::cloud::orders::{follow, unless_failed};
use super::cloud::{Cloud, NodeArgs, Seen, WITHIN, bounded};
use super::{order, roles};
use crate::error::{Error, Exit, Result};

/// How often it is looked whether a new member votes.
const AGAIN: Duration = Duration::from_millis(500);

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum RoleCommand {
    Add(AddArgs),
    Remove(RemoveArgs),
    Info(info::InfoArgs),
}

/// Give a node roles; their processes are started
///
/// Returns when the node's agent has confirmed it and the processes are ready, with config when the node votes in the config
/// store. The role core is not given by this: see
/// `kato node setup core`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato role add dea
  kato role add -n two config
  kato role add -n two --only dea       Take its other roles away")]
pub struct AddArgs {
    /// The roles
    #[arg(value_name = "ROLE", required_unless_present = "all")]
    roles: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Every role that any node can have
    #[arg(short, long, conflicts_with_all = ["roles", "only"])]
    all: bool,
    /// These roles and no others
    #[arg(short, long)]
    only: bool,
}

/// Take roles away from a node; their processes are stopped
///
/// Containers go on running when dea is taken away, without a fence that looks after them. The roles base and core stay.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato role remove -n two dea")]
pub struct RemoveArgs {
    /// The roles
    #[arg(value_name = "ROLE", required = true)]
    roles: Vec<String>,
    #[command(flatten)]
    which: Which,
}

#[derive(Args, Debug)]
struct Which {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    within: order::WithinArgs,
}

/// Run one verb.
pub async fn run(context: &Context, command: RoleCommand) -> Result<Exit> {
    match command {
        RoleCommand::Add(args) => add(context, &args).await,
        RoleCommand::Remove(args) => remove(context, &args).await,
        RoleCommand::Info(args) => info::run(context, &args).await,
    }
}

async fn add(context: &Context, args: &AddArgs) -> Result<Exit> {
    let mut given = roles::named(&args.roles)?;
    if args.all {
        given = vec![Role::Base, Role::Dea];
    }
    if given.contains(&Role::Core) {
        let message = "a node becomes the core by being set up as such";
        return Err(Error::refused(message).hint("on that node: kato node setup core HOST"));
    }
    let cloud = Cloud::open(context).await?;
    if cloud.node.kind == Kind::Micro && given.contains(&Role::Config) {
        let message = "a micro cloud has its configuration in a file, without a process";
        return Err(Error::refused(message).hint("kato node setup core HOST"));
    }
    change(context, &cloud, &args.which, |roles| {
        if args.only {
            roles.retain(|role| given.contains(role) || matches!(role, Role::Base | Role::Core));
        }
        roles.extend(&given);
    })
    .await
}

async fn remove(context: &Context, args: &RemoveArgs) -> Result<Exit> {
    let taken = roles::named(&args.roles)?;
    for (role, why) in [
        (Role::Base, "every node has the role base"),
        (Role::Core, "the core stays the core: the cluster's CA is there"),
    ] {
        if taken.contains(&role) {
            return Err(Error::refused(why).hint("kato role info"));
        }
    }
    let cloud = Cloud::open(context).await?;
    change(context, &cloud, &args.which, |roles| {
        roles.retain(|role| !taken.contains(role));
    })
    .await
}

/// Change the roles of the node that is meant, and wait until its agent has done so.
async fn change(context: &Context, cloud: &Cloud, which: &Which, change: impl Fn(&mut Vec<Role>)) -> Result<Exit> {
    let node = cloud.meant(&which.node).await?;
    let changed = bounded(cloud.nodes().change(node.record.id, |record| {
        change(&mut record.roles);
        record.roles.sort_unstable();
        record.roles.dedup();
        Ok::<(), Refusal>(())
    }))
    .await?;
    let names: Vec<&str> = changed.roles.iter().map(|role| role.name()).collect();
    let (name, names) = (&changed.name, names.join(", "));
    if !node.is_alive() {
        let why = format!(
            "{name}: {}; it will have the roles {names} when it is back",
            node.life()
        );
        return Err(Error::new(crate::error::Kind::Partly, why).hint("kato node list"));
    }
    let wanted = of_roles(&changed.roles);
    let is_done = |report: &Report| {
        let here: Vec<Process> = report.processes.iter().map(|seen| seen.process).collect();
        let is_in_order = |process: &Process| report.process(*process).is_none_or(|seen| seen.is_in_order());
        report.roles == changed.roles
            && here.iter().all(|process| wanted.contains(process))
            && here.iter().all(is_in_order)
    };
    let deadline = Instant::now() + which.within.duration();
    let progress = context.ui.progress(&format!("waiting for {name}"));
    let done = reported(cloud, &node, which.within.duration(), is_done).await;
    drop(progress);
    match done {
        true => {
            context.ui.say(&format!("{name} has the roles {names}"));
            match changed.roles.contains(&Role::Config) && !node.record.roles.contains(&Role::Config) {
                true => until_it_votes(context, &changed, deadline).await,
                false => Ok(Exit::Done),
            }
        }
        false => unless_failed(
            vec![format!("{name} did not confirm in time that it has the roles {names}")],
            1,
        ),
    }
}

/// Wait until the node's member of the config store has learnt all there is, and votes.
async fn until_it_votes(context: &Context, node: &Record, deadline: Instant) -> Result<Exit> {
    let (name, own) = (&node.name, node.id.to_string());
    let text = format!("{name} takes over what the config store has");
    let progress = context.ui.progress(&text);
    let store = node_store(&context.paths);
    let votes = async {
        loop {
            // What is wrong with the store shows by what is not so in time.
            if let Ok(Ok(members)) = timeout(WITHIN, store.admin().members()).await
                && members.iter().any(|member| member.name == own && !member.is_learner)
            {
                return;
            }
            sleep(AGAIN).await;
        }
    };
    let voted = timeout_at(deadline, votes).await;
    drop(progress);
    if voted.is_err() {
        let message = format!("{name} does not vote in the config store yet; it goes on by itself");
        return Err(Error::unreachable(message).hint("kato status"));
    }
    context
        .ui
        .say(&format!("{name} is a voting member of the config store"));
    Ok(Exit::Done)
}

/// Wait until the node's report is so; whether it is in time.
pub async fn reported(cloud: &Cloud, node: &Seen, within: Duration, is_so: impl Fn(&Report) -> bool) -> bool {
    let deadline = Instant::now() + within;
    let sender = watch::Sender::new(None::<cluster::nodes::States>);
    let mut states = sender.subscribe();
    let over = |states: &Option<cluster::nodes::States>| {
        let state = states.as_ref().map(|states| states.of(node.record.id));
        state
            .and_then(|state| state.report)
            .is_some_and(|report| is_so(&report))
    };
    tokio::select! {
        found = timeout_at(deadline, states.wait_for(over)) => matches!(found, Ok(Ok(_))),
        () = follow(cloud, &sender) => false,
    }
}
