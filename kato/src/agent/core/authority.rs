//! What the core signs for itself: made at its set-up, renewed in time by its agent, which has the CA at hand.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use cluster::files;
use cluster::identity::{Ca, Certificate, Error, Fingerprint, Key, Pki, Request, Result, Subject};
use jiff::Timestamp;
use uuid::Uuid;

use super::desk::member_certificates;

/// The CAs and the core's own keys.
pub struct Authority {
    /// Signs for nodes, administrators and the store's members towards clients.
    pub ca: Ca,
    /// Signs for the store's members towards each other.
    pub peer_ca: Ca,
    pki: Pki,
}

impl Authority {
    /// Those of this core; made where there are none. The directories must exist.
    pub fn load_or_make(pki: &Pki) -> Result<Self> {
        let authority = Authority {
            ca: Ca::load_or_make(pki.directory())?,
            peer_ca: Ca::load_or_make(&pki.peer_authority())?,
            pki: pki.clone(),
        };
        write(&pki.peer_ca(), authority.peer_ca.pem())?;
        Ok(authority)
    }

    /// Those of this core.
    pub fn load(pki: &Pki) -> Result<Self> {
        Ok(Authority {
            ca: Ca::load(pki.directory())?,
            peer_ca: Ca::load(&pki.peer_authority())?,
            pki: pki.clone(),
        })
    }

    /// Sign what the core itself needs, where it is missing or its time comes. Whether anything was.
    pub fn renew(&self, id: Uuid, addresses: &[IpAddr], lifetime: Duration) -> Result<bool> {
        let pki = &self.pki;
        let node = Key::load_or_make(&pki.node_key())?;
        let root = Key::load_or_make(&pki.root_key())?;
        let mut any = false;
        if is_due(&pki.node_certificate(), &node.fingerprint()) {
            self.sign(&node, &Subject::Node { id }, lifetime, &pki.node_certificate())?;
            any = true;
        }
        if is_due(&pki.root_certificate(), &root.fingerprint()) {
            self.sign(&root, &Subject::Root, lifetime, &pki.root_certificate())?;
            any = true;
        }
        if is_due(&pki.door_certificate(), &node.fingerprint()) {
            self.sign_door(&node, addresses, lifetime)?;
            any = true;
        }
        let member = [pki.config_certificate(), pki.peer_certificate()];
        if member.iter().any(|path| is_due(path, &node.fingerprint())) {
            self.sign_member(&node, addresses, lifetime)?;
            any = true;
        }
        Ok(any)
    }

    /// Sign anew what names the core's addresses, since they have changed.
    pub fn moved(&self, addresses: &[IpAddr], lifetime: Duration) -> Result<()> {
        let node = Key::load(&self.pki.node_key())?;
        self.sign_door(&node, addresses, lifetime)?;
        self.sign_member(&node, addresses, lifetime)
    }

    fn sign_door(&self, node: &Key, addresses: &[IpAddr], lifetime: Duration) -> Result<()> {
        let addresses = addresses.to_vec();
        self.sign(
            node,
            &Subject::Door { addresses },
            lifetime,
            &self.pki.door_certificate(),
        )
    }

    fn sign_member(&self, node: &Key, addresses: &[IpAddr], lifetime: Duration) -> Result<()> {
        let request = Request::from_pem(&node.request()?)?;
        let signed = member_certificates(&self.ca, &self.peer_ca, &request, addresses, lifetime)?;
        write(&self.pki.config_certificate(), &signed.0)?;
        write(&self.pki.peer_certificate(), &signed.1)
    }

    fn sign(&self, key: &Key, subject: &Subject, lifetime: Duration, path: &Path) -> Result<()> {
        let request = Request::from_pem(&key.request()?)?;
        write(path, &self.ca.sign(&request, subject, lifetime)?)
    }
}

/// Whether a certificate is missing, of another key, to be renewed, or not good now: made by a clock that was wrong.
pub fn is_due(path: &Path, key: &Fingerprint) -> bool {
    let now = Timestamp::now();
    match Certificate::load(path) {
        Ok(certificate) => certificate.key != *key || certificate.renew_at() <= now || !certificate.is_good(now),
        Err(_) => true,
    }
}

/// Put a certificate in its file, whole or not at all.
pub fn write(path: &Path, pem: &str) -> Result<()> {
    files::write_atomic(path, pem.as_bytes(), 0o644).map_err(|source: io::Error| Error::Write {
        path: path.to_path_buf(),
        source,
    })
}
