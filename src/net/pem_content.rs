//! The parts of a certificate's pair of files, and the reason why a file lacks the part that it is named for.
//!
//! The rule: the reason has the next step. Other files are looked at only to name the one that is meant.

use std::path::{Path, PathBuf};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::ParsedCertificate,
};

use crate::{
    command_hint::path_word,
    open_regular::read_bounded,
    path_hint::{entries, near_path},
};

/// One of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The certificate, with the chain to its issuer.
    Certificate,
    /// The private key.
    Key,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "private key",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Certificate => Self::Key,
            Self::Key => Self::Certificate,
        }
    }

    /// Whether a file of that content has this part, in PEM.
    pub(super) fn is_in(self, text: &[u8]) -> bool {
        match self {
            Self::Certificate => CertificateDer::from_pem_slice(text).is_ok(),
            Self::Key => PrivateKeyDer::from_pem_slice(text).is_ok() || is_encrypted_key(text),
        }
    }

    /// Whether a file of that content is this part, in DER.
    fn is_der(self, octets: &[u8]) -> bool {
        match self {
            Self::Certificate => ParsedCertificate::try_from(&CertificateDer::from(octets)).is_ok(),
            Self::Key => PrivateKeyDer::try_from(octets).is_ok(),
        }
    }

    /// The path that is meant by one that leads to no such file: of a name that is near, or the files in its directory that
    /// have this part.
    pub fn meant_by(self, path: &Path) -> Vec<PathBuf> {
        // A file that this process may not read can be the one.
        let may_be =
            |path: &Path| read_bounded(path, MAX_LOOK).map_or(path.is_file(), |text| self.is_in(&text));
        match near_path(path, may_be) {
            Some(near) => vec![near],
            None => self.files_in(path.parent().unwrap_or(path)),
        }
    }

    /// The files of a directory that have this part, as far as this process may read them. The whole chain of certbot is
    /// better than one of its certificates.
    pub fn files_in(self, directory: &Path) -> Vec<PathBuf> {
        let has = |path: &PathBuf| read_bounded(path, MAX_LOOK).is_ok_and(|text| self.is_in(&text));
        let mut files: Vec<_> = entries(directory).take(MAX_FILES).filter(has).collect();
        files.sort();
        match files.iter().position(|file| file.ends_with("fullchain.pem")) {
            Some(n) => vec![files.swap_remove(n)],
            None => files,
        }
    }

    /// The reason for a file of that content, which lacks this part.
    pub(super) fn lacks(self, path: &Path, text: &[u8]) -> String {
        let (name, other, word) = (self.name(), self.other(), path_word(path));
        if text.trim_ascii().is_empty() {
            return format!("it is empty: {}", self.advice(path));
        }
        if is_pkcs12(text) {
            let (option, mode) = match self {
                Self::Certificate => ("-nokeys", ""),
                Self::Key => ("-nocerts -nodes", ", with the mode 600"),
            };
            return format!(
                "it is an archive of PKCS #12, and PEM is needed: extract the {name} with `openssl pkcs12 -in {word} {option} \
                 -out NEW.pem`, and name NEW.pem{mode}"
            );
        }
        if other.is_in(text) || other.is_der(text) {
            return format!("it holds a {} and no {name}: {}", other.name(), self.advice(path));
        }
        if self.is_der(text) {
            let (command, mode) = match self {
                Self::Certificate => ("x509", ""),
                Self::Key => ("pkey", ", with the mode 600"),
            };
            return format!(
                "it is DER, and PEM is needed: convert it with `openssl {command} -inform der -in {word} -out NEW.pem`, and \
                 name NEW.pem{mode}"
            );
        }
        match label(text) {
            Some(label) => format!("it holds a {label} and no {name}: {}", self.advice(path)),
            None => format!("there is no {name} in it: {}", self.advice(path)),
        }
    }

    /// The next step after a file without this part.
    fn advice(self, path: &Path) -> String {
        let files = self.files_in(path.parent().unwrap_or(path));
        did_you_mean(&files).unwrap_or_else(|| match self {
            Self::Certificate => "name a PEM file with a line -----BEGIN CERTIFICATE-----".into(),
            Self::Key => "name a PEM file with a line -----BEGIN PRIVATE KEY-----".into(),
        })
    }
}

/// The question for the paths that may be meant, if there are any.
pub fn did_you_mean(files: &[PathBuf]) -> Option<String> {
    let names: Vec<String> = files.iter().take(MAX_SHOWN).map(|file| file.display().to_string()).collect();
    let (last, first) = names.split_last()?;
    let first = if first.is_empty() { String::new() } else { format!("{} or ", first.join(", ")) };
    let more = if files.len() > MAX_SHOWN { ", or another one beside them" } else { "" };
    Some(format!("did you mean {first}{last}{more}?"))
}

