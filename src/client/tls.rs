//! TLS of the clients, and the certificates they trust.

use std::{
    env, fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, InvalidMessage,
    RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// The certificates that a client trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Certificates signed by this machine's authorities.
    System,
    /// The certificates in this file, and those signed by them.
    File(PathBuf),
    /// Every certificate, which proves nothing about the server.
    AnyCertificate,
}

/// The TLS configuration of a client.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// TLS 1.2 and 1.3 with that trust.
    ///
    /// # Errors
    /// The file of `trust` has no certificates. The message says which file to name instead.
    pub fn new(trust: &Trust) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match trust {
            Trust::System => versions.with_root_certificates(system_roots()).with_no_client_auth(),
            Trust::File(path) => {
                versions.with_root_certificates(roots_from_file(path)?).with_no_client_auth()
            }
            Trust::AnyCertificate => versions
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider)))
                .with_no_client_auth(),
        };
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn session(&self, host: &str) -> Result<ClientConnection, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        ClientConnection::new(Arc::clone(&self.0), name).map_err(|error| error.to_string())
    }
}

/// The reason for a failure of TLS. rustls tells the dates of a certificate in seconds.
pub(super) fn reason(error: &io::Error) -> String {
    let date =
        |time: &UnixTime| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.as_secs()));
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            format!("its certificate has expired: {}", date(not_after))
        }
        Some(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            format!(
                "its certificate is not valid before {}: is the clock of this machine right?",
                date(not_before)
            )
        }
        _ => error.to_string(),
    }
}

/// Whether the peer answered the handshake with octets that are no TLS.
pub(super) fn is_clear_text(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// The authorities of this machine, from the first bundle that can be read. Without one, no certificate is
/// trusted.
fn system_roots() -> RootCertStore {
    let named = env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let found =
        named.into_iter().chain(BUNDLES.map(PathBuf::from)).find_map(|path| roots_from_file(&path).ok());
    found.unwrap_or_else(RootCertStore::empty)
}

fn roots_from_file(path: &Path) -> Result<RootCertStore, String> {
    let wrong = |why: String| format!("{}: {why}; name a PEM file with certificates", path.display());
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(wrong("there is no certificate in it".into())),
        _ => Ok(roots),
    }
}

/// Accepts any certificate, but still checks that the server has its key.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Usual paths of the certificate bundle.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n03_the_dates_of_a_certificate_are_told_as_dates() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let told =
            |error| reason(&io::Error::new(io::ErrorKind::InvalidData, Error::InvalidCertificate(error)));
        let expired =
            CertificateError::ExpiredContext { time: at(1_790_000_000), not_after: at(1_780_000_000) };
        assert_eq!(told(expired), "its certificate has expired: 2026-05-28T20:26:40Z");
        let early = CertificateError::NotValidYetContext { time: at(1), not_before: at(1_780_000_000) };
        assert!(told(early).starts_with("its certificate is not valid before 2026-05-28"));
    }
}
