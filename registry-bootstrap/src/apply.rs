//! Brings the registry up as it is planned, and takes it down. Each step can be done again, so that whatever was broken off
//! is gone on with by the next run; one run at a time works on a core.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use cluster::config::Author;
use cluster::files;
use cluster::identity::{Ca, Certificate, Key, Request, Subject, self_signed};
use cluster::nodes::Paths;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tracing::info;

use crate::accounts::Accounts;
use crate::core::{Configured, Core};
use crate::plan::{Seen, Step, Wanted, plan};
use crate::settings::Places;
use crate::turn::Turn;
use crate::{Error, Result, by_hand, container, settings};

/// How long a name may take to be resolved.
const RESOLVE: Duration = Duration::from_secs(15);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Where the registry answers.
    pub location: String,
    /// Whether anything was done.
    pub changed: bool,
}

/// Bring the registry up, and record where it answers. With a `port` it moves there; `tell` hears what goes on.
pub async fn up(core: &Core, port: Option<u16>, author: &Author, tell: impl Fn(&str)) -> Result<Done> {
    let before = core.configured().await?;
    check_endpoint(&before.endpoint, port.unwrap_or(before.port)).await?;
    make_places(&core.places)?;
    let _turn = Turn::take(&core.places).await?;
    // Whoever had the turn may have changed it.
    let mut configured = core.configured().await?;
    if by_hand::is_used(core, &configured) {
        let reason = format!(
            "the cluster's registry is {}, which is run by hand, and a cluster has one at a time",
            configured.location
        );
        return Err(Error::refused(reason, "kato registry down"));
    }
    configured.port = port.unwrap_or(configured.port);
    if configured.endpoint != before.endpoint {
        check_endpoint(&configured.endpoint, configured.port).await?;
    }
    let (location, port) = (configured.wanted_location(), configured.port);
    container::check_move(core, port).await?;
    let changed = bring_up(core, &configured, &tell).await?;
    tell("waiting for the registry to answer");
    is_up(core, &configured).await?;
    // In one, so that nobody sees it at a port where it is not recorded.
    let values = [
        ("registry/port", port.into()),
        ("registry/location", location.clone().into()),
    ];
    core.record_all(values.into(), author).await?;
    Ok(Done { location, changed })
}

/// Keep a registry that was set up as it was set up: renew its certificate, start it where it does not run. Whether there was
/// anything to do.
pub async fn keep(core: &Core) -> Result<bool> {
    if recorded(core).await?.is_none() {
        return keep_door(core).await;
    }
    let _turn = Turn::take(&core.places).await?;
    // Whoever had the turn may have taken it down or moved it.
    match recorded(core).await? {
        Some(configured) => bring_up(core, &configured, &|_| {}).await,
        None => Ok(false),
    }
}

/// The door's certificate under the registry's name, where the registry is run by hand. Whether there was anything to do.
async fn keep_door(core: &Core) -> Result<bool> {
    let configured = core.configured().await?;
    if !by_hand::is_used(core, &configured) || !is_due(&core.places) {
        return Ok(false);
    }
    let _turn = Turn::take(&core.places).await?;
    // Whoever had the turn may have signed it. The name is the one that its clients were told, whatever is configured since.
    match configured.as_recorded()?.filter(|_| is_due(&core.places)) {
        Some(recorded) => sign(core, &recorded).map(|()| true),
        None => Ok(false),
    }
}

/// When the certificate of a registry that was set up is to be renewed.
pub fn renewal(paths: &Paths) -> Option<Timestamp> {
    let places = Places::of(paths);
    let certificate = Certificate::load(&places.certificate()).ok();
    certificate
        .filter(|_| places.config().exists())
        .map(|certificate| certificate.renew_at())
}

/// Bring back the one that was set up, and wait until it answers. The caller has the turn.
pub(crate) async fn bring_back(core: &Core) -> Result<()> {
    let Some(configured) = recorded(core).await? else {
        return Ok(());
    };
    bring_up(core, &configured, &|_| {}).await?;
    is_up(core, &configured).await
}

/// The registry that was set up, at the place where it was: what is configured since is for the next setup.
async fn recorded(core: &Core) -> Result<Option<Configured>> {
    if !core.places.config().exists() {
        return Ok(None);
    }
    core.configured().await?.as_recorded()
}

async fn is_up(core: &Core, configured: &Configured) -> Result<()> {
    container::check_port(core, configured.port).await?;
    crate::status::answers(core, &configured.wanted_location()).await
}

/// What there was to take down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Was {
    /// No registry.
    Nothing,
    /// One that is run by hand: the nodes forget it, and it runs on.
    ByHand,
    /// One that was set up.
    SetUp,
}

/// Take the registry down; its images stay, unless `purge`. What there was.
pub async fn down(core: &Core, purge: bool, author: &Author) -> Result<Was> {
    make_places(&core.places)?;
    let _turn = Turn::take(&core.places).await?;
    let is_by_hand = by_hand::is_used(core, &core.configured().await?);
    if is_by_hand && purge {
        let reason = "the registry is run by hand, and has its images in a volume of its own container";
        return Err(Error::refused(reason, "kato registry down; docker rm -fv CONTAINER"));
    }
    // First, so that nothing brings it up again meanwhile.
    core.record("registry/location", "".into(), author).await?;
    let containers = container::all(core).await?;
    for one in &containers {
        container::stop(core, &one.id).await?;
        let removed = core.engine.remove(&one.id).await;
        removed.map_err(Error::engine("remove the registry's container"))?;
    }
    let config = core.places.config();
    let was = match (config.exists() || !containers.is_empty(), is_by_hand) {
        (true, _) => Was::SetUp,
        (false, true) => Was::ByHand,
        (false, false) => Was::Nothing,
    };
    remove(&config)?;
    if purge {
        let data = core.places.data();
        std::fs::remove_dir_all(&data).map_err(Error::file("remove", &data))?;
    }
    Ok(was)
}

