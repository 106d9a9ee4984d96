//! A private key on disk, and the request by which its holder proves to have it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256,
    PublicKeyData,
};

use super::{Error, Fingerprint, MAX_PEM, Result, der};
use crate::files;

/// A private key: ECDSA on the curve P-256.
pub struct Key {
    pub(super) pair: KeyPair,
}

impl Key {
    /// A new key, nowhere but in memory.
    pub fn generate() -> Result<Self> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::failed("make a key"))?;
        Ok(Key { pair })
    }

    /// The key in this file.
    pub fn load(path: &Path) -> Result<Self> {
        let pem = read_pem(path)?;
        Self::from_pem(&pem).map_err(|error| of_file(path, error))
    }

    /// The key in this file; a new one is put there where there is none. Beside it, with the ending `pub`, is its public
    /// part, readable by everyone.
    pub fn load_or_make(path: &Path) -> Result<Self> {
        let key = match Key::load(path) {
            Err(error) if error.is_missing() => {
                let key = Key::generate()?;
                match files::write_new(path, key.pem().as_bytes(), 0o600) {
                    // Another was quicker: there is one key and no other.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Key::load(path)?,
                    written => written.map(|()| key).map_err(|source| write_error(path, source))?,
                }
            }
            other => other?,
        };
        let public = public_file(path);
        files::write_atomic(&public, key.public_pem().as_bytes(), 0o644)
            .map_err(|source| write_error(&public, source))?;
        Ok(key)
    }

    /// Read a key.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let pair = KeyPair::from_pem_and_sign_algo(pem, &PKCS_ECDSA_P256_SHA256);
        Ok(Key {
            pair: pair.map_err(Error::failed("read a private key"))?,
        })
    }

    /// The private key itself: for a file of mode 0600, and nothing else.
    pub fn pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// The public part.
    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// The fingerprint of the public part.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.pair.subject_public_key_info())
    }

    /// The signature of a message, by ECDSA with SHA-256: two numbers of 32 bytes, as JSON web signatures have it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let random = ring::rand::SystemRandom::new();
        let failed = |reason: String| Error::Failed {
            attempt: "sign with a private key",
            source: reason.into(),
        };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pair.serialize_der(), &random);
        let pair = pair.map_err(|reason| failed(reason.to_string()))?;
        let signature = pair
            .sign(&random, message)
            .map_err(|reason| failed(reason.to_string()))?;
        Ok(signature.as_ref().to_vec())
    }

    /// A request to be signed, in PEM. What the certificate will say is for the CA to decide; the request says nothing.
    pub fn request(&self) -> Result<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.pair);
        request
            .and_then(|request| request.pem())
            .map_err(Error::failed("make a request for a certificate"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Key")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// A request whose signature proves that who made it has the key. Whatever else is in it is passed over.
#[derive(Debug)]
pub struct Request {
    pub(super) public_key: rcgen::PublicKey,
}

impl Request {
    /// Read and check one.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let der = der(pem, "CERTIFICATE REQUEST")?;
        let request = CertificateSigningRequestParams::from_der(&der.as_slice().into());
        let request = request.map_err(|_| Error::Request {
            reason: "it cannot be read, or is not signed with its key",
        })?;
        if PublicKeyData::algorithm(&request.public_key) != &PKCS_ECDSA_P256_SHA256 {
            return Err(Error::Request {
                reason: "its key is not one of ECDSA on the curve P-256",
            });
        }
        Ok(Request {
            public_key: request.public_key,
        })
    }

    /// The fingerprint of its key.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.public_key.subject_public_key_info())
    }
}

/// Where the public part of a key is.
fn public_file(path: &Path) -> PathBuf {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("node.key") => path.with_file_name("key.pub"),
        _ => path.with_extension("pub"),
    }
}

pub(super) fn read_pem(path: &Path) -> Result<String> {
    let read = |source| Error::Read {
        path: path.to_path_buf(),
        source,
    };
    let bytes = files::read_limited(path, MAX_PEM as u64).map_err(read)?;
    String::from_utf8(bytes).map_err(|_| read(io::Error::new(io::ErrorKind::InvalidData, "it is not text")))
}

pub(super) fn write_error(path: &Path, source: io::Error) -> Error {
    Error::Write {
        path: path.to_path_buf(),
        source,
    }
}

pub(super) fn of_file(path: &Path, error: Error) -> Error {
    Error::File {
        path: path.to_path_buf(),
        source: Box::new(error),
    }
}
