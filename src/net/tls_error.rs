//! Errors of TLS in words for an operator.

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

/// The error in words. `handshaking`: it came before the end of the handshake.
pub(super) fn describe_error(error: &Error, handshaking: bool) -> String {
    use AlertDescription as Alert;
    match error {
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) if handshaking => "clear text where TLS begins".into(),
        Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon,
        ) => "no cipher or key exchange in common".into(),
        Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon) => {
            "no signature scheme in common".into()
        }
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => "no version in common: TLS 1.2 and 1.3 are spoken here".into(),
        Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown),
        ) => format!("the client rejected the certificate: {alert:?}"),
        Error::AlertReceived(alert) => format!("the client gave up: {alert:?}"),
        error => error.to_string(),
    }
}
