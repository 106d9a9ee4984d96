//! Whether all nodes that are to run an image can: under the names that are configured there has to be something for the
//! architecture of each, and it has to be what its digest says.

use std::time::Duration;

use cluster::config::{Difference, KeyPath, Schema, Scope, Target, Tree};
use cluster::nodes::{Kind, Role};
use registry_bootstrap::ImageName;
use registry_bootstrap::manifest::Manifest;
use registry_bootstrap::platform::{self, Platform};
use registry_bootstrap::remote::Remote;
use serde_json::Value;
use tokio::time::timeout;

use super::shared::{self, Entry};
use crate::commands::Context;
use crate::commands::cloud::{Cloud, Seen};
use crate::error::{Error, Kind as Failure, Result, chain};

/// The key of the images; its aliases lead to it.
const KEY: &str = "fence/docker/image";
/// How long all of it may take: what cannot be found out by then is no reason to refuse.
const WITHIN: Duration = Duration::from_secs(20);

/// Of the DEAs that are meant, those for whose architecture none of these images is. Who does not say what it is, is passed over.
pub async fn lacking(context: &Context, images: &[Entry], is_meant: &dyn Fn(&Seen) -> bool) -> Result<Vec<String>> {
    Ok(without(images, &deas(context, is_meant).await?))
}

/// Refuse configured images with which some of their nodes could run nothing, wherever in the value they are.
pub async fn before_it_is_configured(context: &Context, target: &Target, value: &Value) -> Result<()> {
    // What is no value of the tree is refused there.
    let leaves = Tree::flatten(&target.address, value).unwrap_or_default();
    let lists = leaves.iter().filter(|(path, _)| is_key(path));
    check(
        context,
        lists.map(|(_, list)| (&target.scope, names_in(list))).collect(),
    )
    .await
}

/// The same for changes of several layers.
pub async fn before_they_are_configured(context: &Context, differences: &[Difference]) -> Result<()> {
    let images = differences.iter().filter(|one| is_key(&one.change.path));
    let lists = images.filter_map(|one| Some((&one.scope, names_in(one.change.new.as_ref()?))));
    check(context, lists.collect()).await
}

fn is_key(path: &KeyPath) -> bool {
    Schema::standard().canonical(path).as_str() == KEY
}

fn names_in(value: &Value) -> Vec<ImageName> {
    let names = match value {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    // What is no name is refused by the tree.
    names.into_iter().filter_map(|name| name.parse().ok()).collect()
}

/// Check what is at the cluster's registry, if any of it is.
async fn check(context: &Context, lists: Vec<(&Scope, Vec<ImageName>)>) -> Result<()> {
    if lists.is_empty() || shared::node(context)?.kind == Kind::Micro {
        return Ok(());
    }
    let all = async {
        let location = shared::location(context).await?;
        let is_there = |name: &ImageName| name.registry() == Some(location.as_str());
        if !lists.iter().any(|(_, names)| names.iter().any(is_there)) {
            return Ok(None);
        }
        let remote = shared::remote(context).await?;
        for (scope, names) in &lists {
            if let Some(refusal) = list(context, &remote, scope, names).await? {
                return Ok(Some(refusal));
            }
        }
        Ok::<_, Error>(None)
    };
    match timeout(WITHIN, all).await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(refusal))) => Err(refusal),
        Ok(Err(error)) => {
            context.ui.detail(&format!("not checked for architectures: {error}"));
            Ok(())
        }
        Err(_) => {
            let seconds = WITHIN.as_secs();
            context.ui.warn(&format!(
                "Not checked for architectures: the registry took more than {seconds} s"
            ));
            Ok(())
        }
    }
}

/// What was found out of a name.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Nothing: it may be for all nodes.
    Unknown,
    /// For these nodes there is nothing under it. One image alone is pulled all the same; an index is passed over for the next name.
    Known { lacking: Vec<String>, is_index: bool },
    /// It is not what its digest says, and no node takes it.
    Spoilt(String),
}

impl Found {
    /// Which nodes it leaves with nothing.
    fn said(&self, name: &ImageName) -> Option<String> {
        match self {
            Found::Known { lacking, .. } if !lacking.is_empty() => Some(format!(
                "{name} has nothing for the architecture of {}",
                lacking.join(", ")
            )),
            Found::Spoilt(reason) => Some(reason.clone()),
            _ => None,
        }
    }
}

