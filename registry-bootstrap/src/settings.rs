//! The registry's files on the core, and its own settings. Names and text are made here; [`crate::apply`] writes them.
//!
//! ```text
//! registry/data       the images
//! registry/settings   what its container sees: config.yml, tls.crt, tls.key, token.crt
//! registry/token.key  who signs what the registry believes;  registry/accounts.key  of which passwords are derived
//! ```

use std::path::{Path, PathBuf};

use cluster::nodes::Paths;

use crate::token;

/// Where its container sees the settings and the images, and listens.
pub const SETTINGS_INSIDE: &str = "/etc/fence-registry";
pub const DATA_INSIDE: &str = "/var/lib/registry";
pub const PORT_INSIDE: u16 = 5000;
/// Where the core's door gives out tokens.
pub const TOKEN_PATH: &str = "/v1/registry/token";

/// Names below the registry's directory.
#[derive(Clone, Debug)]
pub struct Places(PathBuf);

impl Places {
    /// Those of this node.
    pub fn of(paths: &Paths) -> Self {
        Places(paths.registry())
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// The images.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// What its container sees.
    pub fn settings(&self) -> PathBuf {
        self.0.join("settings")
    }

    /// The registry's own settings.
    pub fn config(&self) -> PathBuf {
        self.settings().join("config.yml")
    }

    /// What it shows to who connects.
    pub fn certificate(&self) -> PathBuf {
        self.settings().join("tls.crt")
    }

    /// The key of that.
    pub fn key(&self) -> PathBuf {
        self.settings().join("tls.key")
    }

    /// Whose tokens it believes.
    pub fn signer(&self) -> PathBuf {
        self.settings().join("token.crt")
    }

    /// The key of that.
    pub fn signing_key(&self) -> PathBuf {
        self.0.join("token.key")
    }

    /// Of which passwords are derived.
    pub fn secret(&self) -> PathBuf {
        self.0.join("accounts.key")
    }

    /// Who holds this file works on the registry alone.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
}

/// Where tokens are given out, by the door at `host:door`.
pub fn realm(host: &str, door: u16) -> String {
    format!("https://{host}:{door}{TOKEN_PATH}")
}

/// The registry's settings: it answers at `location`, believes tokens of the door at `host:door`, and has this secret.
pub fn text(location: &str, host: &str, door: u16, secret: &str) -> String {
    format!(
        "# Written by registry-bootstrap; changes are lost.\n\
         version: 0.1\n\
         log:\n  level: warn\n  accesslog:\n    disabled: true\n\
         storage:\n  filesystem:\n    rootdirectory: {DATA_INSIDE}\n  delete:\n    enabled: true\n\
         http:\n  addr: :{PORT_INSIDE}\n  secret: {secret}\n  tls:\n    \
         certificate: {SETTINGS_INSIDE}/tls.crt\n    key: {SETTINGS_INSIDE}/tls.key\n\
         auth:\n  token:\n    realm: {realm}\n    service: \"{location}\"\n    \
         issuer: {issuer}\n    rootcertbundle: {SETTINGS_INSIDE}/token.crt\n",
        issuer = token::ISSUER,
        realm = realm(host, door),
    )
}
