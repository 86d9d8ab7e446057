//! Errors of certificates and of PEM files, in words for people. A leaf: imports no other module of the crate.

use rustls::{CertificateError, Error, pki_types::pem};

/// The reason why a PEM file cannot be read.
pub(crate) fn pem_error(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            let label = label.trim().trim_matches('-').trim_start_matches("END ");
            format!("it is cut off, because it has no line -----END {label}-----: copy the whole file again")
        }
        pem::Error::IllegalSectionStart { line } => {
            let line = String::from_utf8_lossy(line);
            format!("it is damaged in the line {:?}: copy the whole file again", line.trim())
        }
        pem::Error::Base64Decode(_) => {
            "it is damaged, because it has a character that base64 does not have: copy the \
                                        whole file again"
                .into()
        }
        error => error.to_string(),
    }
}

/// The reason why a certificate cannot be used, without its dates and names.
pub(crate) fn certificate_error(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::BadEncoding) => {
            "the certificate is damaged: copy the whole file again".into()
        }
        // With a date it has expired; without one, its end lies before its beginning.
        Error::InvalidCertificate(CertificateError::Expired) => {
            "the certificate ends before it begins (notAfter is before notBefore), and no program takes it: the server \
             needs a new one"
                .into()
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "the signature of the certificate is wrong: it was changed, or another authority of the same name signed it"
                .into()
        }
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("UnsupportedCertVersion") =>
        {
            "the certificate has version 1, without the names of the server, and no program takes it: make one of \
             version 3, with subjectAltName"
                .into()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n65_a_damaged_file_is_told_in_plain_words() {
        let cut = pem_error(&pem::Error::MissingSectionEnd { end_marker: b"CERTIFICATE-----".to_vec() });
        assert!(cut.contains("no line -----END CERTIFICATE-----: copy"), "{cut}");
        let odd = pem_error(&pem::Error::IllegalSectionStart { line: b"-----BEGIN\n".to_vec() });
        assert!(odd.contains("in the line \"-----BEGIN\""), "{odd}");
        assert!(!pem_error(&pem::Error::Base64Decode("InvalidCharacter(9)".into())).contains('('));
        let damaged = certificate_error(&Error::InvalidCertificate(CertificateError::BadEncoding));
        assert!(damaged.starts_with("the certificate is damaged"), "{damaged}");
        let never = certificate_error(&Error::InvalidCertificate(CertificateError::Expired));
        assert!(never.starts_with("the certificate ends before it begins"), "{never}");
    }
}
