//! `kato image rollout status` and `kato image rollout abort`: how far the rollout is, and giving it up.

use clap::Args;
use cluster::config::Name;
use jiff::Timestamp;
use registry_bootstrap::distribute::job::{self, Failure, Known, Phase};
use registry_bootstrap::distribute::unreadable::{self, Unreadable};
use serde::Serialize;

use super::super::super::Context;
use super::super::follow;
use crate::commands::cloud::{self, Cloud, by};
use crate::commands::config::change::author_of;
use crate::commands::registry::problem;
use crate::error::{Error, Exit, Kind, Result};
use crate::ui::{self, Format, FormatArgs, Table, Tone};

/// Show how far the rollout is, or how the last one ended
///
/// The exit code is 0 while one goes on or if the last one was done, 6 if some nodes were away, 1 if it failed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato image rollout status
  kato image rollout status -j")]
pub struct StatusArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// Give the rollout up, and have everything put back
///
/// Too late once the image is configured for all. It waits until all is as it was.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  kato image rollout abort")]
pub struct AbortArgs {
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Serialize)]
struct Shown {
    image: String,
    exact: String,
    state: &'static str,
    by: String,
    since: Timestamp,
    ended: Option<Timestamp>,
    failure: Option<Failure>,
    nodes: Vec<follow::Shown>,
}

/// Show it.
pub async fn run(context: &Context, args: &StatusArgs) -> Result<Exit> {
    let cloud = Cloud::open(context).await?;
    if unreadable(&cloud).await?.is_some() {
        let message = "what is known of the rollout that is under way cannot be read";
        return Err(Error::failed(message).hint("kato of the version that began it; or kato image rollout abort"));
    }
    let Some(known) = last(&cloud).await? else {
        return Err(Error::not_found("no image was rolled out").hint("kato image rollout NAME"));
    };
    show(context, args.format, &known)?;
    match known.progress.is_over() {
        true => judge(&known),
        false => Ok(Exit::Done),
    }
}

/// Give it up.
pub async fn abort(context: &Context, args: &AbortArgs) -> Result<Exit> {
    let cloud = Cloud::open(context).await?;
    if let Some(rollout) = unreadable(&cloud).await? {
        return free(context, &cloud, &rollout).await;
    }
    let Some(known) = last(&cloud).await?.filter(|known| !known.progress.is_over()) else {
        return Err(Error::not_found("no image is being rolled out").hint("kato image rollout status"));
    };
    let given = job::abort(cloud.store.as_ref(), known.job.id, &by()).await;
    given.map_err(problem::registry)?;
    let known = follow::until_over(context, &cloud, known.job.id).await?;
    show(context, args.format, &known)?;
    match known.progress.phase {
        Phase::Failed => Ok(Exit::Done),
        _ => Err(Error::refused("it was configured for all already")
            .hint("kato config history fence; kato config rollback REVISION")),
    }
}

async fn unreadable(cloud: &Cloud) -> Result<Option<Unreadable>> {
    let found = unreadable::find(cloud.store.as_ref()).await;
    found.map_err(|error| cloud::store(error, "the rollouts could not be read".to_owned()))
}

/// Give up one of which what is known cannot be read.
async fn free(context: &Context, cloud: &Cloud, rollout: &Unreadable) -> Result<Exit> {
    context
        .ui
        .warn("what is known of the rollout cannot be read; a leader that can is waited for");
    let author = author_of("kato image rollout abort".to_owned());
    let freed = unreadable::free(&cloud.store, &cloud.node.name, rollout, &author).await;
    let freed = freed.map_err(problem::registry)?;
    let names = |names: &[Name]| names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    let done = match (freed.by_leader, freed.back.as_slice()) {
        (true, _) => "The cluster has ended it".to_owned(),
        (false, []) => "It was given up, and another image can be rolled out".to_owned(),
        (false, back) => format!(
            "It was given up, and another image can be rolled out; its value was taken from {}",
            names(back)
        ),
    };
    context.ui.say(&done);
    if freed.unsure.is_empty() {
        return Ok(Exit::Done);
    }
    let message = format!(
        "these have an image of their own, which may be from that rollout: {}",
        names(&freed.unsure)
    );
    let hint = "kato config get -n NODE local fence/docker/image; kato config del -n NODE local fence/docker/image";
    Err(Error::new(Kind::Partly, message).hint(hint))
}

