//! A registry that an administrator runs with `docker run`: its image is packed here, and a running one made the cluster's.
//!
//! All that such a registry needs is in its image, since nothing is mounted into it: a key and a certificate of the cluster's
//! CA that are its own, and whose tokens it believes. It is started and ended by hand; nobody keeps it here. While it is the
//! cluster's, the key `cluster registry/location` says where it answers, and there is no `config.yml` of one that was set up.

use std::path::Path;

use cluster::config::Author;
use cluster::identity::Key;

use crate::core::{Configured, Core};
use crate::pack::{self, Inside};
use crate::remote::Remote;
use crate::settings::{self, SETTINGS_INSIDE};
use crate::turn::Turn;
use crate::{Error, Result, apply, names, trust};

/// What such a registry calls itself where it asks for a token: its port is not known when it is packed.
pub const SERVICE: &str = "fence-registry-by-hand";

/// Make an image of this name, whose containers serve as the core's registry; its whole name.
pub async fn pack(core: &Core, name: &str) -> Result<String> {
    pack_program(core, name, Path::new(pack::PROGRAM)).await
}

async fn pack_program(core: &Core, name: &str, program: &Path) -> Result<String> {
    let name = names::parse(name)?;
    if name.digest().is_some() {
        let reason = format!("{name} names an image that is there, by its digest");
        return Err(Error::refused(reason, "leave out the digest"));
    }
    let name = name.to_string();
    let configured = core.configured().await?;
    apply::check_endpoint(&configured.endpoint, configured.port).await?;
    apply::make_places(&core.places)?;
    let _turn = Turn::take(&core.places).await?;
    let secret = apply::keys(&core.places)?;
    // The door shows it to who asks for a token. Of a registry that was set up it is kept with that one.
    if !core.places.config().exists() {
        apply::sign(core, &configured)?;
    }
    let files = files(core, &configured, &secret.derived("by-hand"))?;
    pack::with_settings(core.engine.as_ref(), program, &name, files).await?;
    Ok(name)
}

fn files(core: &Core, configured: &Configured, secret: &str) -> Result<Vec<Inside>> {
    let attempt = "make a key for the registry";
    let key = Key::generate().map_err(Error::identity(attempt))?;
    let certificate = apply::certificate(core, configured, &key)?;
    let signer = core.places.signer();
    let signer_text = std::fs::read(&signer).map_err(Error::file("read", &signer))?;
    let text = settings::text(SERVICE, &configured.endpoint, core.door.port(), secret);
    let inside = |name: &str, content: Vec<u8>| Inside {
        path: Path::new(SETTINGS_INSIDE).join(name),
        content,
        mode: 0o600,
    };
    Ok(vec![
        inside("config.yml", text.into_bytes()),
        inside("tls.crt", certificate.into_bytes()),
        inside("tls.key", key.pem().into_bytes()),
        inside("token.crt", signer_text),
    ])
}

/// Make the registry that runs at `location` the cluster's: all nodes believe it and have accounts there.
pub async fn adopt(core: &Core, location: &str, author: &Author) -> Result<()> {
    let configured = core.configured().await?;
    check_host(location, &configured.endpoint)?;
    apply::make_places(&core.places)?;
    let _turn = Turn::take(&core.places).await?;
    if core.places.config().exists() {
        let reason = "the cluster has a registry that was set up, and has one at a time";
        return Err(Error::refused(reason, "kato registry down"));
    }
    let ca = core.paths.pki().join("ca.crt");
    let ca = std::fs::read_to_string(&ca).map_err(Error::file("read", &ca))?;
    let asks = Remote::new(location, &ca, None)?.asks().await?;
    let door = settings::realm(&configured.endpoint, core.door.port());
    if asks.is_none_or(|(realm, service)| realm != door || service != SERVICE) {
        let reason = format!("what answers at {location} is no registry that was packed here");
        let hint =
            "kato registry pack NAME makes an image of one; an account elsewhere: kato registry login REGISTRY -u NAME";
        return Err(Error::refused(reason, hint));
    }
    core.record("registry/location", location.into(), author).await?;
    // Other nodes learn it by the tree, as does this one's agent; whoever asked wants to use it now.
    trust::believe(&core.paths, location, &ca)?;
    Ok(())
}

/// Whether the cluster's registry is one that is run by hand.
pub fn is_used(core: &Core, configured: &Configured) -> bool {
    !configured.location.is_empty() && !core.places.config().exists()
}

fn check_host(location: &str, endpoint: &str) -> Result<()> {
    if location.rsplit_once(':').is_some_and(|(host, _)| host == endpoint) {
        return Ok(());
    }
    let reason =
        format!("{location} is not a port of the cluster's endpoint {endpoint}, by which all nodes know its registry");
    let hint =
        format!("kato registry login {endpoint}:PORT; an account elsewhere: kato registry login REGISTRY -u NAME");
    Err(Error::refused(reason, hint))
}

#[cfg(test)]
#[path = "by_hand_tests.rs"]
mod tests;
