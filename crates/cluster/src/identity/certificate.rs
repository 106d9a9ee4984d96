//! What a certificate says of itself: for whom, until when, and when it is to be renewed. Whether it is genuine is
//! checked where connections are made, in [`super::tls`].

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::key::{of_file, read_pem};
use super::{BACKDATED, Error, Fingerprint, Result, der};

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The common name, or "".
    pub common_name: String,
    /// The fingerprint of its key.
    pub key: Fingerprint,
    /// Since when it is good.
    pub not_before: Timestamp,
    /// Until when it is good.
    pub not_after: Timestamp,
}

impl Certificate {
    /// Read one.
    pub fn from_pem(pem: &str) -> Result<Self> {
        Self::from_der(&der(pem, "CERTIFICATE")?)
    }

    /// Read one as it goes over the wire.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let malformed = |reason: String| Error::Malformed {
            what: "CERTIFICATE",
            reason,
        };
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| malformed(error.to_string()))?;
        let time = |seconds| Timestamp::from_second(seconds).map_err(|error| malformed(error.to_string()));
        let name = parsed.subject().iter_common_name().next();
        Ok(Certificate {
            common_name: name.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned(),
            key: Fingerprint::of(parsed.public_key().raw),
            not_before: time(parsed.validity().not_before.timestamp())?,
            not_after: time(parsed.validity().not_after.timestamp())?,
        })
    }

    /// The certificate in this file.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_pem(&read_pem(path)?).map_err(|error| of_file(path, error))
    }

    /// Whether it is good at `now`.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// When it is to be renewed: after two thirds of its life, so that there is time to try again.
    pub fn renew_at(&self) -> Timestamp {
        let whole = self.not_after.duration_since(self.not_before);
        let life = Duration::try_from(whole).unwrap_or_default().saturating_sub(BACKDATED);
        self.not_after.checked_sub(life / 3).unwrap_or(self.not_after)
    }
}
