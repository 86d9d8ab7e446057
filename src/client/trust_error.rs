//! The reasons for which the certificates of a file cannot be trusted.

use std::path::PathBuf;

use rustls::{CertificateError, Error, pki_types::pem};

use super::strings;
use crate::{
    certificate_words::{certificate_error, pem_error},
    language::Language,
};

/// TLS cannot begin, because a client has no certificates to trust.
#[derive(Debug)]
pub enum TrustError {
    /// A file has none.
    File(PathBuf, TrustCause),
    /// The library refuses its configuration, for this reason.
    Library(String),
}

/// The reason for which the certificates of a file cannot be trusted.
#[derive(Debug)]
pub enum TrustCause {
    /// The file cannot be read as PEM.
    Pem(pem::Error),
    /// The file has no certificate.
    Empty,
    /// The library does not take the certificates.
    Certificate(Error),
    /// Another reason, in words.
    Other(String),
}

impl TrustError {
    /// The sentence for the user.
    pub fn describe(&self, language: Language) -> String {
        let (path, cause) = match self {
            Self::File(path, cause) => (path, cause),
            Self::Library(why) => return why.clone(),
        };
        let why = match (cause, language) {
            (TrustCause::Empty, _) => strings::NO_CERTIFICATE.text(language).to_owned(),
            (TrustCause::Other(why), _) => why.clone(),
            (TrustCause::Pem(pem::Error::Io(error)), _) => language.reason(error),
            (TrustCause::Pem(error), Language::English) => pem_error(error),
            (TrustCause::Pem(error), Language::French) => french_pem_error(error),
            (TrustCause::Certificate(error), Language::English) => certificate_error(error),
            (TrustCause::Certificate(error), Language::French) => french_certificate_error(error),
        };
        strings::UNUSABLE_CERTIFICATES.format(language, &[&path.display(), &why])
    }
}

/// [`pem_error`] in French.
fn french_pem_error(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            let label = label.trim().trim_matches('-').trim_start_matches("END ");
            format!(
                "il est coupé, car il n'a pas de ligne -----END {label}----- : copiez-le de nouveau en entier"
            )
        }
        pem::Error::IllegalSectionStart { line } => {
            let line = String::from_utf8_lossy(line);
            format!("il est abîmé à la ligne {:?} : copiez-le de nouveau en entier", line.trim())
        }
        pem::Error::Base64Decode(_) => {
            "il est abîmé, car il contient un caractère étranger à base64 : copiez-le de nouveau en entier"
                .into()
        }
        error => error.to_string(),
    }
}

/// [`certificate_error`] in French.
fn french_certificate_error(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::BadEncoding) => {
            "le certificat est abîmé : copiez le fichier de nouveau en entier".into()
        }
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("UnsupportedCertVersion") =>
        {
            "le certificat est de version 1, sans les noms du serveur, et aucun programme ne l'accepte : il en faut un de \
             version 3, avec subjectAltName"
                .into()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::client::{Tls, Trust};

    #[test]
    fn u99_a_file_of_certificates_that_cannot_be_used_is_told_in_french() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ca.pem");
        let told = || Tls::new(&Trust::File(path.clone())).unwrap_err().describe(Language::French);
        let end = " ; indiquez un fichier PEM qui contient des certificats";
        let absent = told();
        assert!(absent.contains("n'existe pas") && absent.ends_with(end), "{absent}");
        for (content, why) in [
            ("", "il n'y a pas de certificat"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "pas de ligne -----END CERTIFICATE-----"),
            ("-----BEGIN CERT\n", "il est abîmé à la ligne"),
            ("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n", "étranger à base64"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "le certificat est abîmé"),
        ] {
            fs::write(&path, content).unwrap();
            let told = told();
            assert!(told.contains(why) && told.ends_with(end), "{content:?}: {told}");
        }
    }
}
