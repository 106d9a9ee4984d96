//! The registry's container: which it is, of what it is made, started and ended. What it should be is decided in
//! [`crate::plan`]; here is no state.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use engine::{ContainerId, ContainerSpec, ContainerState, Labels, Mount, Port};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use crate::core::Core;
use crate::plan::Present;
use crate::settings::{DATA_INSIDE, PORT_INSIDE, SETTINGS_INSIDE};
use crate::{Error, Result, pack};

/// Whose container it is, and what it is made of.
const OWNER: &str = "io.fence.registry";
pub(crate) const MADE_AS: &str = "io.fence.registry.made-as";
/// How long the registry's image may take to be found elsewhere before Debian's is taken.
const PULL: Duration = Duration::from_secs(300);
/// How long the registry has to end in order.
const END: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// The registry's containers on this core.
pub(crate) async fn all(core: &Core) -> Result<Vec<Present>> {
    let found = core.engine.list(&owner(core)).await;
    let found = found.map_err(Error::engine("look for the registry's container"))?;
    let present = found.into_iter().filter(|one| one.state != ContainerState::Removing);
    Ok(present
        .map(|one| Present {
            made_as: one.labels.get(MADE_AS).cloned().unwrap_or_default(),
            runs: one.state == ContainerState::Running,
            id: one.id,
        })
        .collect())
}

fn owner(core: &Core) -> Labels {
    Labels::from([(OWNER.to_owned(), core.node.id.to_string())])
}

/// A container of the registry that does this, with its settings and its images.
pub(crate) fn spec(core: &Core, image: &str, does: &[&str]) -> ContainerSpec {
    let config = format!("{SETTINGS_INSIDE}/config.yml");
    let words = [&[pack::INSIDE], does, &[config.as_str()]].concat();
    let mount = |source: std::path::PathBuf, target: &str, read_only| Mount {
        source: source.display().to_string(),
        target: target.to_owned(),
        read_only,
    };
    ContainerSpec {
        image: image.to_owned(),
        command: words.into_iter().map(str::to_owned).collect(),
        hostname: "registry".to_owned(),
        labels: owner(core),
        mounts: vec![
            mount(core.places.settings(), SETTINGS_INSIDE, true),
            mount(core.places.data(), DATA_INSIDE, false),
        ],
        no_new_privileges: true,
        read_only_root: true,
        ..ContainerSpec::default()
    }
}

pub(crate) async fn start(core: &Core, id: &ContainerId, port: u16) -> Result<()> {
    let Err(error) = core.engine.start(id).await else {
        return Ok(());
    };
    let said = crate::chain(&error);
    match said.contains("allocated") || said.contains("address already in use") {
        true => Err(taken(port).await),
        false => Err(Error::engine("start the registry")(error)),
    }
}

/// A registry that runs at another port is not taken away for one that is in use.
pub(crate) async fn check_move(core: &Core, port: u16) -> Result<()> {
    let published = crate::status::published(core).await?;
    if published.is_empty() || published.contains(&port) {
        return Ok(());
    }
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(taken(port).await),
        // Whatever else it is, the engine says it better.
        _ => Ok(()),
    }
}

async fn taken(port: u16) -> Error {
    let mut reason = format!("the port {port} of this machine is in use by something else");
    if pack::service_is_active().await {
        reason.push_str(&format!("; Debian's registry is active ({})", pack::DISABLE));
    }
    Error::refused(reason, "kato registry setup --port PORT")
}

/// End it in order, or by force where it takes too long.
pub(crate) async fn stop(core: &Core, id: &ContainerId) -> Result<()> {
    let failed = || Error::engine("stop the registry");
    for (signal, within) in [(SIGTERM, END), (SIGKILL, END)] {
        match core.engine.kill(id, signal).await {
            Err(error) if error.is_not_found() => return Ok(()),
            done => done.map_err(failed())?,
        }
        let until = Instant::now() + within;
        while Instant::now() < until {
            match core.engine.inspect(id).await {
                Err(error) if error.is_not_found() => return Ok(()),
                Ok(seen) if seen.state != ContainerState::Running => return Ok(()),
                seen => drop(seen.map_err(failed())?),
            }
            sleep(POLL).await;
        }
    }
    Err(Error::failed("stop the registry", "it runs on after SIGKILL"))
}

/// The engine must say that the host answers at this port, as `docker port` does.
pub(crate) async fn check_port(core: &Core, port: u16) -> Result<()> {
    let published = crate::status::published(core).await?;
    match published.contains(&port) {
        true => Ok(()),
        false => Err(Error::failed(
            "bring up the registry",
            format!("the engine says that it answers at {published:?} and not at {port}"),
        )),
    }
}

/// Make it of this image, and start it; the host answers for it at `port`.
pub(crate) async fn create(core: &Core, image: &str, made_as: &str, port: u16) -> Result<()> {
    let mut spec = spec(core, image, &["serve"]);
    spec.labels.insert(MADE_AS.to_owned(), made_as.to_owned());
    spec.ports = vec![Port {
        container: PORT_INSIDE,
        host: port,
    }];
    spec.restarts = true;
    let name = format!("fence-registry-{}", core.node.id);
    let made = core.engine.create(&name, &spec).await;
    let id = made.map_err(Error::engine("make the registry's container"))?;
    start(core, &id, port).await
}

/// The image of the registry: the one that is configured, else one of Debian's program.
pub(crate) async fn image(core: &Core, configured: &str) -> Result<String> {
    match core.engine.image(configured).await {
        Ok(found) => return Ok(found.id.0),
        Err(error) if !error.is_not_found() => {
            return Err(Error::engine(format!("look for the image {configured}"))(error));
        }
        Err(_) => {}
    }
    let (progress, _) = mpsc::channel(1);
    let why = match timeout(PULL, core.engine.pull(configured, None, progress)).await {
        Ok(Ok(pulled)) => return Ok(pulled.id.0),
        Ok(Err(error)) => crate::chain(&error),
        Err(_) => format!("the image {configured} was not here within {} s", PULL.as_secs()),
    };
    info!(why, "the registry's image is not in reach; takes Debian's program");
    let packed = pack::image(core.engine.as_ref(), Path::new(pack::PROGRAM)).await;
    packed.map(|image| image.id.0).map_err(|error| match error {
        Error::Refused { reason, hint } => Error::refused(format!("{why}; and {reason}"), hint),
        other => other,
    })
}
