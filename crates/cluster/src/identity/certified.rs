//! Which certificate a server shows, where it has two: its own, and that of the image registry, by whose name it is asked
//! for as well. The second is in files that others write; it is read anew when it has changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::key::read_pem;
use super::tls::certified;
use super::{CORE_NAME, Key};

/// Shows by name.
#[derive(Debug)]
pub(super) struct ByName {
    own: Arc<CertifiedKey>,
    certificate: PathBuf,
    key: PathBuf,
    read: Mutex<Read>,
}

/// What was read of the files, and of when they were.
#[derive(Debug, Default)]
struct Read {
    changed: Option<SystemTime>,
    certified: Option<Arc<CertifiedKey>>,
}

impl ByName {
    /// `own`, or what is in the files of a certificate and its key.
    pub(super) fn new(own: CertifiedKey, (certificate, key): (PathBuf, PathBuf)) -> Self {
        ByName {
            own: Arc::new(own),
            certificate,
            key,
            read: Mutex::default(),
        }
    }

    /// The certificate for another name than the core's, where there is one.
    fn other(&self) -> Option<Arc<CertifiedKey>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = modified(&self.certificate);
        if changed != read.changed || changed.is_none() {
            *read = Read {
                changed,
                certified: self.load(),
            };
        }
        read.certified.clone()
    }

    fn load(&self) -> Option<Arc<CertifiedKey>> {
        let key = Key::load(&self.key).ok()?;
        let certificate = read_pem(&self.certificate).ok()?;
        certified(&certificate, &key).ok().map(Arc::new)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let other = match hello.server_name() {
            Some(CORE_NAME) => None,
            // Who asks for an address names none.
            _ => self.other(),
        };
        Some(other.unwrap_or_else(|| Arc::clone(&self.own)))
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|data| data.modified()).ok()
}
