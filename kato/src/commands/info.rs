//! `kato info`: what this node is: its name and id, roles, addresses, versions and places.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use cluster::nodes::{DockerSettings, Kind, Membership, NodeFile, Paths, Record, Role};
use serde::Serialize;

use super::Context;
use super::cloud::{Cloud, NodeArgs, Seen};
use crate::addresses;
use crate::error::{Error, Exit, Result};
use crate::ui::{Format, FormatArgs};

/// Show what this node is: name, id, roles, addresses, places
///
/// Of this node it needs nobody to run; of another it is what the cluster knows. For what runs see `kato status`, for versions `kato version`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kato info
  kato info -y
  kato info -n two")]
pub struct InfoArgs {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Serialize)]
struct Info {
    node: String,
    id: String,
    kind: Kind,
    roles: Roles,
    addresses: Vec<IpAddr>,
    version: &'static str,
    /// The cluster it belongs to, or asks to belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Membership>,
    /// Where it has containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    docker: Option<DockerSettings>,
    paths: BTreeMap<&'static str, PathBuf>,
}

#[derive(Serialize)]
struct Roles {
    assigned: Vec<Role>,
    available: Vec<Role>,
}

/// Show.
pub async fn run(context: &Context, args: &InfoArgs) -> Result<Exit> {
    if let Some(word) = &args.node.node {
        let cloud = Cloud::open(context).await?;
        let seen = cloud.find(word).await?;
        if seen.record.id != cloud.node.id {
            return elsewhere(context, args, &seen);
        }
    }
    let info = gather(&context.paths)?;
    match args.format.format() {
        Format::Text => print(context, &info)?,
        format => context.ui.document(format, &info)?,
    }
    Ok(Exit::Done)
}

/// What the cluster knows of another node.
#[derive(Serialize)]
struct Elsewhere<'a> {
    #[serde(flatten)]
    record: &'a Record,
    state: String,
    version: Option<&'a str>,
}

fn elsewhere(context: &Context, args: &InfoArgs, seen: &Seen) -> Result<Exit> {
    let info = Elsewhere {
        record: &seen.record,
        state: seen.life(),
        version: seen.state.report.as_ref().map(|report| report.version.as_str()),
    };
    context.ui.document(args.format.format(), &info)?;
    Ok(Exit::Done)
}

fn gather(paths: &Paths) -> Result<Info> {
    let node = NodeFile::load(paths)?;
    let has_containers = node.roles.contains(&Role::Dea);
    Ok(Info {
        paths: places(paths, node.kind, has_containers),
        node: node.name.to_string(),
        id: node.id.to_string(),
        kind: node.kind,
        roles: Roles {
            assigned: node.roles,
            available: Role::ALL.to_vec(),
        },
        addresses: addresses::of_this_machine()
            .map_err(|error| Error::failed("could not read this machine's addresses").because(error))?,
        version: env!("CARGO_PKG_VERSION"),
        cluster: node.cluster,
        docker: has_containers.then_some(node.docker),
    })
}

/// Where its files are, those that it has no use for left out.
fn places(paths: &Paths, kind: Kind, has_containers: bool) -> BTreeMap<&'static str, PathBuf> {
    let tree = match kind {
        Kind::Micro => paths.tree_db(),
        Kind::Cluster => paths.endpoints_file(),
    };
    let mut places = BTreeMap::from([
        ("node", paths.node_file()),
        ("tree", tree),
        ("agent_socket", paths.agent_socket()),
        ("logs", paths.log_dir()),
    ]);
    if has_containers {
        places.extend([
            ("garden_socket", paths.garden_socket()),
            ("inventory", paths.inventory_db()),
        ]);
    }
    places
}

fn print(context: &Context, info: &Info) -> Result<()> {
    let names = |roles: &[Role]| roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ");
    let addresses = info
        .addresses
        .iter()
        .map(IpAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let mut lines = vec![
        ("node", info.node.clone()),
        ("id", info.id.clone()),
        (
            "kind",
            match info.kind {
                Kind::Micro => "micro cloud (one node)".to_owned(),
                Kind::Cluster => "node of a cluster".to_owned(),
            },
        ),
        ("roles", names(&info.roles.assigned)),
        ("available", names(&info.roles.available)),
        (
            "addresses",
            if addresses.is_empty() {
                "none but loopback".to_owned()
            } else {
                addresses
            },
        ),
        ("version", info.version.to_owned()),
    ];
    if let Some(Membership { core, ca }) = &info.cluster {
        lines.extend([("core", core.clone()), ("ca", ca.clone())]);
    }
    if let Some(docker) = &info.docker {
        let engine = match docker.managed {
            true => "started by the agent",
            false => "was there before the node",
        };
        lines.push(("docker", format!("{} ({engine})", docker.socket.display())));
    }
    lines.extend(
        info.paths
            .iter()
            .map(|(name, path)| (*name, path.display().to_string())),
    );
    for (name, value) in lines {
        context.ui.text(&format!("{name:<14} {value}"))?;
    }
    Ok(())
}