async fn last(cloud: &Cloud) -> Result<Option<Known>> {
    let last = job::last_rollout(cloud.store.as_ref()).await;
    last.map_err(|error| cloud::store(error, "the rollouts could not be read".to_owned()))
}

/// Print how it is.
pub fn show(context: &Context, format: FormatArgs, known: &Known) -> Result<()> {
    let (job, progress) = (&known.job, &known.progress);
    let shown = Shown {
        image: job.image.name.clone(),
        exact: job.image.exact.clone(),
        state: state(progress.phase),
        by: job.by.clone(),
        since: job.at,
        ended: progress.ended,
        failure: progress.failure.clone(),
        nodes: follow::nodes(known),
    };
    if format.format() != Format::Text {
        return context.ui.document(format.format(), &shown);
    }
    context.ui.text(&format!("image   {}", shown.image))?;
    context.ui.text(&format!("digest  {}", shown.exact))?;
    let ended = shown
        .ended
        .map(|at| format!(", ended {}", ui::time(at)))
        .unwrap_or_default();
    let begun = ui::time(shown.since);
    context.ui.text(&format!(
        "state   {}; begun {begun} by {}{ended}",
        shown.state, shown.by
    ))?;
    context.ui.line("")?;
    let mut table = Table::new(["node", "state", "problem"]);
    for node in &shown.nodes {
        let tone = match node.state {
            "in use" | "here" => Tone::Good,
            "failed" | "away" => Tone::Bad,
            _ => Tone::Waiting,
        };
        table.row(tone, [&node.node, node.state, &node.problem]);
    }
    context.ui.table(&table)
}

fn state(phase: Phase) -> &'static str {
    match phase {
        Phase::Pulling => "being pulled",
        Phase::Trying(_) => "being tried",
        Phase::Setting => "being taken up",
        Phase::Naming | Phase::Finishing => "being configured for all",
        Phase::PuttingBack => "being put back",
        Phase::Done => "done",
        Phase::Failed => "put back",
    }
}

/// Done; or what failed, and which nodes were away.
pub fn judge(known: &Known) -> Result<Exit> {
    let name = &known.job.image.name;
    let failure = known.progress.failure.clone().unwrap_or_default();
    if known.progress.phase == Phase::Failed {
        let place = match failure.node.as_str() {
            "" => failure.step.clone(),
            node => format!("{node}, {}", failure.step),
        };
        let hint = match (failure.step.as_str(), failure.node.as_str()) {
            ("abort", _) => "",
            ("pull", _) => "kato image list --nodes; then run it again",
            (_, "") => "kato node list; kato config history fence",
            ("trial", _) => "mend the image and give it a new tag; or --check, --ready-within",
            _ => "kato status on that node; or --taken-within",
        };
        let message = format!(
            "{name} was not rolled out, and everything was put back: {place}: {}",
            failure.reason
        );
        return Err(Error::failed(message).detail(failure.log).hint(hint));
    }
    let nodes = follow::nodes(known);
    let away: Vec<&str> = nodes
        .iter()
        .filter(|node| node.state != "in use")
        .map(|node| node.node.as_str())
        .collect();
    if away.is_empty() {
        return Ok(Exit::Done);
    }
    let message = format!("{name} is configured for all; not seen to use it: {}", away.join(", "));
    Err(Error::new(Kind::Partly, message).hint("they take it up when they are back: kato node list"))
}
