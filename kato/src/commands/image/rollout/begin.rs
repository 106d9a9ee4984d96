//! `kato image rollout NAME`: plan it, give it to the cluster, and wait for its end.

use clap::Args;
use cluster::config::Scope;
use registry_bootstrap::distribute::job::{self, Check, Rollout};

use super::super::super::Context;
use super::super::chosen;
use super::super::follow;
use super::super::pull::WaveArgs;
use super::{no_image, plan, status};
use crate::commands::cloud::{self, Cloud};
use crate::commands::registry::problem;
use crate::completing;
use crate::error::{Exit, Result};
use crate::ui::FormatArgs;

/// What is rolled out, and how.
#[derive(Args, Debug)]
pub struct BeginArgs {
    /// The image, at the cluster's registry
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// For the nodes of this realm alone
    #[arg(long, value_name = "REALM", add = completing::realms())]
    pub realm: Option<String>,
    #[command(flatten)]
    pub wave: WaveArgs,
    /// A line for /bin/sh in the tried container that has to end with 0; else the image's own HEALTHCHECK, else its command has
    /// to run for 5 s
    #[arg(long, value_name = "LINE")]
    pub check: Option<String>,
    /// Seconds the tried container has until it passes
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub ready_within: u64,
    /// Seconds a node has to take the image up
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub taken_within: u64,
    /// Restart the process fence on each node as well
    #[arg(long)]
    pub restart: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not wait for its end
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// How long a command has to run that nothing else says is good, in seconds.
const RUNS: u64 = 5;

/// Roll it out.
pub async fn run(context: &Context, args: &BeginArgs, name: &str) -> Result<Exit> {
    let found = chosen::find(context, name).await;
    let found = found.map_err(|error| no_image(error, name))?;
    let cloud = Cloud::open(context).await?;
    let realm = args.realm.as_deref().map(cloud::name).transpose()?;
    let scope = realm.map_or(Scope::Cluster, Scope::Realm);
    let planned = plan::nodes(&cloud, &scope).await?;
    let nodes = found.nodes(&planned.nodes)?;
    let rollout = Rollout {
        scope,
        from: planned.from.clone(),
        check: check(args, found.check(&planned.nodes).await?),
        ready_within: args.ready_within,
        taken_within: args.taken_within,
        restart: args.restart,
    };
    let wave = chosen::wave(&cloud, args.wave.number()).await?;
    let job = found.job(nodes, wave, Some(rollout), format!("kato image rollout {}", found.name));
    if args.dry_run {
        return plan::show(context, args.format, &job, &planned);
    }
    for left in &planned.left {
        context.ui.warn(&format!("{}: {}", left.node, left.why));
    }
    job::give(cloud.store.as_ref(), &job).await.map_err(problem::registry)?;
    if args.detach {
        context.ui.say("It is being rolled out: kato image rollout status");
        return Ok(Exit::Done);
    }
    let known = follow::until_over(context, &cloud, job.id).await?;
    status::show(context, args.format, &known)?;
    status::judge(&known)
}

fn check(args: &BeginArgs, own: Option<Vec<String>>) -> Check {
    let line = |line: &String| ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
    match args.check.as_ref().map(line).or(own) {
        Some(command) => Check::Command(command),
        None => Check::Runs(RUNS.min(args.ready_within)),
    }
}
