//! TLS of the clients, and the certificates they trust.
//!
//! The rule: a certificate that the user names is trusted as an authority, and as that of the server itself, whatever it
//! says of its own use. Its names and its dates count in both cases.

use std::{
    env, fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, InvalidMessage,
    RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use super::{
    tls_failure::TlsFailure,
    trust_error::{TrustCause, TrustError},
};
use crate::certificate_words::certificate_error;

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
pub struct Tls {
    config: Arc<ClientConfig>,
    /// Whether the user has named the certificates to trust.
    has_named: bool,
}

impl Tls {
    /// TLS 1.2 and 1.3 with that trust.
    ///
    /// # Errors
    /// The file of `trust` has no certificates.
    pub fn new(trust: &Trust) -> Result<Self, TrustError> {
        let provider = Arc::new(ring::default_provider());
        let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustError::Library(error.to_string()))?;
        let signatures = provider.signature_verification_algorithms;
        let verifier: Arc<dyn ServerCertVerifier> = match trust {
            Trust::System => {
                let config = versions.with_root_certificates(system_roots()).with_no_client_auth();
                return Ok(Self { config: Arc::new(config), has_named: false });
            }
            Trust::File(path) => {
                Arc::new(Verifier { trusted: TrustNamed::read(path, provider)?, signatures })
            }
            Trust::AnyCertificate => Arc::new(Verifier { trusted: AnyCertificate, signatures }),
        };
        let config = versions.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Ok(Self { config: Arc::new(config), has_named: matches!(trust, Trust::File(_)) })
    }

    pub(super) fn session(&self, host: &str) -> Result<ClientConnection, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        ClientConnection::new(Arc::clone(&self.config), name).map_err(|error| error.to_string())
    }

    /// The reason for a failure of a handshake.
    pub(super) fn failure(&self, error: &io::Error) -> TlsFailure {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let Some(wrong @ Error::InvalidCertificate(reason)) = inner else {
            return TlsFailure::Other(error.to_string());
        };
        match reason {
            CertificateError::ExpiredContext { not_after, .. } => TlsFailure::Expired(date(not_after)),
            CertificateError::NotValidYetContext { not_before, .. } => {
                TlsFailure::NotYetValid(date(not_before))
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                TlsFailure::OtherName(presented.iter().map(|name| plain_name(name)).collect())
            }
            CertificateError::UnknownIssuer if self.has_named => TlsFailure::NotNamed,
            CertificateError::UnknownIssuer => TlsFailure::UnknownAuthority,
            // A certificate that signs others, and itself: `openssl req -x509` makes such ones.
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                if self.has_named { TlsFailure::NotNamed } else { TlsFailure::UnknownAuthority }
            }
            _ => TlsFailure::Other(certificate_error(wrong)),
        }
    }
}

fn date(time: &UnixTime) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.as_secs())).to_string()
}

/// A name as the library writes it, `DnsName("localhost")`, as a person does.
fn plain_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"').to_owned()
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

fn roots_from_file(path: &Path) -> Result<RootCertStore, TrustError> {
    roots_of(certificates_in(path)?, path)
}

fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates = certificates.map_err(|error| unusable(path, TrustCause::Pem(error)))?;
    if certificates.is_empty() {
        return Err(unusable(path, TrustCause::Empty));
    }
    Ok(certificates)
}

/// The authorities, without those that the library cannot read, which a bundle of a machine may have.
fn roots_of(certificates: Vec<CertificateDer<'static>>, path: &Path) -> Result<RootCertStore, TrustError> {
    let first = certificates.first().cloned();
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(certificates).0 > 0 {
        return Ok(roots);
    }
    let why = first.and_then(|first| ParsedCertificate::try_from(&first).err());
    let other = || TrustCause::Other(String::new());
    Err(unusable(path, why.map_or_else(other, TrustCause::Certificate)))
}

fn unusable(path: &Path, why: TrustCause) -> TrustError {
    TrustError::File(path.to_owned(), why)
}

/// Trusts the certificates of a file.
#[derive(Debug)]
struct TrustNamed {
    named: Vec<CertificateDer<'static>>,
    /// The same ones as authorities.
    authorities: Arc<WebPkiServerVerifier>,
}

impl TrustNamed {
    fn read(path: &Path, provider: Arc<CryptoProvider>) -> Result<Self, TrustError> {
        let named = certificates_in(path)?;
        let roots = Arc::new(roots_of(named.clone(), path)?);
        let authorities = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let other = |error: VerifierBuilderError| unusable(path, TrustCause::Other(error.to_string()));
        Ok(Self { named, authorities: authorities.map_err(other)? })
    }
}