async fn bring_up(core: &Core, configured: &Configured, tell: &impl Fn(&str)) -> Result<bool> {
    let secret = keys(&core.places)?;
    let wanted = wanted(core, configured, &secret);
    let seen = look(core).await?;
    let steps = plan(&wanted, &seen);
    for step in &steps {
        info!(?step, "the registry");
        act(core, configured, &wanted, step, tell).await?;
    }
    Ok(!steps.is_empty())
}

/// What only has to be there: made once, never changed.
pub(crate) fn keys(places: &Places) -> Result<Accounts> {
    let signing =
        Key::load_or_make(&places.signing_key()).map_err(Error::identity("make the key that signs tokens"))?;
    let signer = places.signer();
    if !Certificate::load(&signer).is_ok_and(|signer| signer.key == signing.fingerprint()) {
        let pem = self_signed(&signing, "fence-registry").map_err(Error::identity("make the signer's certificate"))?;
        files::write_atomic(&signer, pem.as_bytes(), 0o600).map_err(Error::file("write", &signer))?;
    }
    Accounts::load_or_make(&places.secret())
}

fn wanted(core: &Core, configured: &Configured, secret: &Accounts) -> Wanted {
    let location = configured.wanted_location();
    let text = settings::text(
        &location,
        &configured.endpoint,
        core.door.port(),
        &secret.derived("http"),
    );
    let directory = core.places.directory();
    let made_of = format!("1 {} {} {}", configured.image, configured.port, directory.display());
    let hash = Sha256::digest(made_of.as_bytes());
    Wanted {
        settings: text,
        made_as: hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
    }
}

async fn look(core: &Core) -> Result<Seen> {
    let places = &core.places;
    Ok(Seen {
        settings: std::fs::read_to_string(places.config()).ok(),
        certificate_is_due: is_due(places),
        containers: container::all(core).await?,
    })
}

/// Whether the registry's certificate is missing, of another key, or to be renewed.
fn is_due(places: &Places) -> bool {
    let key = Key::load(&places.key()).map(|key| key.fingerprint());
    let now = Timestamp::now();
    match (Certificate::load(&places.certificate()), key) {
        (Ok(certificate), Ok(key)) => {
            certificate.key != key || !certificate.is_good(now) || now >= certificate.renew_at()
        }
        _ => true,
    }
}

async fn act(core: &Core, configured: &Configured, wanted: &Wanted, step: &Step, tell: &impl Fn(&str)) -> Result<()> {
    match step {
        Step::Sign => sign(core, configured),
        Step::Configure => {
            let path = core.places.config();
            files::write_atomic(&path, wanted.settings.as_bytes(), 0o600).map_err(Error::file("write", &path))
        }
        Step::Remove(id) => {
            tell("removing a registry that is not as it should be");
            container::stop(core, id).await?;
            let removed = core.engine.remove(id).await;
            removed.map_err(Error::engine("remove a container of the registry"))
        }
        Step::Create => {
            tell(&format!("looking for the image {}", configured.image));
            let image = container::image(core, &configured.image).await?;
            tell("starting the registry");
            container::create(core, &image, &wanted.made_as, configured.port).await
        }
        Step::Stop(id) => container::stop(core, id).await,
        Step::Start(id) => container::start(core, id, configured.port).await,
    }
}

pub(crate) fn sign(core: &Core, configured: &Configured) -> Result<()> {
    let key = Key::load_or_make(&core.places.key()).map_err(Error::identity("make the registry's key"))?;
    let pem = certificate(core, configured, &key)?;
    let path = core.places.certificate();
    files::write_atomic(&path, pem.as_bytes(), 0o644).map_err(Error::file("write", &path))
}

/// A certificate (PEM) of the registry's name for this key.
pub(crate) fn certificate(core: &Core, configured: &Configured, key: &Key) -> Result<String> {
    let ca = Ca::load(&core.paths.pki()).map_err(Error::identity("use the cluster's CA"))?;
    let subject = Subject::Registry {
        host: configured.endpoint.clone(),
        addresses: configured.addresses(),
    };
    let signed = key.request().and_then(|request| Request::from_pem(&request));
    let signed = signed.and_then(|request| ca.sign(&request, &subject, configured.lifetime));
    signed.map_err(Error::identity("sign the registry's certificate"))
}

/// Every node has to reach the registry by the cluster's endpoint.
pub(crate) async fn check_endpoint(endpoint: &str, port: u16) -> Result<()> {
    let hint = "kato config set cluster endpoint HOST";
    if endpoint == "localhost" {
        let reason = "the cluster's endpoint is localhost, which leads every node to itself";
        return Err(Error::refused(reason, hint));
    }
    match timeout(RESOLVE, tokio::net::lookup_host((endpoint, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::refused(
            format!("the cluster's endpoint {endpoint} does not resolve: {error}"),
            hint,
        )),
        Err(_) => Err(Error::refused(
            format!("the cluster's endpoint {endpoint} does not resolve"),
            hint,
        )),
    }
}

/// The registry's directories, for root alone.
pub(crate) fn make_places(places: &Places) -> Result<()> {
    for path in [places.directory().to_path_buf(), places.settings(), places.data()] {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(Error::file("make", &path))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
