//! How the registry is: what the engine says of it, whether it answers, what it holds. It changes nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use cluster::identity::Certificate;
use engine::Image;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::core::Core;
use crate::remote::Remote;
use crate::settings::PORT_INSIDE;
use crate::{Error, Result, by_hand, chain, container};

/// How long a registry that was started may take to answer.
const BEGIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// How it is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Where it answers; "" where none was set up.
    pub location: String,
    /// Whether its container runs.
    pub running: bool,
    /// Its container, as the engine knows it.
    pub container: Option<String>,
    /// The image of that.
    pub image: Option<String>,
    /// The ports of the host that lead to it, as the engine says.
    pub ports: Vec<u16>,
    /// Until when its certificate is good.
    pub certificate_until: Option<Timestamp>,
    /// How much its images take on the disk, in bytes.
    pub bytes: u64,
    /// How much is free there.
    pub free_bytes: u64,
    /// What is wrong; "" where it answers as it should.
    pub problem: String,
}

/// Look at it.
pub async fn status(core: &Core) -> Result<Status> {
    let configured = core.configured().await?;
    let present = container::all(core).await?;
    let shown = present.iter().max_by_key(|one| one.runs);
    let data = core.places.data();
    let is_by_hand = by_hand::is_used(core, &configured);
    // Of one that is run by hand it is in its image.
    let certificate = Certificate::load(&core.places.certificate())
        .ok()
        .filter(|_| !is_by_hand);
    let mut status = Status {
        running: shown.is_some_and(|one| one.runs),
        container: shown.map(|one| one.id.0.clone()),
        image: None,
        ports: published(core).await?,
        certificate_until: certificate.map(|certificate| certificate.not_after),
        bytes: size(&data),
        free_bytes: free(&data),
        problem: String::new(),
        location: configured.location.clone(),
    };
    if let Some(one) = shown {
        let seen = core.engine.inspect(&one.id).await;
        let seen = seen.map_err(Error::engine("look at the registry's container"))?;
        let image = core.engine.image(&seen.image.0).await;
        status.image = Some(image.map_or(seen.image.0, |image| name(&image)));
    }
    status.problem = match (configured.location.as_str(), status.running || is_by_hand) {
        ("", _) => "no registry was set up".to_owned(),
        (_, false) => "its container does not run".to_owned(),
        (location, true) => match ping(core, location).await {
            Ok(()) => String::new(),
            Err(error) => chain(&error),
        },
    };
    Ok(status)
}

fn name(image: &Image) -> String {
    image.tags.first().cloned().unwrap_or_else(|| image.id.0.clone())
}

/// The ports of the host that lead to the registry, as the engine says.
pub async fn published(core: &Core) -> Result<Vec<u16>> {
    let mut ports = BTreeSet::new();
    for one in container::all(core).await?.iter().filter(|one| one.runs) {
        match core.engine.inspect(&one.id).await {
            Err(error) if error.is_not_found() => {}
            seen => {
                let seen = seen.map_err(Error::engine("look at the registry's container"))?;
                let its = seen.ports.iter().filter(|port| port.container == PORT_INSIDE);
                ports.extend(its.map(|port| port.host));
            }
        }
    }
    Ok(ports.into_iter().collect())
}

/// Wait until the registry answers where all nodes will look for it.
pub(crate) async fn answers(core: &Core, location: &str) -> Result<()> {
    let until = Instant::now() + BEGIN;
    loop {
        match ping(core, location).await {
            Err(_) if Instant::now() < until => sleep(POLL).await,
            Err(error) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
}

/// Ask it by the name that all nodes use, and believe it by the cluster's CA.
async fn ping(core: &Core, location: &str) -> Result<()> {
    let ca = core.paths.pki().join("ca.crt");
    let ca = std::fs::read_to_string(&ca).map_err(Error::file("read", &ca))?;
    Remote::new(location, &ca, None)?.ping().await
}

/// What the files below take on the disk. What goes meanwhile is not counted.
pub(crate) fn size(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let mut bytes = 0;
    for entry in entries.flatten() {
        bytes += match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path()),
            Ok(data) => data.blocks() * 512,
            Err(_) => 0,
        };
    }
    bytes
}

fn free(directory: &Path) -> u64 {
    nix::sys::statvfs::statvfs(directory).map_or(0, |stat| stat.blocks_available() * stat.fragment_size())
}