/// Why these names cannot be configured, if they cannot.
async fn list(context: &Context, remote: &Remote, scope: &Scope, names: &[ImageName]) -> Result<Option<Error>> {
    let Some(first) = names.first() else {
        return Ok(None);
    };
    let is_meant = |seen: &Seen| match scope {
        Scope::Cluster => true,
        Scope::Realm(realm) => seen.record.realm == *realm,
        Scope::Node(node) => seen.record.name == *node,
    };
    let nodes = deas(context, &is_meant).await?;
    let mut found = Vec::new();
    for name in names {
        found.push(look(context, remote, name, &nodes).await?);
    }
    let said = names.iter().zip(&found);
    let said: Vec<String> = said.filter_map(|(name, found)| found.said(name)).collect();
    let is_spoilt = found.iter().any(|found| matches!(found, Found::Spoilt(_)));
    if is_spoilt || nodes.iter().any(|(node, _)| has_nothing(node, &found)) {
        let refusal = Error::refused(said.join("; ")).hint(format!("kato image inspect {first}"));
        return Ok(Some(refusal));
    }
    for said in &said {
        context.ui.warn(&format!("{said}; another of the names goes there"));
    }
    Ok(None)
}

/// Whether a node that goes through the names in their order ends with an image that it cannot run, or with none.
fn has_nothing(node: &str, found: &[Found]) -> bool {
    for found in found {
        match found {
            Found::Known { lacking, is_index } if lacking.iter().any(|lacks| lacks == node) => {
                if !is_index {
                    return true;
                }
            }
            Found::Spoilt(_) => return true,
            Found::Known { .. } | Found::Unknown => return false,
        }
    }
    true
}

async fn look(context: &Context, remote: &Remote, name: &ImageName, nodes: &[(String, Platform)]) -> Result<Found> {
    if name.registry() != Some(remote.location()) {
        return Ok(Found::Unknown);
    }
    match shared::entries(remote, name).await {
        Ok((held, images)) => Ok(Found::Known {
            lacking: without(&images, nodes),
            is_index: matches!(held.manifest, Manifest::Index { .. }),
        }),
        Err(error @ registry_bootstrap::Error::Spoilt { .. }) => Ok(Found::Spoilt(error.to_string())),
        Err(error) if error.kind() == Failure::Unreachable => Err(error.into()),
        Err(error) if error.kind() == Failure::NotFound => {
            context
                .ui
                .warn(&format!("{error}: nodes go on with the image that they have"));
            Ok(Found::Unknown)
        }
        Err(error) => {
            context
                .ui
                .warn(&format!("{name} is not checked for architectures: {}", chain(&error)));
            Ok(Found::Unknown)
        }
    }
}

/// The DEAs that are meant, with what each is.
async fn deas(context: &Context, is_meant: &dyn Fn(&Seen) -> bool) -> Result<Vec<(String, Platform)>> {
    let seen = Cloud::open(context).await?.seen().await?;
    let deas = seen
        .iter()
        .filter(|seen| seen.record.roles.contains(&Role::Dea) && is_meant(seen));
    let known = deas.filter_map(|seen| {
        let architecture = &seen.state.report.as_ref()?.architecture;
        let is_known = !architecture.is_empty();
        is_known.then(|| (seen.record.name.to_string(), Platform::linux(architecture, "")))
    });
    Ok(known.collect())
}

/// The nodes for which there is none of these images.
fn without(images: &[Entry], nodes: &[(String, Platform)]) -> Vec<String> {
    let platforms: Vec<Platform> = images.iter().map(|image| image.platform.clone()).collect();
    let nodes = nodes.iter().map(|(name, platform)| (name.clone(), platform));
    platform::lacking(&platforms, nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_needs_something_that_it_comes_to_and_can_run() {
        let known = |lacking: &[&str], is_index| Found::Known {
            lacking: lacking.iter().map(|name| (*name).to_owned()).collect(),
            is_index,
        };
        let stuck = |found: Vec<Found>| has_nothing("one", &found);
        assert!(!stuck(vec![known(&[], true)]));
        assert!(!stuck(vec![known(&["two"], false)]));
        assert!(stuck(vec![known(&["one"], true)]));
        // The next name is taken in place of an index that has nothing for it, and not in place of an image.
        assert!(!stuck(vec![known(&["one"], true), known(&[], false)]));
        assert!(!stuck(vec![known(&["one"], true), Found::Unknown]));
        assert!(stuck(vec![known(&["one"], true), known(&["one", "two"], true)]));
        assert!(stuck(vec![known(&["one"], false), known(&[], true)]));
        // One that comes after what suits does not matter.
        assert!(!stuck(vec![known(&[], true), known(&["one"], false)]));
    }
}