/// Whether a key has a passphrase, in the form of PKCS #8 (RFC 5958 section 3) or in the older one (RFC 1421).
pub(super) fn is_encrypted_key(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// Whether the octets begin as an archive: a sequence whose first element is the number 3 (RFC 7292 section 4).
fn is_pkcs12(octets: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = octets else { return false };
    let skipped = if *length < 0x80 { 0 } else { usize::from(length & 0x7f) };
    rest.get(skipped..).is_some_and(|content| content.starts_with(&[2, 1, 3]))
}

/// The first label of a PEM file (RFC 7468 section 2), like `CERTIFICATE REQUEST`.
fn label(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let is_label = |label: &&str| {
        label.len() <= MAX_LABEL
            && label.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ')
    };
    let mut labels =
        text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    labels.find(is_label).map(str::to_owned)
}

/// Files of a directory that are looked at, and octets of each.
const MAX_FILES: usize = 50;
const MAX_LOOK: u64 = 64 << 10;
/// Files in a question.
const MAX_SHOWN: usize = 3;
/// Octets of a label in a message.
const MAX_LABEL: usize = 40;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn h36_the_reason_for_a_file_of_another_kind_has_the_next_step() {
        let home = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let path = home.path().join("it");
        let pkcs12 = [&[0x30, 0x82, 1, 0, 2, 1, 3, 0x30][..], &[0; 9]].concat();
        let request = b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
        for (part, text, told) in [
            (Part::Key, certificate.as_bytes(), "it holds a certificate and no private key: name a PEM file"),
            (Part::Key, made.cert.der(), "it holds a certificate and no private key: name a PEM file"),
            (Part::Certificate, key.as_bytes(), "it holds a private key and no certificate: name a PEM file"),
            (Part::Key, b" \n", "it is empty: name a PEM file with a line -----BEGIN PRIVATE KEY-----"),
            (Part::Certificate, b"", "it is empty: name a PEM file with a line -----BEGIN CERTIFICATE-----"),
            (
                Part::Key,
                made.signing_key.serialized_der(),
                "it is DER, and PEM is needed: convert it with `openssl pkey ",
            ),
            (
                Part::Certificate,
                made.cert.der(),
                "it is DER, and PEM is needed: convert it with `openssl x509 ",
            ),
            (
                Part::Key,
                &pkcs12,
                "it is an archive of PKCS #12, and PEM is needed: extract the private key with `openssl pkcs12 -in ",
            ),
            (
                Part::Certificate,
                &pkcs12,
                "it is an archive of PKCS #12, and PEM is needed: extract the certificate with `openssl pkcs12 -in ",
            ),
            (
                Part::Certificate,
                request,
                "it holds a CERTIFICATE REQUEST and no certificate: name a PEM file",
            ),
            (Part::Key, b"sesame", "there is no private key in it: name a PEM file"),
        ] {
            let why = part.lacks(&path, text);
            assert!(why.starts_with(told), "{told:?} is not in {why:?}");
        }
        let at = |name: &str| home.path().join(name);
        fs::write(at("key.pem"), &key).unwrap();
        fs::write(at("cert.pem"), &certificate).unwrap();
        let why = Part::Key.lacks(&at("cert.pem"), certificate.as_bytes());
        assert!(why.ends_with(&format!("did you mean {}?", at("key.pem").display())), "{why}");
        fs::write(at("chain.pem"), &certificate).unwrap();
        assert_eq!(Part::Certificate.files_in(home.path()), [at("cert.pem"), at("chain.pem")]);
        let told = did_you_mean(&Part::Certificate.meant_by(&at("mx.pem"))).unwrap();
        assert!(told.contains("cert.pem or ") && told.ends_with("chain.pem?"), "{told}");
        fs::write(at("fullchain.pem"), &certificate).unwrap();
        assert_eq!(Part::Certificate.files_in(home.path()), [at("fullchain.pem")]);
        fs::write(at("key.der"), made.signing_key.serialized_der()).unwrap();
        for typed in ["kye.pem", "key", "key.de"] {
            assert_eq!(Part::Key.meant_by(&at(typed)), [at("key.pem")], "{typed}");
        }
        let told = did_you_mean(&["a", "b", "c", "d"].map(PathBuf::from)).unwrap();
        assert_eq!(told, "did you mean a, b or c, or another one beside them?");
    }
}
