//! A certificate and its key: two PEM files that are loaded together or not at all.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    CertificateError, RootCertStore, ServerConfig,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::{ParsedCertificate, ServerSessionMemoryCache},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    issuer::{MissingIssuer, common_name_alone},
    pem_content::{Part, is_encrypted_key},
};
use crate::{
    certificate_words::{certificate_error, pem_error},
    command_hint::path_word,
    file_stamp::FileStamp,
    limits::MAX_PEM_FILE,
    open_regular::read_bounded,
};

/// The files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePair {
    /// The certificate, followed by the chain to its issuer, in PEM.
    pub certificate: PathBuf,
    /// The private key of the certificate, in PEM.
    pub key: PathBuf,
}

/// A certificate and its key, checked and ready for use.
#[derive(Debug)]
pub struct LoadedCertificate {
    /// TLS configuration for new sessions.
    pub config: Arc<ServerConfig>,
    /// The reason why clients may reject it.
    pub warning: Option<ValidityWarning>,
    /// The issuer, if its certificate is neither in the file nor surely known to clients.
    pub missing_issuer: Option<MissingIssuer>,
    /// The certificate of the server itself.
    leaf: CertificateDer<'static>,
    /// State of the files just before they were read.
    pub stamp: Stamp,
}

/// A reason why clients may reject a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidityWarning {
    /// Clients have rejected it since that time.
    Expired(SystemTime),
    /// Valid only after that time.
    NotYetValid(SystemTime),
    /// Valid, but expires soon, at that time.
    ExpiresSoon(SystemTime),
    /// Valid at no time, because its end lies before its beginning.
    NeverValid,
}

/// The reason why a pair cannot be used.
#[derive(Debug)]
pub enum Error {
    /// A file cannot be read.
    Unreadable(Part, PathBuf, io::Error),
    /// A file has the wrong content.
    Wrong(Part, PathBuf, String),
    /// The file of the key has the certificate, and the other way round.
    Swapped(CertificatePair),
    /// The key has a passphrase.
    Encrypted(PathBuf),
    /// The key does not belong to the certificate.
    Mismatch(CertificatePair),
    /// No thread could be started to watch the files.
    Thread(io::Error),
}

/// The state of the two files at one moment; it differs after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp([Option<FileStamp>; 2]);

impl CertificatePair {
    /// The files that `restante cert` makes in a directory.
    pub fn made_in(directory: &Path) -> Self {
        Self { certificate: directory.join("certificate.pem"), key: directory.join("key.pem") }
    }

    /// The error for a key with a passphrase, as far as this process may read it.
    pub fn passphrase_error(&self) -> Option<Error> {
        let text = read(Part::Key, &self.key).ok()?;
        is_encrypted_key(&text).then(|| Error::Encrypted(self.key.clone()))
    }

    /// Reads both files and checks that they belong together.
    ///
    /// # Errors
    /// A file cannot be read, is not PEM of the right kind, or does not belong to the other.
    pub fn load(&self, now: SystemTime) -> Result<LoadedCertificate, Error> {
        let (path, stamp) = (&self.certificate, self.stamp());
        let wrong = |why| Error::Wrong(Part::Certificate, path.clone(), why);
        let wrong_key = |why| Error::Wrong(Part::Key, self.key.clone(), why);
        let text = read(Part::Certificate, path)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(pem_error(&error)))?;
        let Some(leaf) = chain.first() else {
            let is_swapped = Part::Key.is_in(&text)
                && read(Part::Key, &self.key).is_ok_and(|text| Part::Certificate.is_in(&text));
            return Err(if is_swapped {
                Error::Swapped(self.clone())
            } else {
                wrong(Part::Certificate.lacks(path, &text))
            });
        };
        let doubt = check_validity(leaf, now).map_err(|error| wrong(certificate_error(&error)))?;
        let missing_issuer = MissingIssuer::of(path, leaf, chain.iter().skip(1).map(|other| &other[..]));
        let leaf = leaf.clone();
        let text = read(Part::Key, &self.key)?;
        if is_encrypted_key(&text) {
            return Err(Error::Encrypted(self.key.clone()));
        }
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            pem::Error::NoItemsFound => wrong_key(Part::Key.lacks(&self.key, &text)),
            error => wrong_key(pem_error(&error)),
        })?;
        let provider = Arc::new(ring::default_provider());
        let later = chain.iter().skip(1).position(|certificate| {
            CertifiedKey::from_der(vec![certificate.clone()], key.clone_key(), &provider).is_ok()
        });
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => match later {
                Some(n) => wrong(wrong_order(n + 2)),
                None => Error::Mismatch(self.clone()),
            },
            // The library says no more than that it cannot read it.
            rustls::Error::General(_) => wrong_key(UNUSABLE_KEY.to_owned()),
            error => wrong_key(error.to_string()),
        })?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions() // 1.2 and 1.3
            .map_err(|error| wrong_key(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        // A client that comes again needs no signature. The server remembers its session, and the ticket is the name of it.
        config.session_storage = ServerSessionMemoryCache::new(MAX_REMEMBERED_SESSIONS);
        config.send_tls13_tickets = TICKETS;
        Ok(LoadedCertificate { config: Arc::new(config), warning: doubt, missing_issuer, leaf, stamp })
    }

    /// The state of the files now.
    pub fn stamp(&self) -> Stamp {
        Stamp([&self.certificate, &self.key].map(|path| FileStamp::of(path)))
    }
}

