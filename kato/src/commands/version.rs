//! `kato version`: every part with its version and the platform it is for, running or not.

use std::time::Duration;

use clap::Args;
use cluster::config::layers;
use cluster::nodes::{DockerSettings, NodeFile};
use serde::Serialize;
use tokio::time::timeout;

use super::Context;
use crate::agent::client;
use crate::agent::wire::Action;
use crate::docker_api;
use crate::error::{Exit, Result, chain};
use crate::fence_api;
use crate::ui::{Format, FormatArgs, Table, Tone};

/// How long one part may take to answer.
const WITHIN: Duration = Duration::from_secs(2);

/// Show the version, platform and architecture of every part
///
/// A part that does not run says so; the exit code is 0 all the same.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato version
  kato version -j")]
pub struct VersionArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// One part. What is not known is empty.
#[derive(Debug, Default, Serialize)]
struct Part {
    part: &'static str,
    version: String,
    os: String,
    architecture: String,
    /// Why nothing is known, or "".
    problem: String,
}

/// Show.
pub async fn run(context: &Context, args: &VersionArgs) -> Result<Exit> {
    let (agent, (fence, init), docker) = tokio::join!(agent(context), fence(context), docker(context));
    let parts = [kato(), agent, fence, init, docker, tree()];
    match args.format.format() {
        Format::Text => {
            let mut table = Table::new(["part", "version", "platform", "architecture", "problem"]);
            for part in &parts {
                let tone = if part.problem.is_empty() {
                    Tone::Plain
                } else {
                    Tone::Waiting
                };
                let cells = [part.part, &part.version, &part.os, &part.architecture, &part.problem];
                table.row(tone, cells.map(|cell| if cell.is_empty() { "-" } else { cell }));
            }
            context.ui.table(&table)?;
        }
        format => context.ui.document(format, &parts)?,
    }
    Ok(Exit::Done)
}

fn kato() -> Part {
    Part {
        part: "kato",
        version: env!("CARGO_PKG_VERSION").into(),
        ..built_here()
    }
}

/// The format of the config tree, which must be the same wherever the tree is used.
fn tree() -> Part {
    Part {
        part: "config tree",
        version: format!("format {}", layers::FORMAT),
        ..Part::default()
    }
}

fn built_here() -> Part {
    Part {
        os: std::env::consts::OS.into(),
        architecture: std::env::consts::ARCH.into(),
        ..Part::default()
    }
}

fn late() -> String {
    format!("it gave no answer within {} s", WITHIN.as_secs())
}

async fn agent(context: &Context) -> Part {
    let part = "agent";
    let asked = timeout(WITHIN, client::ask(&context.paths, Action::List)).await;
    match asked
        .map(|asked| asked.map_err(|error| chain(&error)))
        .unwrap_or_else(|_| Err(late()))
    {
        Ok(report) => {
            let agent = report.agent;
            Part {
                part,
                version: agent.version,
                os: agent.os,
                architecture: agent.architecture,
                ..Part::default()
            }
        }
        Err(problem) => Part {
            part,
            problem,
            ..Part::default()
        },
    }
}

async fn fence(context: &Context) -> (Part, Part) {
    let client = fence_api::Client::new(&context.paths);
    let asked = timeout(WITHIN, client.version()).await;
    match asked
        .map(|asked| asked.map_err(|error| chain(&error)))
        .unwrap_or_else(|_| Err(late()))
    {
        Ok(said) => {
            let (os, architecture) = (said.os, said.architecture);
            let fence = Part {
                part: "fence",
                version: said.version,
                os,
                architecture,
                ..Part::default()
            };
            let (os, architecture) = (fence.os.clone(), fence.architecture.clone());
            (
                fence,
                Part {
                    part: "fence-init",
                    version: said.init,
                    os,
                    architecture,
                    ..Part::default()
                },
            )
        }
        Err(problem) => (
            Part {
                part: "fence",
                problem,
                ..Part::default()
            },
            Part {
                part: "fence-init",
                problem: "fence knows, and does not answer".into(),
                ..Part::default()
            },
        ),
    }
}

async fn docker(context: &Context) -> Part {
    let part = "docker";
    let socket = NodeFile::load(&context.paths)
        .map_or(DockerSettings::default(), |node| node.docker)
        .socket;
    match docker_api::Engine::new(&socket, WITHIN).version().await {
        Ok(said) => {
            let version = format!("{} (API {})", said.version, said.api_version);
            Part {
                part,
                version,
                os: said.os,
                architecture: said.arch,
                ..Part::default()
            }
        }
        Err(error) => Part {
            part,
            problem: chain(&error),
            ..Part::default()
        },
    }
}
