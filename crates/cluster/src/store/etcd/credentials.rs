//! Where etcd's members answer and who we are to them: read anew at every connection, because files change meanwhile.
//!
//! Nothing is checked here but sizes and forms; rustls and etcd decide who is believed.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::files;
use crate::identity::CONFIG_NAME;
use crate::store::{Error, Result};

/// The most that a file with a certificate, a key or endpoints may have in it.
const MAX_FILE: u64 = 64 * 1024;
/// The most endpoints that are tried.
pub const MAX_ENDPOINTS: usize = 64;

/// Where the members of the store answer: URLs like `https://10.0.0.1:2379`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// These.
    Given(Vec<String>),
    /// Those in a file of [`EndpointsFile`]'s form; it may come, change and go at any time.
    File(PathBuf),
}

/// What a file of endpoints has in it, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointsFile {
    /// URLs, in the order in which they are tried.
    pub endpoints: Vec<String>,
}

impl EndpointsFile {
    /// Read the file at `path`, within a limit.
    pub fn read(path: &Path) -> io::Result<Self> {
        let content = files::read_limited(path, MAX_FILE)?;
        serde_json::from_slice(&content).map_err(io::Error::from)
    }

    /// Write the file at `path`, whole or not at all; anyone may read it.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut content = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
        content.push(b'\n');
        files::write_atomic(path, &content, 0o644)
    }
}

impl Endpoints {
    /// The URLs as of now: at least one, at most [`MAX_ENDPOINTS`].
    pub(super) fn read(&self) -> Result<Vec<String>> {
        let urls = match self {
            Endpoints::Given(urls) => urls.clone(),
            Endpoints::File(path) => {
                EndpointsFile::read(path)
                    .map_err(|source| unreadable(path, source))?
                    .endpoints
            }
        };
        if urls.is_empty() || urls.len() > MAX_ENDPOINTS {
            let reason = format!(
                "it names {} endpoints, and 1 to {MAX_ENDPOINTS} are possible",
                urls.len()
            );
            return Err(Error::Corrupt {
                place: self.to_string(),
                reason,
            });
        }
        Ok(urls)
    }
}

impl std::fmt::Display for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoints::Given(urls) => f.write_str(&urls.join(", ")),
            Endpoints::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Something in PEM.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// In a file, which may be replaced at any time.
    File(PathBuf),
    /// Itself.
    Text(String),
}

impl Pem {
    fn read(&self) -> Result<Vec<u8>> {
        match self {
            Pem::File(path) => files::read_limited(path, MAX_FILE).map_err(|source| unreadable(path, source)),
            Pem::Text(text) => Ok(text.clone().into_bytes()),
        }
    }
}

/// Never the text: it may be a private key.
impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pem::File(path) => write!(f, "File({})", path.display()),
            Pem::Text(_) => f.write_str("Text(..)"),
        }
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Pem::File(path)
    }
}

impl From<String> for Pem {
    fn from(text: String) -> Self {
        Pem::Text(text)
    }
}

/// Who we are to etcd, and whom we believe. etcd's user is the certificate's common name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The CA that members' certificates must be signed by.
    pub ca: Pem,
    pub certificate: Pem,
    /// The certificate's private key.
    pub key: Pem,
}

impl Credentials {
    /// What they are as of now.
    pub(super) fn load(&self) -> Result<Loaded> {
        Ok(Loaded {
            ca: self.ca.read()?,
            certificate: self.certificate.read()?,
            key: self.key.read()?,
        })
    }
}

/// Credentials as they were at one moment.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Loaded {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Loaded {
    pub(super) fn tls(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .identity(Identity::from_pem(&self.certificate, &self.key))
            // No node's certificate has this name, so none can pose as the store.
            .domain_name(CONFIG_NAME)
    }
}

/// A file that is not there yet may come; one that is not ours to read is a matter of rights.
fn unreadable(path: &Path, source: io::Error) -> Error {
    let place = path.display().to_string();
    match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { place },
        io::ErrorKind::PermissionDenied => Error::Denied {
            place,
            source: source.into(),
        },
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::FileTooLarge => Error::Corrupt {
            place,
            reason: source.to_string(),
        },
        _ => Error::Unavailable {
            place,
            source: source.into(),
        },
    }
}
