//! What the registry can give back: the content of images that nothing names any more.
//!
//! The registry's own collector does it, on a registry that is stopped, since it would take what is being pushed for
//! content that nothing needs. Which manifests are forgotten before is decided in [`unnamed`]; what has a tag, what an index
//! with a tag names, and what the configuration names by its digest stays.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::store::Page;
use engine::{ContainerId, ContainerState};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use self::unnamed::Forgotten;
use crate::apply;
use crate::core::Core;
use crate::status::size;
use crate::turn::Turn;
use crate::{Error, Result, by_hand, container};

pub mod unnamed;

/// How long the collector may take.
const LONGEST: Duration = Duration::from_secs(3600);
const POLL: Duration = Duration::from_millis(100);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Freed {
    /// Bytes on the disk before and after.
    pub before: u64,
    pub after: u64,
    /// Bytes that are free now and were not.
    pub freed: u64,
    /// Manifests that had no name any more and were forgotten: `repository@digest`.
    pub forgotten: Vec<String>,
    /// Repositories that stay as they are, since it cannot be told what their tags name, each with why.
    pub unclear: Vec<String>,
}

/// Collect. With `untagged`, manifests that nothing names are forgotten before. The registry is away meanwhile, and back
/// afterwards however this ends.
pub async fn collect(core: &Core, untagged: bool) -> Result<Freed> {
    if core.configured().await?.location.is_empty() {
        return Err(none());
    }
    let _turn = Turn::take(&core.places).await?;
    // Whoever had the turn may have taken it down.
    let configured = core.configured().await?;
    if configured.location.is_empty() {
        return Err(none());
    }
    if by_hand::is_used(core, &configured) {
        let reason = format!(
            "the registry at {} is run by hand, and its images are in its container",
            configured.location
        );
        return Err(Error::refused(reason, "kato registry down; then kato registry setup"));
    }
    let in_use = in_use(core).await?;
    let before = size(&core.places.data());
    let collected = run(core, untagged, &in_use).await;
    // Also where it failed: a registry that is stopped is no use to anyone.
    apply::bring_back(core).await?;
    let Forgotten { forgotten, unclear } = collected?;
    let after = size(&core.places.data());
    Ok(Freed {
        before,
        after,
        freed: before.saturating_sub(after),
        forgotten,
        unclear,
    })
}

fn none() -> Error {
    Error::NotFound {
        what: "a registry of this cluster".to_owned(),
        hint: "kato registry setup".to_owned(),
    }
}

/// The digests that the configuration names, in whatever key of whatever layer.
async fn in_use(core: &Core) -> Result<BTreeSet<String>> {
    let range = core.store.range("config/", Page::ALL).await;
    let range = range.map_err(|source| Error::failed("read which images are configured", crate::chain(&source)))?;
    let texts = range.entries.iter().map(|entry| String::from_utf8_lossy(&entry.value));
    Ok(texts.flat_map(|text| digests(&text)).collect())
}

fn digests(text: &str) -> Vec<String> {
    let hex = |rest: &str| {
        rest.get(..64)
            .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .map(str::to_owned)
    };
    let found = text.split("sha256:").skip(1).filter_map(hex);
    found.map(|hex| format!("sha256:{hex}")).collect()
}

async fn run(core: &Core, untagged: bool, in_use: &BTreeSet<String>) -> Result<Forgotten> {
    let mut image = None;
    for one in container::all(core).await? {
        container::stop(core, &one.id).await?;
        let seen = core.engine.inspect(&one.id).await;
        image = Some(seen.map_err(Error::engine("look at the registry's container"))?.image.0);
    }
    let image = image.ok_or_else(none)?;
    let forgotten = match untagged {
        true => unnamed::forget(&core.places.data(), in_use)?,
        false => Forgotten::default(),
    };
    let mut spec = container::spec(core, &image, &["garbage-collect"]);
    // One that a run before this left behind is replaced by the next `up` at the latest.
    spec.labels
        .insert(container::MADE_AS.to_owned(), "collector".to_owned());
    let name = format!("fence-registry-gc-{}", core.node.id);
    let failed = || Error::engine("collect what the registry does not need");
    let left = core.engine.remove(&ContainerId(name.clone())).await;
    left.map_err(failed())?;
    let id = core.engine.create(&name, &spec).await.map_err(failed())?;
    core.engine.start(&id).await.map_err(failed())?;
    let ended = ended(core, &id).await;
    core.engine.remove(&id).await.map_err(failed())?;
    match ended? {
        0 => Ok(forgotten),
        code => Err(Error::failed(
            "collect what the registry does not need",
            format!("its collector ended with {code}"),
        )),
    }
}

async fn ended(core: &Core, id: &ContainerId) -> Result<i64> {
    let attempt = "collect what the registry does not need";
    let until = Instant::now() + LONGEST;
    while Instant::now() < until {
        let seen = core.engine.inspect(id).await.map_err(Error::engine(attempt))?;
        if seen.state == ContainerState::Exited {
            return Ok(seen.exit_code.unwrap_or(-1));
        }
        sleep(POLL).await;
    }
    Err(Error::failed(
        attempt,
        format!("it did not end within {} s", LONGEST.as_secs()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_they_stand() {
        let hex = "0a".repeat(32);
        let text = format!(r#"["core:5000/app@sha256:{hex}", "sha256:short", "x"]"#);
        assert_eq!(digests(&text), [format!("sha256:{hex}")]);
    }
}
