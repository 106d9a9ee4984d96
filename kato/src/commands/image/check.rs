//! Whether all nodes that are to run an image can: under its name there has to be something for the architecture of each.

use cluster::config::{KeyPath, Scope, Target};
use cluster::nodes::{Kind, Role};
use registry_bootstrap::platform::{self, Platform};
use serde_json::Value;

use super::shared::{self, Entry};
use crate::commands::Context;
use crate::commands::cloud::{Cloud, Seen};
use crate::error::{Error, Kind as Failure, Result};

/// Of the DEAs that are meant, those for whose architecture none of these images is. Who does not say what it is, is passed over.
pub async fn lacking(context: &Context, images: &[Entry], is_meant: &dyn Fn(&Seen) -> bool) -> Result<Vec<String>> {
    let platforms: Vec<Platform> = images.iter().map(|image| image.platform.clone()).collect();
    let seen = Cloud::open(context).await?.seen().await?;
    let deas = seen
        .iter()
        .filter(|seen| seen.record.roles.contains(&Role::Dea) && is_meant(seen));
    let known: Vec<(String, Platform)> = deas
        .filter_map(|seen| {
            let architecture = &seen.state.report.as_ref()?.architecture;
            let is_known = !architecture.is_empty();
            is_known.then(|| (seen.record.name.to_string(), Platform::linux(architecture, "")))
        })
        .collect();
    let nodes = known.iter().map(|(name, platform)| (name.clone(), platform));
    Ok(platform::lacking(&platforms, nodes))
}

/// Refuse a configured image that some of its nodes could not run. What cannot be found out is no reason to refuse.
pub async fn before_it_is_configured(context: &Context, target: &Target, value: &Value) -> Result<()> {
    let is_image = ["fence/docker/image", "fence/docker/images"]
        .iter()
        .any(|key| KeyPath::parse(key).is_ok_and(|key| key == target.address));
    let first = match value {
        Value::String(name) => Some(name.as_str()),
        Value::Array(names) => names.first().and_then(Value::as_str),
        _ => None,
    };
    let (true, Some(first)) = (is_image, first) else {
        return Ok(());
    };
    if shared::node(context)?.kind == Kind::Micro {
        return Ok(());
    }
    match missing(context, &target.scope, first).await {
        Ok(nodes) if nodes.is_empty() => Ok(()),
        Ok(nodes) => {
            let message = format!("{first} has nothing for the architecture of {}", nodes.join(", "));
            Err(Error::refused(message).hint(format!("kato image inspect {first}")))
        }
        Err(error) if error.kind() == Failure::NotFound => {
            context
                .ui
                .warn(&format!("{error}: nodes go on with the image that they have"));
            Ok(())
        }
        Err(error) => {
            context.ui.detail(&format!("not checked for architectures: {error}"));
            Ok(())
        }
    }
}

async fn missing(context: &Context, scope: &Scope, name: &str) -> Result<Vec<String>> {
    let location = shared::location(context).await?;
    let name = registry_bootstrap::names::parse(name).map_err(|error| Error::usage(error.to_string()))?;
    if location.is_empty() || name.registry() != Some(&location) {
        return Ok(Vec::new());
    }
    let (_, images) = shared::entries(&shared::remote(context).await?, &name).await?;
    let is_meant = |seen: &Seen| match scope {
        Scope::Cluster => true,
        Scope::Realm(realm) => seen.record.realm == *realm,
        Scope::Node(node) => seen.record.name == *node,
    };
    lacking(context, &images, &is_meant).await
}