impl LoadedCertificate {
    /// The reasons why clients may reject the certificate, each to follow its path.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let missing = self.missing_issuer.iter().filter(|missing| missing.is_intermediate);
        self.warning.iter().map(ToString::to_string).chain(missing.map(ToString::to_string))
    }

    /// A sentence about the issuer that is right for many operators, likewise.
    pub fn note(&self) -> Option<String> {
        self.missing_issuer.as_ref().filter(|missing| !missing.is_intermediate).map(ToString::to_string)
    }

    /// Whether clients accept it for a server of that name.
    pub fn is_for(&self, host: &str) -> bool {
        let (Ok(parsed), Ok(name)) = (ParsedCertificate::try_from(&self.leaf), ServerName::try_from(host))
        else {
            return false;
        };
        verify_server_name(&parsed, &name).is_ok()
    }

    /// The reason why clients reject it for a server of that name, to follow its path.
    pub fn unfit_for(&self, hostname: &str) -> Option<String> {
        let why = match common_name_alone(&self.leaf) {
            Some(name) if name.eq_ignore_ascii_case(hostname) => format!(
                "has {hostname}, the `hostname`, only as CN (common name), which clients ignore: make one with subjectAltName"
            ),
            Some(_) => format!(
                "is not for {hostname}, the `hostname`: it has no subjectAltName, and clients ignore the CN (common name): \
                 make one with subjectAltName"
            ),
            None => {
                format!("is not for {hostname}, the `hostname`: clients that connect to that name reject it")
            }
        };
        (!self.is_for(hostname)).then_some(why)
    }
}

fn read(part: Part, path: &Path) -> Result<Vec<u8>, Error> {
    read_bounded(path, MAX_PEM_FILE.0).map_err(|error| Error::Unreadable(part, path.to_owned(), error))
}

/// The reason for a file whose `n`th certificate is that of the key.
fn wrong_order(n: usize) -> String {
    format!(
        "the order of the certificates is wrong: number {n} is the one of the key, and it must stand first, before those \
         of its authorities"
    )
}

/// Checks the validity period of a certificate. The issuer is not checked, because that is the client's task;
/// the period is checked first.
fn check_validity(
    certificate: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<Option<ValidityWarning>, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let at = |now: SystemTime| {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let schemes = ring::default_provider().signature_verification_algorithms;
        let (nobody, now) = (RootCertStore::empty(), UnixTime::since_unix_epoch(since));
        verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], now, schemes.all)
    };
    let date = |time: UnixTime| UNIX_EPOCH + Duration::from_secs(time.as_secs());
    Ok(match at(now) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(ValidityWarning::Expired(date(not_after)))
        }
        // The library says so without a date if the end lies before the beginning.
        Err(rustls::Error::InvalidCertificate(CertificateError::Expired)) => {
            Some(ValidityWarning::NeverValid)
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        })) => Some(ValidityWarning::NotYetValid(date(not_before))),
        _ => match at(now + SOON) {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => Some(ValidityWarning::ExpiresSoon(date(not_after))),
            _ => None,
        },
    })
}

impl fmt::Display for ValidityWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (words, when) = match self {
            Self::Expired(when) => ("has expired", when),
            Self::NotYetValid(when) => ("is not valid before", when),
            Self::ExpiresSoon(when) => ("expires soon", when),
            Self::NeverValid => return f.write_str(NEVER_VALID),
        };
        write!(f, "{words}: {}", humantime::format_rfc3339_seconds(*when))
    }
}

