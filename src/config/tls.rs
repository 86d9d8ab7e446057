//! The section `[tls]`, and the listeners that use it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    Config, Error, ListenerConfig, Networks, TlsMode,
    error::{CREDENTIALS, ConfigError},
};
use crate::{net::certificate::CertificatePair, proto::protocol::Service};

/// The section `[tls]` as written: both paths may be relative.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    certificate: PathBuf,
    key: PathBuf,
}

impl Section {
    /// The paths with their keys.
    pub(super) fn paths(&self) -> [(&'static str, &PathBuf); 2] {
        [("tls.certificate", &self.certificate), ("tls.key", &self.key)]
    }

    /// The files of the section, relative to the configuration. Credentials are where systemd has put them;
    /// for a command run by hand they are in `tls/`, from where the unit loads them.
    pub(super) fn pair(self, directory: &Path, credentials: Option<&Path>) -> CertificatePair {
        let place = |path: PathBuf| match path.strip_prefix(CREDENTIALS) {
            Ok(name) => {
                credentials.map_or_else(|| directory.join(UNSET_CREDENTIALS), Path::to_owned).join(name)
            }
            Err(_) => directory.join(path),
        };
        CertificatePair { certificate: place(self.certificate), key: place(self.key) }
    }
}

/// The addresses of the listeners that begin with TLS.
#[derive(Debug, Clone, Copy)]
pub struct TlsAddresses {
    /// Of SMTP.
    pub smtps: SocketAddr,
    /// Of IMAP, if there is IMAP.
    pub imaps: SocketAddr,
    /// Of POP3.
    pub pop3s: SocketAddr,
}

impl Config {
    /// Adds TLS: STARTTLS on the existing listeners, and at these addresses listeners with TLS from the first octet.
    ///
    /// # Errors
    /// An address is taken, or is not loopback although it has to be.
    pub fn with_tls(mut self, pair: CertificatePair, at: TlsAddresses) -> Result<Self, Error> {
        let same = |listen: &ListenerConfig| match listen.protocol {
            // As without TLS, no login is needed here.
            Service::Smtp => (Service::Submissions, at.smtps, Networks::loopback()),
            Service::Imap => (Service::Imaps, at.imaps, Networks::default()),
            _ => (Service::Pop3s, at.pop3s, Networks::default()),
        };
        let secure = |listen: &ListenerConfig| {
            let (protocol, address, trusted_networks) = same(listen);
            let address = address.into();
            ListenerConfig { protocol, address, tls: TlsMode::Implicit, trusted_networks, ..listen.clone() }
        };
        let has_starttls = |listen: &ListenerConfig| listen.protocol != Service::Http;
        let secure: Vec<_> = self.listen.iter().filter(|listen| has_starttls(listen)).map(secure).collect();
        for listen in self.listen.iter_mut().filter(|listen| has_starttls(listen)) {
            listen.tls = TlsMode::Starttls;
        }
        self.listen.extend(secure);
        self.tls = Some(pair);
        self.check().map_err(|mistake| Error::Development(mistake.why))?;
        Ok(self)
    }
}

/// Checks what the types cannot express.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    for (n, listen) in config.listen.iter().enumerate() {
        let wrong = |why: String| Err(ConfigError::at(format!("listen.{n}.tls"), why));
        let service = listen.protocol;
        if service.begins_with_tls() && listen.tls != TlsMode::Implicit {
            return wrong(format!("{service} begins with TLS: use \"implicit\", or another protocol"));
        }
        if listen.tls != TlsMode::None && config.tls.is_none() {
            return wrong(
                "there is no certificate: add a section [tls] with certificate and key; \
                 `restante cert --self-signed DIR` makes one for tests"
                    .into(),
            );
        }
    }
    Ok(())
}

const UNSET_CREDENTIALS: &str = "tls";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{GOOD, load};

    const TLS: &str = "\n[tls]\ncertificate = \"tls/chain.pem\"\nkey = \"/etc/key.pem\"\n";

    fn modes(text: &str) -> Vec<TlsMode> {
        load(text).unwrap().listen.iter().map(|listen| listen.tls).collect()
    }

    #[test]
    fn what_a_listener_does_not_say_its_name_says() {
        assert_eq!(modes(GOOD), [TlsMode::None, TlsMode::None]);
        let secure = GOOD.to_owned() + TLS;
        assert_eq!(modes(&secure), [TlsMode::Starttls, TlsMode::Starttls]);
        let implicit = secure.replace("\"smtp\"", "\"smtps\"").replace("\"pop3\"", "\"pop3s\"");
        assert_eq!(modes(&implicit), [TlsMode::Implicit, TlsMode::Implicit]);
        let never = secure.replace("protocol", "tls = \"none\"\nprotocol");
        assert_eq!(modes(&never), [TlsMode::None, TlsMode::None]);
        let config = load(&implicit).unwrap();
        assert_eq!(load(&config.effective()).unwrap(), config);
    }

    #[test]
    fn tls_without_a_certificate_is_refused() {
        for (good, bad) in [
            ("protocol = \"smtp\"", "protocol = \"submissions\""),
            ("protocol = \"pop3\"", "protocol = \"pop3\"\ntls = \"starttls\""),
        ] {
            let error = load(&GOOD.replace(good, bad)).unwrap_err();
            assert!(error.contains("listen.tls: there is no certificate"), "{error}");
        }
    }

    #[test]
    fn a_service_that_is_named_for_tls_has_it() {
        let plain = GOOD.replace("\"pop3\"", "\"pop3s\"\ntls = \"starttls\"") + TLS;
        let error = load(&plain).unwrap_err();
        assert!(error.contains("listen.tls: pop3s begins with TLS: use \"implicit\""), "{error}");
    }

    #[test]
    fn files_are_beside_the_configuration_or_among_the_credentials() {
        let section = || Section { certificate: "a.pem".into(), key: "$CREDENTIALS_DIRECTORY/b.pem".into() };
        let (etc, run) = (Path::new("/etc"), Path::new("/run/credentials/restante"));
        let pair = section().pair(etc, Some(run));
        assert_eq!(pair.certificate, Path::new("/etc/a.pem"));
        assert_eq!(pair.key, Path::new("/run/credentials/restante/b.pem"));
        assert_eq!(section().pair(etc, None).key, Path::new("/etc/tls/b.pem"));
    }
}
