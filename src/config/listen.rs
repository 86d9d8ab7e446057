//! The sections `[[listen]]`: where to listen, for what, and which clients are treated otherwise.

use std::{net::IpAddr, path::Path};

use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IntoDeserializer, value},
};

use super::{TlsMode, error::Mistake};
use crate::{
    net::endpoint::Endpoint,
    proto::{
        dot::LineEndings,
        pop3,
        protocol::{Protocol, Service},
        smtp,
    },
};

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listen {
    /// What is spoken there.
    pub protocol: Service,
    /// Where it is.
    pub address: Endpoint,
    /// What ends a line.
    pub line_endings: LineEndings,
    /// Which generation of the protocol is spoken.
    pub persona: Persona,
    /// Whether every rule of the protocol holds to the letter, and a refusal names the one that was broken.
    pub pedantic: bool,
    /// When TLS begins.
    pub tls: TlsMode,
    /// Whether passwords may come in clear text from other machines too.
    pub plaintext_auth: bool,
    /// Whose mail is taken in without a login, where others need one.
    pub trusted: Networks,
    /// Proxies, which say in a header of the PROXY protocol whose connection they hand over. If there are any,
    /// nobody else is let in.
    pub proxy_protocol: Networks,
}

impl Listen {
    /// Whether nobody on another machine can log in there, for passwords would come in clear text.
    pub fn locks_everybody_out(&self) -> bool {
        let open = self.address.is_local() || self.plaintext_auth || self.tls != TlsMode::None;
        self.protocol.has_logins() && !open
    }

    /// What an operator is told of a listener that is of no use to others.
    pub(super) fn locked_out(&self) -> String {
        format!(
            "nobody on another machine can log in to {} at {}: it has no TLS, and does not say plaintext_auth = true",
            self.protocol, self.address
        )
    }

    /// Whether the listener cannot be at that place: the key that is to be changed, and why.
    pub fn unfit_for(&self, place: &Endpoint) -> Option<(&'static str, String)> {
        if !matches!(place, Endpoint::Unix(_)) {
            return None;
        }
        let service = self.protocol;
        if service != Service::Lmtp {
            return Some((
                "address",
                format!("{service} has an address and a port; only lmtp may be a file"),
            ));
        }
        if self.tls != TlsMode::None {
            return Some(("tls", "what goes through a file stays on this machine: \"none\"".into()));
        }
        if !self.proxy_protocol.is_empty() {
            return Some(("proxy_protocol", "no proxy hands over what goes through a file".into()));
        }
        None
    }
}

/// A generation of one of the protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Persona {
    /// Of SMTP.
    Smtp(smtp::Persona),
    /// Of POP3.
    Pop3(pop3::Persona),
}

impl Persona {
    fn named(service: Service, name: Option<&str>) -> Result<Self, value::Error> {
        fn named<'a, P: Deserialize<'a> + Default>(name: Option<&'a str>) -> Result<P, value::Error> {
            name.map_or(Ok(P::default()), |name| P::deserialize(name.into_deserializer()))
        }
        match service.protocol() {
            Protocol::Smtp | Protocol::Lmtp => named(name).map(Self::Smtp),
            Protocol::Pop3 => named(name).map(Self::Pop3),
        }
    }
}

/// Networks, each as an address and how many of its bits count: `192.168.0.0/16`, `2001:db8::/32`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Loopback: this machine.
    pub fn loopback() -> Self {
        let addresses = [(IpAddr::from([127, 0, 0, 0]), 8), (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), 128)];
        Self(addresses.into_iter().filter_map(|(address, bits)| IpNet::new(address, bits).ok()).collect())
    }

    /// Whether an address is in one of them. An IPv4 address is written as such, not as part of IPv6.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let network = |text: String| {
            text.parse().map_err(|_| {
                let form = "write it like \"192.168.0.0/16\", \"10.0.0.5/32\" or \"2001:db8::/32\"";
                D::Error::custom(format!("{text:?} is not a network: {form}"))
            })
        };
        Vec::deserialize(d)?.into_iter().map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// One section, key by key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    protocol: Service,
    #[serde(deserialize_with = "endpoint")]
    address: Endpoint,
    #[serde(default)]
    line_endings: LineEndings,
    persona: Option<String>,
    #[serde(default)]
    pedantic: bool,
    tls: Option<TlsMode>,
    #[serde(default)]
    plaintext_auth: bool,
    #[serde(default)]
    trusted: Networks,
    #[serde(default)]
    proxy_protocol: Networks,
}

impl Section {
    /// The listener it means, the `n`th of the file; `certificate`: there is one.
    pub(super) fn listen(self, n: usize, directory: &Path, certificate: bool) -> Result<Listen, Mistake> {
        let Self { protocol, line_endings, pedantic, plaintext_auth, trusted, proxy_protocol, .. } = self;
        let persona = Persona::named(protocol, self.persona.as_deref())
            .map_err(|error| Mistake::at(format!("listen.{n}.persona"), error.to_string()))?;
        let address = self.address.below(directory);
        let tls = self.tls.unwrap_or_else(|| TlsMode::usual(protocol, certificate));
        Ok(Listen {
            protocol,
            address,
            line_endings,
            persona,
            pedantic,
            tls,
            plaintext_auth,
            trusted,
            proxy_protocol,
        })
    }
}

fn endpoint<'de, D: Deserializer<'de>>(d: D) -> Result<Endpoint, D::Error> {
    String::deserialize(d)?.parse().map_err(D::Error::custom)
}