impl Trusted for TrustNamed {
    fn check(&self, server: &Presented<'_>) -> Result<(), Error> {
        let Presented { leaf, chain, name, ocsp, now } = *server;
        let Err(error) = self.authorities.verify_server_cert(leaf, chain, name, ocsp, now) else {
            return Ok(());
        };
        // The dates are checked before all else.
        let is_about_issuer = matches!(
            error,
            Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_))
        );
        if !is_about_issuer || !self.named.contains(leaf) {
            return Err(error);
        }
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)
    }
}

/// Trusts any certificate.
#[derive(Debug)]
struct AnyCertificate;

impl Trusted for AnyCertificate {
    fn check(&self, _: &Presented<'_>) -> Result<(), Error> {
        Ok(())
    }
}

/// The certificates of a server, as they come.
struct Presented<'a> {
    leaf: &'a CertificateDer<'a>,
    chain: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    ocsp: &'a [u8],
    now: UnixTime,
}

/// A decision about certificates.
trait Trusted: fmt::Debug + Send + Sync {
    fn check(&self, server: &Presented<'_>) -> Result<(), Error>;
}

/// Leaves the certificate to `trusted`, and always checks that the server has its key.
#[derive(Debug)]
struct Verifier<T> {
    trusted: T,
    signatures: WebPkiSupportedAlgorithms,
}

impl<T: Trusted> ServerCertVerifier for Verifier<T> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.trusted.check(&Presented { leaf, chain, name, ocsp, now })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.signatures)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.signatures)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_schemes()
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

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    fn failure(reason: CertificateError, has_named: bool) -> TlsFailure {
        let mut tls = Tls::new(&Trust::AnyCertificate).unwrap();
        tls.has_named = has_named;
        tls.failure(&io::Error::new(io::ErrorKind::InvalidData, Error::InvalidCertificate(reason)))
    }

    #[test]
    fn n03_the_dates_of_a_certificate_are_told_as_dates() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired =
            CertificateError::ExpiredContext { time: at(1_790_000_000), not_after: at(1_780_000_000) };
        assert_eq!(failure(expired, true), TlsFailure::Expired("2026-05-28T20:26:40Z".into()));
        let early = CertificateError::NotValidYetContext { time: at(1), not_before: at(1_780_000_000) };
        assert_eq!(failure(early, true), TlsFailure::NotYetValid("2026-05-28T20:26:40Z".into()));
    }

    #[test]
    fn u62_a_name_is_told_as_a_person_writes_it_and_the_advice_is_not_what_was_done() {
        let expected = ServerName::try_from("127.0.0.1").unwrap();
        let presented = vec!["DnsName(\"localhost\")".into(), "IpAddress(192.0.2.1)".into()];
        let other = CertificateError::NotValidForNameContext { expected, presented };
        assert_eq!(failure(other, true), TlsFailure::OtherName(vec!["localhost".into(), "192.0.2.1".into()]));
        assert_eq!(failure(CertificateError::UnknownIssuer, true), TlsFailure::NotNamed);
        assert_eq!(failure(CertificateError::UnknownIssuer, false), TlsFailure::UnknownAuthority);
    }

    /// A certificate that signs itself and may sign others, as `openssl req -x509` makes it.
    fn authority() -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2027, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn u61_a_certificate_that_signs_itself_is_trusted_where_it_is_named() {
        let (server, other) = (authority(), authority());
        let verify = |leaf: &CertificateDer<'_>, name: &str, seconds| {
            let provider = Arc::new(ring::default_provider());
            let roots = Arc::new(roots_of(vec![server.clone()], Path::new("c.pem")).unwrap());
            let authorities = WebPkiServerVerifier::builder_with_provider(roots, provider).build().unwrap();
            let trust = TrustNamed { named: vec![server.clone()], authorities };
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            trust.check(&Presented { leaf, chain: &[], name: &name, ocsp: &[], now })
        };
        const SUMMER_2026: u64 = 1_780_000_000;
        verify(&server, "localhost", SUMMER_2026).unwrap();
        for (leaf, name, seconds, reason) in [
            (&server, "mx.example.test", SUMMER_2026, "NotValidForName"),
            (&server, "localhost", SUMMER_2026 + 100_000_000, "Expired"),
            (&server, "localhost", 1_000_000_000, "NotValidYet"),
            (&other, "localhost", SUMMER_2026, "CaUsedAsEndEntity"),
        ] {
            let error = format!("{:?}", verify(leaf, name, seconds).unwrap_err());
            assert!(error.contains(reason), "{reason} is not in {error}");
        }
    }
}
