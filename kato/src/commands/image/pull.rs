//! `kato image pull`: have nodes pull an image of the cluster's registry, a wave at a time.

use clap::Args;
use registry_bootstrap::distribute::job::{self, Job, Known, Phase, Standing};
use serde::Serialize;

use super::chosen::{self, WhichArgs};
use super::follow;
use crate::commands::Context;
use crate::commands::cloud::Cloud;
use crate::commands::registry::problem;
use crate::error::{Error, Exit, Kind, Result};
use crate::ui::{Format, FormatArgs, Table, Tone};

/// Have nodes pull an image of the cluster's registry
///
/// All that have containers, or those that are named. They pull by its digest, so many at a time that the registry is not
/// overrun; room on their disks is looked for first, and what breaks off is tried again. The cluster goes on with it when
/// this command ends. It takes an administrator's credential. The exit code is 6 if a node does not have it in the end.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image pull exampleco/newimg:1.0.0
  kato image pull exampleco/newimg:1.0.0 --realm staging --wave 8
  kato image pull exampleco/newimg:1.0.0 -n dea1")]
pub struct PullArgs {
    /// The image
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    wave: WaveArgs,
    /// Do not wait for it
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// How many nodes at a time.
#[derive(Args, Debug)]
pub struct WaveArgs {
    /// How many nodes at a time; else as in `cluster images/wave`
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub wave: Option<u16>,
}

impl WaveArgs {
    /// The number given.
    pub fn number(&self) -> Option<usize> {
        self.wave.map(usize::from)
    }
}

#[derive(Serialize)]
struct Shown {
    name: String,
    exact: String,
    nodes: Vec<follow::Shown>,
}

/// Have it pulled.
pub async fn run(context: &Context, args: &PullArgs) -> Result<Exit> {
    let cloud = Cloud::open(context).await?;
    if args.detach {
        let job = give(context, &cloud, &args.name, &args.which, args.wave.number()).await?;
        context
            .ui
            .say(&format!("{} nodes pull {}", job.nodes.len(), job.image.name));
        return Ok(Exit::Done);
    }
    let known = pulled(context, &cloud, &args.name, &args.which, args.wave.number()).await?;
    tell(context, args.format, &known)
}

async fn give(context: &Context, cloud: &Cloud, name: &str, which: &WhichArgs, wave: Option<usize>) -> Result<Job> {
    let found = chosen::find(context, name).await?;
    let nodes = found.nodes(&chosen::meant(cloud, which).await?)?;
    let wave = chosen::wave(cloud, wave).await?;
    let job = found.job(nodes, wave, None, format!("kato image pull {}", found.name));
    job::give(cloud.store.as_ref(), &job).await.map_err(problem::registry)?;
    Ok(job)
}

async fn pulled(context: &Context, cloud: &Cloud, name: &str, which: &WhichArgs, wave: Option<usize>) -> Result<Known> {
    let job = give(context, cloud, name, which, wave).await?;
    follow::until_over(context, cloud, job.id).await
}

/// Have all nodes pull these, one after the other. What came of it is said beside the data.
pub async fn on_all(context: &Context, names: &[String]) -> Result<Exit> {
    let cloud = Cloud::open(context).await?;
    let mut lacking = Vec::new();
    for name in names {
        let which = WhichArgs::default();
        let known = pulled(context, &cloud, name, &which, None).await?;
        let problems = follow::nodes(&known).into_iter().filter(|node| node.state != "here");
        lacking.extend(problems.map(|node| format!("{}: {name}: {} {}", node.node, node.state, node.problem)));
        let (here, all) = (known.progress.count(Standing::Here), known.job.nodes.len());
        context.ui.say(&format!("{here} of {all} nodes have {name}"));
    }
    match lacking.is_empty() {
        true => Ok(Exit::Done),
        false => Err(Error::new(Kind::Partly, "not all nodes have them")
            .detail(lacking)
            .hint("kato image pull NAME")),
    }
}

fn tell(context: &Context, format: FormatArgs, known: &Known) -> Result<Exit> {
    let shown = Shown {
        name: known.job.image.name.clone(),
        exact: known.job.image.exact.clone(),
        nodes: follow::nodes(known),
    };
    match format.format() {
        Format::Text => {
            let mut table = Table::new(["node", "state", "problem"]);
            for node in &shown.nodes {
                let tone = if node.state == "here" { Tone::Good } else { Tone::Bad };
                table.row(tone, [&node.node, node.state, &node.problem]);
            }
            context.ui.table(&table)?;
        }
        format => context.ui.document(format, &shown)?,
    }
    let (all, here) = (known.job.nodes.len(), known.progress.count(Standing::Here));
    if let (Phase::Failed, Some(failure)) = (known.progress.phase, &known.progress.failure) {
        return Err(Error::failed(format!(
            "{} was given up: {}",
            shown.name, failure.reason
        )));
    }
    match all - here {
        0 => Ok(Exit::Done),
        lacking => {
            let message = format!("{lacking} of {all} nodes do not have {}", shown.name);
            Err(Error::new(Kind::Partly, message).hint("kato node list; then run it again"))
        }
    }
}
