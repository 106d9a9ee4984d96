//! Who is who in a cluster: keys, certificates, the CA that signs them, and what carries them from place to place.
//!
//! ```text
//!   key (never leaves its node) ──▶ request ──▶ Ca::sign ──▶ certificate ──▶ renewed after 2/3 of its life
//!      └▶ fingerprint: by it a node is paired
//! ```
//!
//! | module | its job |
//! | --- | --- |
//! | [`Fingerprint`] | SHA-256 of a key or of a CA: what people compare |
//! | [`Key`], [`Request`] | a private key on disk, and the proof of having it |
//! | [`Ca`], [`Subject`] | signs; what a certificate is for |
//! | [`Certificate`] | what a certificate says, and when it is to be renewed |
//! | [`Pki`] | the names of a node's files of keys and certificates |
//! | [`Credential`] | an administrator's file |
//! | [`JoinToken`] | what a node needs to join, in one word |
//! | [`tls`] | connections between nodes |
//!
//! Nothing here talks to anyone: who may have what is decided by [`crate::pairing`] and the core's agent. Private keys
//! are in files of mode 0600, written whole or not at all; nothing here prints or logs one.

mod address;
mod ca;
mod certificate;
mod certified;
mod credential;
mod error;
mod fingerprint;
mod key;
mod pki;
pub mod tls;
mod token;

pub use address::{Address, DEFAULT_PORT};
pub use ca::{BACKDATED, Ca, Subject, self_signed};
pub use certificate::Certificate;
pub use credential::Credential;
pub use error::{Error, Result};
pub use fingerprint::Fingerprint;
pub use key::{Key, Request};
pub use pki::Pki;
pub use token::{JoinToken, Secret};

/// The largest PEM text that is read: a key, a request, a certificate.
pub const MAX_PEM: usize = 16 * 1024;
/// The name that the core's door has in its certificate, whatever address it is reached at.
pub const CORE_NAME: &str = "core.fence";
/// The name that the members of the config store have in theirs.
pub const CONFIG_NAME: &str = "config.fence";
/// The common name by which members of the config store know each other.
pub const PEER_NAME: &str = "config-peer";

/// The DER of the one PEM block of this label in a text.
fn der(pem: &str, label: &'static str) -> Result<Vec<u8>> {
    let malformed = |reason: String| Error::Malformed { what: label, reason };
    if pem.len() > MAX_PEM {
        return Err(malformed(format!("it is longer than {MAX_PEM} bytes")));
    }
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|error| malformed(error.to_string()))?;
    if block.label != label {
        return Err(malformed("it is something else".to_owned()));
    }
    Ok(block.contents)
}

#[cfg(test)]
mod tests;
