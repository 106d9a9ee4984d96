//! An administrator's credential: one YAML file that has all that is needed to use a cluster's config store.
//!
//! It holds a private key: mode 0600, never printed.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::key::write_error;
use super::{Certificate, Error, Key, Result};
use crate::config::Name;
use crate::files;

/// The largest file that is read.
const MAX_BYTES: u64 = 64 * 1024;
/// The most addresses in it.
const MAX_ENDPOINTS: usize = 64;

/// What is in the file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Whose it is.
    pub name: Name,
    /// The cluster's CA, in PEM.
    pub ca: String,
    /// The administrator's certificate, in PEM.
    pub certificate: String,
    /// Its private key, in PEM.
    pub key: String,
    /// Where the config store answered when the credential was made: `https://host:port`.
    pub endpoints: Vec<String>,
}

impl Credential {
    /// Read one and see that its parts belong together.
    pub fn load(path: &Path) -> Result<Self> {
        let read = |source| Error::Read {
            path: path.to_path_buf(),
            source,
        };
        let bytes = files::read_limited(path, MAX_BYTES).map_err(read)?;
        Self::parse(&bytes).map_err(|reason| Error::File {
            path: path.to_path_buf(),
            source: Box::new(Error::Malformed {
                what: "credential",
                reason,
            }),
        })
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let credential: Credential = yaml_serde::from_slice(bytes).map_err(|error| without_values(&error))?;
        if credential.endpoints.is_empty() || credential.endpoints.len() > MAX_ENDPOINTS {
            return Err(format!("it has to name 1 to {MAX_ENDPOINTS} endpoints"));
        }
        let certificate = Certificate::from_pem(&credential.certificate).map_err(|error| error.to_string())?;
        // Nothing of a private key goes into an error.
        let key = Key::from_pem(&credential.key).map_err(|_| "its key cannot be read".to_owned())?;
        if certificate.key != key.fingerprint() {
            return Err("its key and its certificate do not belong together".to_owned());
        }
        Ok(credential)
    }

    /// Write it, whole or not at all, for its owner alone.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_atomic(path, self.text(path)?.as_bytes(), 0o600).map_err(|source| write_error(path, source))
    }

    /// As [`Credential::save`], but only where there is nothing yet.
    pub fn save_new(&self, path: &Path) -> Result<()> {
        files::write_new(path, self.text(path)?.as_bytes(), 0o600).map_err(|source| write_error(path, source))
    }

    fn text(&self, path: &Path) -> Result<String> {
        yaml_serde::to_string(self).map_err(|source| write_error(path, io::Error::other(source)))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credential")
            .field("name", &self.name)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

/// Where it went wrong, and nothing of what is written there.
fn without_values(error: &yaml_serde::Error) -> String {
    match error.location() {
        Some(place) => format!("line {} is not as it should be", place.line()),
        None => "it is not as it should be".to_owned(),
    }
}