/// What the types let pass.
pub(super) fn check(listeners: &[Listen]) -> Result<(), Mistake> {
    for (n, listen) in listeners.iter().enumerate() {
        let wrong = |key: &str, why| Err(Mistake::at(format!("listen.{n}.{key}"), why));
        let (service, address) = (listen.protocol, &listen.address);
        if let Some(other) = listeners[..n].iter().find(|other| other.address.overlaps(address)) {
            let why = if other.address == *address {
                format!("{address} is taken by another listener: every one needs its own")
            } else {
                format!("{address} is taken by the listener at {}: every one needs its own", other.address)
            };
            return wrong("address", why);
        }
        if let Some((key, why)) = listen.unfit_for(address) {
            return wrong(key, why);
        }
        if listen.pedantic && listen.line_endings != LineEndings::Strict {
            return wrong("pedantic", "it takes no line end but CRLF: leave line_endings out".into());
        }
        if listen.plaintext_auth && !service.has_logins() {
            return wrong("plaintext_auth", format!("nobody logs in to {service}; submission is for users"));
        }
        if !listen.trusted.is_empty() && !service.is_submission() {
            return wrong(
                "trusted",
                format!(
                    "{service} asks nobody who sends for a login; this is for submission and submissions"
                ),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{GOOD, load};

    fn with(lines: &str) -> Result<Vec<Listen>, String> {
        let text = GOOD.replace("protocol = \"smtp\"\naddress = \"127.0.0.1:2525\"", lines);
        assert_ne!(text, GOOD);
        load(&text).map(|config| config.listen)
    }

    #[test]
    fn trusted_networks_are_read_and_asked() {
        let lines = "protocol = \"submission\"\naddress = \"[::]:587\"\nplaintext_auth = true\n\
                     trusted = [\"192.168.0.0/16\", \"2001:db8::/32\", \"10.0.0.5/32\"]";
        let listen = &with(lines).unwrap()[0];
        assert!(listen.plaintext_auth);
        for (address, trusted) in [
            ("192.168.255.1", true),
            ("192.169.0.1", false),
            ("10.0.0.5", true),
            ("10.0.0.4", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
            ("127.0.0.1", false),
            ("::ffff:192.168.0.1", false),
        ] {
            assert_eq!(listen.trusted.contain(address.parse().unwrap()), trusted, "{address}");
        }
        assert!(Networks::loopback().contain("127.9.9.9".parse().unwrap()));
        assert!(Networks::loopback().contain("::1".parse().unwrap()));
        assert!(!Networks::default().contain("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn keys_that_do_not_fit_the_service_are_refused() {
        let place = "address = \"127.0.0.1:2525\"";
        for (lines, told) in [
            (
                format!("protocol = \"smtp\"\n{place}\nplaintext_auth = true"),
                "listen.plaintext_auth: nobody logs in to smtp",
            ),
            (
                format!("protocol = \"lmtp\"\n{place}\ntrusted = [\"10.0.0.0/8\"]"),
                "listen.trusted: lmtp asks nobody who sends for a login",
            ),
            (
                format!("protocol = \"submission\"\n{place}\ntrusted = [\"10.0.0.5\"]"),
                "listen.trusted: \"10.0.0.5\" is not a network: write it like \"192.168.0.0/16\"",
            ),
            (
                "protocol = \"smtp\"\naddress = \"unix:x.sock\"".into(),
                "listen.address: smtp has an address and a port; only lmtp may be a file",
            ),
            (
                "protocol = \"lmtp\"\naddress = \"unix:x.sock\"\ntls = \"starttls\"".into(),
                "listen.tls: what goes through a file stays on this machine",
            ),
            (
                format!("protocol = \"smtp\"\n{place}\npedantic = true\nline_endings = \"lenient\""),
                "listen.pedantic: it takes no line end but CRLF",
            ),
            (
                "protocol = \"lmtp\"\naddress = \"unix:x.sock\"\nproxy_protocol = [\"10.0.0.0/8\"]".into(),
                "listen.proxy_protocol: no proxy hands over",
            ),
        ] {
            let error = with(&lines).unwrap_err();
            assert!(error.contains(told), "{told:?} is not in {error:?}");
        }
    }

    #[test]
    fn a_listener_that_nobody_can_log_in_to_is_known() {
        for (lines, locked) in [
            ("protocol = \"pop3\"\naddress = \"0.0.0.0:110\"", true),
            ("protocol = \"submission\"\naddress = \"[::]:587\"", true),
            ("protocol = \"pop3\"\naddress = \"0.0.0.0:110\"\nplaintext_auth = true", false),
            ("protocol = \"pop3\"\naddress = \"127.0.0.1:110\"", false),
            ("protocol = \"smtp\"\naddress = \"0.0.0.0:25\"", false),
        ] {
            assert_eq!(with(lines).unwrap()[0].locks_everybody_out(), locked, "{lines}");
        }
    }

    #[test]
    fn a_socket_in_the_file_system_is_below_the_configuration() {
        let listen = &with("protocol = \"lmtp\"\naddress = \"unix:run/lmtp.sock\"").unwrap()[0];
        let Endpoint::Unix(path) = &listen.address else { panic!("{listen:?}") };
        assert!(path.is_absolute() && path.ends_with("run/lmtp.sock"), "{path:?}");
        assert_eq!((listen.protocol, listen.tls), (Service::Lmtp, TlsMode::None));
    }
}
