//! The cluster's CA: made once on the core, signs everything that nodes and administrators prove themselves with.
//!
//! It knows what each kind of certificate may say, not who may have one.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use uuid::Uuid;

use super::key::{of_file, read_pem, write_error};
use super::{CONFIG_NAME, CORE_NAME, Error, Fingerprint, Key, PEER_NAME, Request, Result, der};
use crate::config::Name;
use crate::files;

/// By how much a certificate begins before it was made, for nodes whose clocks are behind.
pub const BACKDATED: Duration = Duration::from_secs(5 * 60);
/// How long the CA itself is good.
const OWN_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);

/// What a certificate is for. It decides everything that the certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A node, as a client of the config store.
    Node { id: Uuid },
    /// An administrator, as a client of the config store.
    Administrator { name: Name },
    /// The core itself, for the members of the config store and all that it has.
    Root,
    /// A member of the config store towards its clients, reached at these addresses.
    Config { addresses: Vec<IpAddr> },
    /// A member of the config store towards the others.
    ConfigPeer { addresses: Vec<IpAddr> },
    /// The core's door, reached at these addresses.
    Door { addresses: Vec<IpAddr> },
    /// The cluster's image registry, and the door where it is asked for by the registry's name.
    Registry { host: String, addresses: Vec<IpAddr> },
}

impl Subject {
    /// The common name of the certificate for a key, by which the config store's gateway knows its guest. A name given once more
    /// to another key is another guest, so that a key that was cut off never gets in again.
    pub fn common_name(&self, key: &Fingerprint) -> Option<String> {
        match self {
            Subject::Node { id } => Some(format!("node-{id}-{}", key.short())),
            Subject::Administrator { name } => Some(format!("admin-{name}-{}", key.short())),
            Subject::Root => Some("root".to_owned()),
            Subject::ConfigPeer { .. } => Some(PEER_NAME.to_owned()),
            Subject::Config { .. } | Subject::Door { .. } | Subject::Registry { .. } => None,
        }
    }

    fn names(&self) -> Result<Vec<SanType>> {
        let names: &[&str] = match self {
            Subject::Node { .. } | Subject::Administrator { .. } | Subject::Root => &[],
            Subject::Config { .. } => &[CONFIG_NAME, "localhost"],
            Subject::ConfigPeer { .. } => &[PEER_NAME, "localhost"],
            Subject::Door { .. } => &[CORE_NAME],
            // An address stands among the addresses.
            Subject::Registry { host, .. } if host.parse::<IpAddr>().is_ok() => &[],
            Subject::Registry { host, .. } => &[host.as_str()],
        };
        let mut all = Vec::new();
        for name in names {
            let name = (*name).try_into().map_err(Error::failed("name a certificate"))?;
            all.push(SanType::DnsName(name));
        }
        all.extend(self.addresses().iter().copied().map(SanType::IpAddress));
        Ok(all)
    }

    fn addresses(&self) -> &[IpAddr] {
        match self {
            Subject::Node { .. } | Subject::Administrator { .. } | Subject::Root => &[],
            Subject::Config { addresses }
            | Subject::ConfigPeer { addresses }
            | Subject::Door { addresses }
            | Subject::Registry { addresses, .. } => addresses,
        }
    }

    fn purposes(&self) -> Vec<ExtendedKeyUsagePurpose> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        match self {
            Subject::Node { .. } | Subject::Administrator { .. } | Subject::Root => vec![ClientAuth],
            // Members are each other's clients.
            Subject::ConfigPeer { .. } => vec![ServerAuth, ClientAuth],
            Subject::Config { .. } | Subject::Door { .. } | Subject::Registry { .. } => vec![ServerAuth],
        }
    }
}

/// The CA with its private key.
pub struct Ca {
    pem: String,
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// Where the CA's certificate is below a node's `pki`.
    pub fn certificate_file(pki: &Path) -> PathBuf {
        pki.join("ca.crt")
    }

    /// The CA of this directory; a new one is made where there is none. A second run after a crash goes on with the key
    /// of the first.
    pub fn load_or_make(pki: &Path) -> Result<Self> {
        match Ca::load(pki) {
            Err(error) if error.is_missing() => {}
            other => return other,
        }
        let key = Key::load_or_make(&key_file(pki))?;
        let certificate = own_params()
            .self_signed(&key.pair)
            .map_err(Error::failed("make a CA"))?;
        let path = Ca::certificate_file(pki);
        files::write_atomic(&path, certificate.pem().as_bytes(), 0o644).map_err(|source| write_error(&path, source))?;
        Ca::load(pki)
    }

    /// The CA of this directory.
    pub fn load(pki: &Path) -> Result<Self> {
        let path = Ca::certificate_file(pki);
        let pem = read_pem(&path)?;
        let key = Key::load(&key_file(pki))?;
        let der = der(&pem, "CERTIFICATE").map_err(|error| of_file(&path, error))?;
        let issuer = Issuer::from_ca_cert_der(&der.as_slice().into(), key.pair);
        let issuer = issuer.map_err(|error| of_file(&path, Error::failed("read the CA")(error)))?;
        Ok(Ca { pem, der, issuer })
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// By what nodes know it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    /// Sign a certificate for the key of `request`, good for `lifetime` from now. It is PEM.
    pub fn sign(&self, request: &Request, subject: &Subject, lifetime: Duration) -> Result<String> {
        let mut params = params(lifetime);
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = subject.purposes();
        params.subject_alt_names = subject.names()?;
        if let Some(name) = subject.common_name(&request.fingerprint()) {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let certificate = params.signed_by(&request.public_key, &self.issuer);
        Ok(certificate.map_err(Error::failed("sign a certificate"))?.pem())
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Ca")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

fn key_file(pki: &Path) -> PathBuf {
    pki.join("ca.key")
}

/// A certificate by which this key alone is known, in PEM: for signatures that the cluster's CA must not open a way to.
pub fn self_signed(key: &Key, name: &str) -> Result<String> {
    let mut params = params(OWN_LIFE);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params
        .self_signed(&key.pair)
        .map_err(Error::failed("make a certificate"))?;
    Ok(certificate.pem())
}

fn own_params() -> CertificateParams {
    let mut params = params(OWN_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Fence cluster CA");
    params
}

/// What all certificates have: a time and a number of their own.
fn params(lifetime: Duration) -> CertificateParams {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    let mut serial = Uuid::new_v4().into_bytes();
    // A serial number is positive.
    serial[0] &= 0x7f;
    let mut params = CertificateParams::default();
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now + lifetime.min(OWN_LIFE);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params
}
