//! Which nodes a rollout is for, and what it would do.

use cluster::config::{Config, KeyPath, Name, Scope};
use cluster::nodes::Role;
use registry_bootstrap::distribute::job::{Check, Job};
use serde::Serialize;
use serde_json::Value;

use crate::commands::Context;
use crate::commands::cloud::{Cloud, Seen, bounded};
use crate::commands::config::problem as tree;
use crate::error::{Error, Exit, Result};
use crate::ui::{Format, FormatArgs};

/// Which nodes it is for.
pub struct Planned {
    pub nodes: Vec<Seen>,
    /// Those that are left alone.
    pub left: Vec<Left>,
    /// What is configured now where the image is to be.
    pub from: Option<Value>,
}

/// A node that is left alone.
#[derive(Serialize)]
pub struct Left {
    pub node: String,
    pub why: String,
}

/// Refuse a realm that there is not.
pub async fn check_realm(cloud: &Cloud, realm: &Name) -> Result<()> {
    let all = bounded(async { cloud.realms().list().await }).await?;
    match all.iter().any(|known| known.name == *realm) {
        true => Ok(()),
        false => Err(Error::not_found(format!("there is no realm {realm}")).hint("kato realm list")),
    }
}

/// The nodes that go by what is configured in `scope`.
pub async fn nodes(cloud: &Cloud, scope: &Scope) -> Result<Planned> {
    if let Scope::Realm(realm) = scope {
        check_realm(cloud, realm).await?;
    }
    let address = KeyPath::parse("fence/docker/image").map_err(tree::key)?;
    let config = Config::new(cloud.store.clone(), cloud.node.name.clone());
    let layers = config.layers().await.map_err(tree::tree)?;
    let has_own = |scope: &Scope| layers.own(scope).leaf(&address).is_some();
    let mut planned = Planned {
        nodes: Vec::new(),
        left: Vec::new(),
        from: layers.own(scope).leaf(&address).cloned(),
    };
    for seen in cloud.seen().await? {
        let (name, realm) = (seen.record.name.clone(), seen.record.realm.clone());
        let is_meant = match scope {
            Scope::Realm(meant) => realm == *meant,
            Scope::Cluster | Scope::Node(_) => true,
        };
        if !is_meant || !seen.record.roles.contains(&Role::Dea) {
            continue;
        }
        let why = if has_own(&Scope::Node(name.clone())) {
            "it has an image of its own and is left alone"
        } else if *scope == Scope::Cluster && has_own(&Scope::Realm(realm)) {
            "its realm has an image of its own and is left alone"
        } else {
            planned.nodes.push(seen);
            continue;
        };
        planned.left.push(Left {
            node: name.to_string(),
            why: why.to_owned(),
        });
    }
    if planned.nodes.is_empty() {
        let message = format!("no node goes by the image of {scope}");
        return Err(Error::not_found(message).hint("kato config get -n NODE fence docker/image"));
    }
    Ok(planned)
}

#[derive(Serialize)]
struct Plan<'a> {
    image: &'a str,
    exact: &'a str,
    instead_of: &'a Option<Value>,
    steps: Vec<String>,
    left_alone: &'a [Left],
}

/// Print what would be done.
pub fn show(context: &Context, format: FormatArgs, job: &Job, planned: &Planned) -> Result<Exit> {
    let plan = Plan {
        image: &job.image.name,
        exact: &job.image.exact,
        instead_of: &planned.from,
        steps: steps(job, planned),
        left_alone: &planned.left,
    };
    if format.format() != Format::Text {
        context.ui.document(format.format(), &plan)?;
        return Ok(Exit::Done);
    }
    context.ui.text(&format!("image   {}", plan.exact))?;
    let before = plan
        .instead_of
        .as_ref()
        .map_or_else(|| "the default".to_owned(), ToString::to_string);
    context.ui.text(&format!("before  {before}"))?;
    for (number, step) in (1..).zip(&plan.steps) {
        context.ui.text(&format!("{number:>5}   {step}"))?;
    }
    for left in plan.left_alone {
        context.ui.warn(&format!("{}: {}", left.node, left.why));
    }
    Ok(Exit::Done)
}

fn steps(job: &Job, planned: &Planned) -> Vec<String> {
    let Some(rollout) = &job.rollout else {
        return Vec::new();
    };
    let alive = planned.nodes.iter().filter(|seen| seen.is_alive());
    let alive: Vec<String> = alive.map(|seen| seen.record.name.to_string()).collect();
    let dead = planned.nodes.iter().filter(|seen| !seen.is_alive());
    let dead: Vec<String> = dead.map(|seen| seen.record.name.to_string()).collect();
    let canary = planned.nodes.iter().find(|seen| seen.is_alive() && !seen.is_retiring());
    let canary = canary.map_or("(none is alive)", |seen| seen.record.name.as_str());
    let check = match &rollout.check {
        Check::Runs(seconds) => format!("its command has to run for {seconds} s"),
        Check::Command(command) => {
            let command = command.join(" ");
            format!("{command:?} has to end with 0 within {} s", rollout.ready_within)
        }
    };
    let others: Vec<&str> = alive
        .iter()
        .map(String::as_str)
        .filter(|name| *name != canary)
        .collect();
    let mut steps = vec![
        format!("pull it on {}, {} at a time", alive.join(", "), job.wave),
        format!("try a container of it on {canary}: {check}"),
        format!("have {canary} take it up"),
    ];
    steps.extend(
        others
            .chunks(job.wave.max(1))
            .map(|wave| format!("have {} take it up", wave.join(", "))),
    );
    if rollout.restart {
        steps.push("restart the process fence on each of them as it does".to_owned());
    }
    steps.push(format!("configure it for {} as {}", rollout.scope, job.image.pinned()));
    if !dead.is_empty() {
        let words = if dead.len() == 1 {
            "takes it up when it is back"
        } else {
            "take it up when they are back"
        };
        steps.push(format!("{} {words}", dead.join(", ")));
    }
    steps
}
