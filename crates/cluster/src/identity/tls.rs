//! TLS between nodes: only version 1.2 and later, one provider of cryptography, the cluster's own CA and no other.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use super::certified::ByName;
use super::{Error, Key, Result, der};

/// Whoever has this shows a certificate, and asks for none: who asks proves itself otherwise.
pub fn server(certificate: &str, key: &Key) -> Result<ServerConfig> {
    let (chain, key) = own(certificate, key)?;
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(failed("prepare a server's TLS"))
}

/// Whoever has this shows a certificate, and talks HTTP/2 to those alone who show one that this CA (PEM) signed.
pub fn server_of_guests(certificate: &str, key: &Key, ca: &str) -> Result<ServerConfig> {
    let (chain, key) = own(certificate, key)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider()).build();
    let verifier = verifier.map_err(|source| Error::Failed {
        attempt: "use the cluster's CA",
        source: Box::new(source),
    })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key))
        .map_err(failed("prepare a server's TLS"))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The core's door: it shows the core's certificate, or the one in `registry` (certificate and key) to who asks for another
/// name than the core's; and who has a certificate of the CA (PEM) may show it.
pub fn door(certificate: &str, key: &Key, ca: &str, registry: (PathBuf, PathBuf)) -> Result<ServerConfig> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider())
        .allow_unauthenticated()
        .build();
    let verifier = verifier.map_err(|source| Error::Failed {
        attempt: "use the cluster's CA",
        source: Box::new(source),
    })?;
    let shown = ByName::new(certified(certificate, key)?, registry);
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Ok(builder
        .map_err(failed("prepare a server's TLS"))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(shown)))
}

/// Whoever has this believes servers whose certificate this CA (PEM) signed, and only those.
pub fn client(ca: &str) -> Result<ClientConfig> {
    Ok(believing(ca)?.with_no_client_auth())
}

/// As [`client`], and shows this certificate to who asks.
pub fn client_as(ca: &str, certificate: &str, key: &Key) -> Result<ClientConfig> {
    let (chain, key) = own(certificate, key)?;
    believing(ca)?
        .with_client_auth_cert(chain, key)
        .map_err(failed("prepare a client's TLS"))
}

fn believing(ca: &str) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(ca)?, provider()).build();
    let verifier = verifier.map_err(|source| Error::Failed {
        attempt: "use the cluster's CA",
        source: Box::new(source),
    })?;
    with_verifier(verifier)
}

fn roots(ca: &str) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(der(ca, "CERTIFICATE")?))
        .map_err(failed("use the cluster's CA"))?;
    Ok(Arc::new(roots))
}

fn own(certificate: &str, key: &Key) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = vec![CertificateDer::from(der(certificate, "CERTIFICATE")?)];
    let key = PrivateKeyDer::try_from(key.pair.serialize_der()).map_err(|reason| Error::Failed {
        attempt: "use a private key",
        source: reason.into(),
    })?;
    Ok((chain, key))
}

/// A certificate with its key, as a server shows it.
pub(super) fn certified(certificate: &str, key: &Key) -> Result<CertifiedKey> {
    let (chain, key) = own(certificate, key)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(failed("use a certificate"))
}

/// Whoever has this believes any server: only for asking for the CA's certificate, which is then compared with the
/// fingerprint that was given.
pub fn client_of_anyone() -> Result<ClientConfig> {
    Ok(with_verifier(Arc::new(Anyone(provider())))?.with_no_client_auth())
}

fn with_verifier(verifier: Arc<dyn ServerCertVerifier>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Ok(builder
        .map_err(failed("prepare a client's TLS"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn failed(attempt: &'static str) -> impl FnOnce(rustls::Error) -> Error {
    move |source| Error::Failed {
        attempt,
        source: Box::new(source),
    }
}

/// Believes every certificate; that the server has its key is checked all the same.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