impl Error {
    /// The file at fault.
    pub fn part(&self) -> Part {
        match self {
            Self::Unreadable(part, ..) | Self::Wrong(part, ..) => *part,
            Self::Swapped(_) => Part::Certificate,
            Self::Encrypted(_) | Self::Mismatch(_) | Self::Thread(_) => Part::Key,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(_, path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Wrong(_, path, why) => write!(f, "{}: {why}", path.display()),
            Self::Swapped(pair) => write!(
                f,
                "`certificate` and `key` are swapped: the certificate is in {}, and the key in {}",
                pair.key.display(),
                pair.certificate.display()
            ),
            Self::Encrypted(path) => write!(
                f,
                "the key {} has a passphrase, and the server cannot ask for it: remove it with `openssl pkey -in {} -out \
                 NEW.pem`, which asks for it, and name NEW.pem, a file of the server's user with the mode 600",
                path.display(),
                path_word(path)
            ),
            Self::Mismatch(pair) => write!(
                f,
                "the key in {} is not the key of the certificate in {}: name two files that were made together",
                pair.key.display(),
                pair.certificate.display()
            ),
            Self::Thread(error) => write!(f, "cannot start a thread for the certificate: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, _, error) | Self::Thread(error) => Some(error),
            Self::Wrong(..) | Self::Swapped(_) | Self::Encrypted(_) | Self::Mismatch(_) => None,
        }
    }
}

/// Remaining time at which a certificate should have been renewed.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Sessions of a certificate that clients may resume: some hundred octets each. The oldest is forgotten first.
const MAX_REMEMBERED_SESSIONS: usize = 256;
/// Tickets of one session. A client that resumes one gets another.
const TICKETS: usize = 1;

const NEVER_VALID: &str =
    "ends before it begins (notAfter is before notBefore), and no program takes it: make a new one";
const UNUSABLE_KEY: &str = "this private key cannot be used: make a new one, of RSA with 2048 to 8192 bits, of ECDSA (P-256, \
                            P-384) or of Ed25519";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A matching pair, in files named after `name`.
    fn pair(directory: &Path, name: &str) -> CertificatePair {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let file = |kind: &str, text: String| {
            let path = directory.join(format!("{name}-{kind}.pem"));
            fs::write(&path, text).unwrap();
            path
        };
        let certificate = file("certificate", made.cert.pem());
        CertificatePair { certificate, key: file("key", made.signing_key.serialize_pem()) }
    }

    #[test]
    fn h36_only_what_belongs_together_is_loaded_and_the_file_at_fault_is_named() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (pair(home.path(), "one"), pair(home.path(), "other"));
        let now = SystemTime::now();
        assert_eq!(one.load(now).unwrap().warning, None);

        let junk = home.path().join("junk.pem");
        fs::write(&junk, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let empty = home.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        let odd = home.path().join("odd.pem");
        fs::write(&odd, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        let absent = home.path().join("absent.pem");
        let (at_certificate, at_key) = (Part::Certificate, Part::Key);
        for (certificate, key, part, told) in [
            (&one.certificate, &other.key, at_key, "other-key.pem is not the key of the certificate in"),
            (&one.key, &one.certificate, at_certificate, "are swapped: the certificate is in "),
            (&one.key, &one.key, at_certificate, "one-key.pem: it holds a private key and no certificate: "),
            (
                &one.certificate,
                &one.certificate,
                at_key,
                "one-certificate.pem: it holds a certificate and no private key: ",
            ),
            (&one.certificate, &other.certificate, at_key, "it holds a certificate and no private key: "),
            (&junk, &one.key, at_certificate, "junk.pem: "),
            (&junk, &junk, at_certificate, "junk.pem: "),
            (&empty, &empty, at_certificate, "empty.pem: it is empty: "),
            (&one.certificate, &empty, at_key, "empty.pem: it is empty: "),
            (
                &one.certificate,
                &odd,
                at_key,
                "odd.pem: this private key cannot be used: make a new one, of RSA with 2048",
            ),
            (&absent, &one.key, at_certificate, "absent.pem: No such file"),
            (&one.certificate, &absent, at_key, "absent.pem: No such file"),
        ] {
            let wrong = CertificatePair { certificate: certificate.clone(), key: key.clone() };
            let error = wrong.load(now).unwrap_err();
            assert_eq!(error.part(), part, "{error}");
            let error = error.to_string();
            assert!(error.contains(told), "{told:?} is not in {error:?}");
        }
    }

    #[test]
    fn r26_a_few_hundred_sessions_are_remembered_and_each_has_one_ticket() {
        let home = tempfile::tempdir().unwrap();
        let config = pair(home.path(), "one").load(SystemTime::now()).unwrap().config;
        let key = |n: usize| n.to_be_bytes().to_vec();
        for n in 0..10 * MAX_REMEMBERED_SESSIONS {
            config.session_storage.put(key(n), vec![0; 100]);
        }
        let kept = |n: &usize| config.session_storage.get(&key(*n)).is_some();
        let remembered: Vec<usize> = (0..10 * MAX_REMEMBERED_SESSIONS).filter(kept).collect();
        assert!(remembered.len() <= MAX_REMEMBERED_SESSIONS, "{}", remembered.len());
        assert_eq!(remembered.last(), Some(&(10 * MAX_REMEMBERED_SESSIONS - 1)), "the last ones");
        assert_eq!((config.send_tls13_tickets, config.ticketer.enabled()), (1, false));
    }

    #[test]
    fn n65_the_reason_is_the_true_one() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (pair(home.path(), "one"), pair(home.path(), "other"));
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let file = |name: &str, text: String| {
            let path = home.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let key = text(&one.key);
        let encrypted = file("encrypted.pem", key.replace(" PRIVATE KEY", " ENCRYPTED PRIVATE KEY"));
        let older = key.replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1);
        let older = file("older.pem", older);
        let chain = file("chain.pem", text(&other.certificate) + &text(&one.certificate));
        let whole = text(&one.certificate);
        let cut = file("cut.pem", whole[..whole.len() / 2].to_owned());
        let odd = file("odd.pem", whole.replacen("MII", "M*I", 1));
        for (certificate, key, told) in [
            (&one.certificate, &encrypted, "encrypted.pem has a passphrase"),
            (&one.certificate, &older, "`openssl pkey -in "),
            (&chain, &one.key, "chain.pem: the order of the certificates is wrong: number 2 is the one"),
            (&cut, &one.key, "cut.pem: it is cut off, because it has no line -----END CERTIFICATE-----"),
            (&odd, &one.key, "odd.pem: it is damaged"),
        ] {
            let wrong = CertificatePair { certificate: certificate.clone(), key: key.clone() };
            let error = wrong.load(SystemTime::now()).unwrap_err().to_string();
            assert!(error.contains(told), "{told:?} is not in {error:?}");
            let early = wrong.passphrase_error().map(|error| error.to_string());
            assert_eq!(early, error.contains("passphrase").then_some(error));
        }
    }

    #[test]
    fn h50_a_certificate_that_ends_before_it_begins_is_named() {
        let home = tempfile::tempdir().unwrap();
        let (path, key) = (home.path().join("certificate.pem"), rcgen::KeyPair::generate().unwrap());
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2027, 1, 1), rcgen::date_time_ymd(2026, 1, 1));
        fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
        let pair = CertificatePair { certificate: path, key: home.path().join("key.pem") };
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        for time in ["2025-06-01T00:00:00Z", "2026-06-01T00:00:00Z", "2027-06-01T00:00:00Z"] {
            let loaded = pair.load(humantime::parse_rfc3339(time).unwrap()).unwrap();
            assert_eq!(loaded.warning, Some(ValidityWarning::NeverValid), "{time}");
            let told: Vec<String> = loaded.warnings().collect();
            assert!(told[0].starts_with("ends before it begins (notAfter is before notBefore)"), "{told:?}");
        }
    }

    #[test]
    fn n137_a_name_that_is_only_the_common_name_is_told() {
        let home = tempfile::tempdir().unwrap();
        let (path, key) = (home.path().join("certificate.pem"), rcgen::KeyPair::generate().unwrap());
        let pair = CertificatePair { certificate: path, key: home.path().join("key.pem") };
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        let told = |names: Vec<String>, common: &str| {
            let mut params = rcgen::CertificateParams::new(names).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, common);
            params.is_ca = rcgen::IsCa::ExplicitNoCa; // some extension
            fs::write(&pair.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
            pair.load(SystemTime::now()).unwrap().unfit_for("mx.example.test").unwrap_or_default()
        };
        let why = told(Vec::new(), "MX.example.test");
        assert!(why.starts_with("has mx.example.test, the `hostname`, only as CN"), "{why}");
        let why = told(Vec::new(), "mail.example.test");
        assert!(why.contains("is not for mx.example.test") && why.contains("no subjectAltName"), "{why}");
        let why = told(vec!["mail.example.test".into()], "mx.example.test");
        assert!(why.contains("is not for mx.example.test") && !why.contains("subjectAltName"), "{why}");
        assert_eq!(told(vec!["mx.example.test".into()], "mx.example.test"), "");
    }

    #[test]
    fn a_file_that_is_replaced_removed_or_linked_elsewhere_has_another_stamp() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (pair(home.path(), "one"), pair(home.path(), "other"));
        let live = CertificatePair { certificate: home.path().join("live.pem"), key: one.key };
        let mut stamps = vec![live.stamp()];
        for target in [&one.certificate, &other.certificate] {
            let _ = fs::remove_file(&live.certificate); // the first time there is none
            std::os::unix::fs::symlink(target, &live.certificate).unwrap();
            assert!(!stamps.contains(&live.stamp()));
            assert_eq!(live.stamp(), live.stamp());
            stamps.push(live.stamp());
        }
    }
}
