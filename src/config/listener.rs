//! The sections `[[listen]]`: listening sockets with their services and rules.

use std::path::Path;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IntoDeserializer, value},
};

use super::{choices::in_plain_choices, error::ConfigError, networks::Networks};
use crate::{
    net::endpoint::Endpoint,
    proto::{
        dot::LineEndings,
        imap::extensions,
        pop3,
        protocol::{Protocol, Service},
        smtp,
        syntax::Syntax,
    },
};

/// A section `[[listen]]` with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListenerConfig {
    /// The service, which implies a protocol and its access rules.
    pub protocol: Service,
    /// The IP address with its port, or the path of a Unix socket.
    pub address: Endpoint,
    /// The group that may connect to a Unix socket, instead of the group of the server's user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_group: Option<String>,
    /// Whether a bare LF ends a line.
    pub line_endings: LineEndings,
    /// The accepted syntax of commands.
    pub syntax: Syntax,
    /// The generation of the protocol.
    #[serde(skip_serializing_if = "Persona::is_only_one")]
    pub persona: Persona,
    /// True if every rule of the protocol is enforced, and a refusal names the broken rule.
    pub strict: bool,
    /// TLS mode of its connections.
    pub tls: TlsMode,
    /// True if other machines may send passwords in clear text.
    pub auth_allow_cleartext: bool,
    /// Networks that may send mail without the login that others need.
    pub trusted_networks: Networks,
    /// Proxies that announce their clients in a header of the PROXY protocol. If there are any, all other
    /// addresses are rejected.
    pub proxy_networks: Networks,
    /// Extensions of IMAP that the listener does without, each after a minus.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imap_capabilities: Vec<String>,
}

impl ListenerConfig {
    /// A listener with the default settings of its service. `certificate` tells whether one is configured.
    pub(super) fn new(protocol: Service, address: Endpoint, certificate: bool) -> Self {
        let persona = match protocol.protocol() {
            Protocol::Smtp | Protocol::Lmtp => Persona::Smtp(smtp::Persona::default()),
            Protocol::Pop3 => Persona::Pop3(pop3::Persona::default()),
            Protocol::Http => Persona::Http,
            Protocol::Imap => Persona::Imap,
        };
        Self {
            protocol,
            address,
            socket_group: None,
            line_endings: LineEndings::default(),
            syntax: Syntax::Forgiving,
            persona,
            strict: false,
            tls: TlsMode::usual(protocol, certificate),
            auth_allow_cleartext: false,
            trusted_networks: Networks::default(),
            proxy_networks: Networks::default(),
            imap_capabilities: Vec::new(),
        }
    }

    /// The reason why no user can log in, or none on another machine, if there is one.
    pub fn login_impossible(&self) -> Option<LoginImpossible> {
        if !self.protocol.has_logins() {
            return None;
        }
        if self.persona == Persona::Smtp(smtp::Persona::Rfc821) {
            return self.trusted_networks.is_empty().then_some(LoginImpossible::PersonaWithoutAuth);
        }
        if self.address.is_local() || self.auth_allow_cleartext {
            return None;
        }
        match (self.tls, self.persona) {
            (TlsMode::None, _) => Some(LoginImpossible::ClearText),
            (TlsMode::Starttls, Persona::Pop3(persona)) if persona != pop3::Persona::Modern => {
                Some(LoginImpossible::PersonaWithoutStls)
            }
            _ => None,
        }
    }

    /// The warning for such a listener.
    pub(super) fn login_impossible_warning(&self) -> Option<String> {
        let (service, address) = (self.protocol, &self.address);
        Some(match self.login_impossible()? {
            LoginImpossible::ClearText => format!(
                "no user on another machine can log in to {service} at {address}: it has neither TLS nor \
                 auth_allow_cleartext = true"
            ),
            LoginImpossible::PersonaWithoutStls => format!(
                "no user on another machine can log in to {service} at {address}: its persona has no STLS, and it has \
                 no auth_allow_cleartext = true"
            ),
            LoginImpossible::PersonaWithoutAuth => format!(
                "no user can log in to {service} at {address}: the persona \"rfc821\" has no AUTH, so nobody can send; \
                 remove `persona`, or use smtp"
            ),
        })
    }

    /// The warnings for networks that have half of the Internet in them, and for a service that believes every machine.
    pub(super) fn network_warnings(&self) -> Vec<String> {
        let (service, address) = (self.protocol, &self.address);
        let warn = |networks: &Networks, key: &str, end: &str| {
            let (who, each) = networks.crowd()?;
            Some(format!("{who} is in {key} of {service} at {address}, so {each} that reaches it {end}"))
        };
        let sends = "sends mail without a login: name your own networks";
        let trusted = warn(&self.trusted_networks, "trusted_networks", sends);
        let claims = "may claim any address: name the addresses of your proxies";
        let proxies = warn(&self.proxy_networks, "proxy_networks", claims);
        let lmtp = format!(
            "lmtp at {address} believes every machine that reaches it: use a loopback address or a socket like \
             \"unix:/run/restante/lmtp.sock\", or let a firewall admit trusted machines alone"
        );
        // A socket of systemd may be any.
        let lmtp = (service == Service::Lmtp && address.ip().is_some()).then_some(lmtp);
        let all = trusted.into_iter().chain(proxies).chain(lmtp);
        all.filter(|_| !address.is_local()).collect()
    }

    /// Returns the key to change and the reason, if the listener cannot use that endpoint.
    pub fn incompatible_with(&self, place: &Endpoint) -> Option<(&'static str, String)> {
        let Endpoint::Unix(path) = place else { return None };
        let service = self.protocol;
        if service != Service::Lmtp {
            return Some((
                "address",
                format!("{service} needs an address and a port; only lmtp may use a socket file"),
            ));
        }
        let octets = path.as_os_str().len();
        if octets > MAX_SOCKET_PATH {
            return Some((
                "address",
                format!(
                    "the path of the socket has {octets} octets, and the kernel takes {MAX_SOCKET_PATH}: use a shorter \
                     one, like \"unix:/run/restante/lmtp.sock\""
                ),
            ));
        }
        if self.tls != TlsMode::None {
            return Some(("tls", "a socket file is local and needs no TLS: \"none\"".into()));
        }
        if !self.proxy_networks.is_empty() {
            return Some(("proxy_networks", "a proxy cannot connect to a socket file".into()));
        }
        None
    }
}

/// A reason why users cannot log in at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginImpossible {
    /// Passwords of other machines would be sent in clear text.
    ClearText,
    /// The same, because the persona does not know STLS.
    PersonaWithoutStls,
    /// The persona does not know AUTH.
    PersonaWithoutAuth,
}

/// A generation of one of the protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Persona {
    /// A generation of SMTP, also for LMTP and submission.
    Smtp(smtp::Persona),
    /// A generation of POP3.
    Pop3(pop3::Persona),
    /// HTTP, which has one generation here.
    Http,
    /// IMAP, which has one generation here.
    Imap,
}

impl Persona {
    /// True if the protocol has one generation, so that there is nothing to configure.
    fn is_only_one(&self) -> bool {
        matches!(self, Self::Http | Self::Imap)
    }

    pub(super) fn named(service: Service, name: Option<&str>) -> Result<Self, value::Error> {
        fn named<'a, P: Deserialize<'a> + Default>(name: Option<&'a str>) -> Result<P, value::Error> {
            name.map_or(Ok(P::default()), |name| P::deserialize(name.into_deserializer()))
        }
        match service.protocol() {
            Protocol::Smtp | Protocol::Lmtp => named(name).map(Self::Smtp),
            Protocol::Pop3 => named(name).map(Self::Pop3),
            Protocol::Http | Protocol::Imap if name.is_some() => {
                Err(value::Error::custom(format!("{service} has no personas")))
            }
            Protocol::Http => Ok(Self::Http),
            Protocol::Imap => Ok(Self::Imap),
        }
    }
}

/// The point at which TLS begins on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Never: STARTTLS and STLS are refused.
    None,
    /// At the client's request, with STARTTLS or STLS.
    Starttls,
    /// Before the first octet of the protocol.
    Implicit,
}

impl TlsMode {
    /// The mode of a listener that does not set one.
    fn usual(service: Service, certificate: bool) -> Self {
        match service {
            _ if service.begins_with_tls() => Self::Implicit,
            // A server of ours, on this machine or on its network.
            Service::Lmtp => Self::None,
            // HTTP has no command that begins TLS.
            Service::Http => Self::None,
            _ if certificate => Self::Starttls,
            _ => Self::None,
        }
    }
}

/// All keys of one section.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    protocol: Service,
    #[serde(deserialize_with = "endpoint")]
    address: Endpoint,
    socket_group: Option<String>,
    #[serde(default)]
    line_endings: LineEndings,
    syntax: Option<Syntax>,
    persona: Option<String>,
    #[serde(default)]
    strict: bool,
    tls: Option<TlsMode>,
    #[serde(default)]
    auth_allow_cleartext: bool,
    #[serde(default)]
    trusted_networks: Networks,
    #[serde(default)]
    proxy_networks: Networks,
    #[serde(default)]
    imap_capabilities: Vec<String>,
}

impl Section {
    /// The socket file that it names.
    pub(super) fn socket(&self) -> Option<&Path> {
        match &self.address {
            Endpoint::Unix(path) => Some(path),
            Endpoint::Ip(_) | Endpoint::Inherited(_) => None,
        }
    }

    /// Converts the `n`th section of the file. `certificate` tells whether one is configured.
    pub(super) fn listen(
        self,
        n: usize,
        directory: &Path,
        certificate: bool,
    ) -> Result<ListenerConfig, ConfigError> {
        let Self {
            protocol,
            socket_group,
            line_endings,
            strict,
            auth_allow_cleartext,
            trusted_networks,
            proxy_networks,
            imap_capabilities,
            ..
        } = self;
        let persona = Persona::named(protocol, self.persona.as_deref())
            .map_err(|error| in_plain_choices(&error.to_string()))
            .map_err(|why| ConfigError::at(format!("listen.{n}.persona"), why))?;
        let address = self.address.relative_to(directory);
        let syntax = self.syntax.unwrap_or(if strict { Syntax::Exact } else { Syntax::Forgiving });
        let tls = self.tls.unwrap_or_else(|| TlsMode::usual(protocol, certificate));
        Ok(ListenerConfig {
            protocol,
            address,
            socket_group,
            line_endings,
            syntax,
            persona,
            strict,
            tls,
            auth_allow_cleartext,
            trusted_networks,
            proxy_networks,
            imap_capabilities,
        })
    }
}

fn endpoint<'de, D: Deserializer<'de>>(d: D) -> Result<Endpoint, D::Error> {
    String::deserialize(d)?.parse().map_err(D::Error::custom)
}

/// Checks what the types cannot express.
pub(super) fn check(listeners: &[ListenerConfig]) -> Result<(), ConfigError> {
    for (n, listen) in listeners.iter().enumerate() {
        let wrong = |key: &str, why| Err(ConfigError::at(format!("listen.{n}.{key}"), why));
        let (service, address) = (listen.protocol, &listen.address);
        if let Some(other) = listeners[..n].iter().find(|other| other.address.overlaps(address)) {
            let why = if other.address == *address {
                format!("{address} is taken by another listener: each needs its own")
            } else {
                format!("{address} is taken by the listener at {}: each needs its own", other.address)
            };
            return wrong("address", why);
        }
        if let Some((key, why)) = listen.incompatible_with(address) {
            return wrong(key, why);
        }
        if listen.socket_group.is_some() && !matches!(address, Endpoint::Unix(_)) {
            return wrong("socket_group", SOCKET_GROUP_WITHOUT_FILE.into());
        }
        if listen.strict && listen.line_endings != LineEndings::Strict {
            return wrong("strict", "it accepts only CRLF as a line end: remove line_endings".into());
        }
        if listen.strict && listen.syntax != Syntax::Exact {
            return wrong("strict", "it accepts only the exact syntax: remove syntax".into());
        }
        if listen.auth_allow_cleartext && !service.has_logins() {
            return wrong(
                "auth_allow_cleartext",
                format!("{service} has no logins; use submission for users"),
            );
        }
        if !listen.imap_capabilities.is_empty() && service.protocol() != Protocol::Imap {
            return wrong(
                "imap_capabilities",
                format!("{service} has no extensions of IMAP; use this with imap and imaps"),
            );
        }
        for (item, text) in listen.imap_capabilities.iter().enumerate() {
            if let Err(why) = extensions::withheld(text) {
                return wrong(&format!("imap_capabilities.{item}"), why);
            }
        }
        if service == Service::Http && listen.tls == TlsMode::Starttls {
            return wrong("tls", "http has no command that begins TLS: use the protocol \"https\"".into());
        }
        if !listen.trusted_networks.is_empty() && !service.is_submission() {
            return wrong(
                "trusted_networks",
                format!("{service} needs no login for sending; use this with submission and submissions"),
            );
        }
    }
    Ok(())
}

const SOCKET_GROUP_WITHOUT_FILE: &str = "only a socket file that the server makes has a group; for a socket of systemd set SocketGroup= in its unit";

/// Octets of a path that a socket address has room for (unix(7): 108 with the final NUL).
const MAX_SOCKET_PATH: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{GOOD, load};

    fn with(lines: &str) -> Result<Vec<ListenerConfig>, String> {
        let text = GOOD.replace("protocol = \"smtp\"\naddress = \"127.0.0.1:2525\"", lines);
        assert_ne!(text, GOOD);
        load(&text).map(|config| config.listen)
    }

    #[test]
    fn keys_that_do_not_fit_the_service_are_refused() {
        let place = "address = \"127.0.0.1:2525\"";
        for (lines, told) in [
            (
                format!("protocol = \"smtp\"\n{place}\nauth_allow_cleartext = true"),
                "listen.auth_allow_cleartext: smtp has no logins",
            ),
            (
                format!("protocol = \"lmtp\"\n{place}\ntrusted_networks = [\"10.0.0.0/8\"]"),
                "listen.trusted_networks: lmtp needs no login for sending",
            ),
            (
                format!("protocol = \"submission\"\n{place}\ntrusted_networks = [\"10.0.0.5\"]"),
                "listen.trusted_networks: \"10.0.0.5\" is not a network: write it like \"192.168.0.0/16\"",
            ),
            (
                "protocol = \"smtp\"\naddress = \"unix:x.sock\"".into(),
                "listen.address: smtp needs an address and a port; only lmtp may use a socket file",
            ),
            (
                "protocol = \"lmtp\"\naddress = \"unix:x.sock\"\ntls = \"starttls\"".into(),
                "listen.tls: a socket file is local and needs no TLS",
            ),
            (
                format!("protocol = \"smtp\"\n{place}\nstrict = true\nline_endings = \"lenient\""),
                "listen.strict: it accepts only CRLF as a line end",
            ),
            (
                format!("protocol = \"smtp\"\n{place}\nstrict = true\nsyntax = \"forgiving\""),
                "listen.strict: it accepts only the exact syntax",
            ),
            (
                "protocol = \"lmtp\"\naddress = \"unix:x.sock\"\nproxy_networks = [\"10.0.0.0/8\"]".into(),
                "listen.proxy_networks: a proxy cannot connect",
            ),
            (
                "protocol = \"lmtp\"\naddress = \"systemd:lmtp\"\nsocket_group = \"postfix\"".into(),
                "listen.socket_group: only a socket file that the server makes has a group",
            ),
            (
                format!("protocol = \"pop3\"\n{place}\nimap_capabilities = [\"-IDLE\"]"),
                "listen.imap_capabilities: pop3 has no extensions of IMAP",
            ),
            (
                format!("protocol = \"imap\"\n{place}\nimap_capabilities = [\"-IDLE\", \"-CONDSTOR\"]"),
                ", line 8, column 31: listen.imap_capabilities: \"-CONDSTOR\" is not an extension of IMAP that this server \
                 has: did you mean \"-CONDSTORE\"?",
            ),
            (
                format!("protocol = \"imap\"\n{place}\npersona = \"modern\""),
                "listen.persona: imap has no personas",
            ),
            (
                "protocol = \"imap\"\naddress = \"unix:x.sock\"".into(),
                "listen.address: imap needs an address and a port; only lmtp may use a socket file",
            ),
        ] {
            let error = with(&lines).unwrap_err();
            assert!(error.contains(told), "{told:?} is not in {error:?}");
        }
    }

    #[test]
    fn w02_line_ends_and_syntax_are_two_settings() {
        for (lines, line_endings, syntax) in [
            ("", LineEndings::Strict, Syntax::Forgiving),
            ("line_endings = \"lenient\"", LineEndings::Lenient, Syntax::Forgiving),
            ("syntax = \"exact\"", LineEndings::Strict, Syntax::Exact),
            ("line_endings = \"lenient\"\nsyntax = \"exact\"", LineEndings::Lenient, Syntax::Exact),
            ("strict = true", LineEndings::Strict, Syntax::Exact),
            ("strict = true\nsyntax = \"exact\"", LineEndings::Strict, Syntax::Exact),
        ] {
            let listen =
                &with(&format!("protocol = \"smtp\"\naddress = \"127.0.0.1:2525\"\n{lines}")).unwrap()[0];
            assert_eq!((listen.line_endings, listen.syntax), (line_endings, syntax), "{lines}");
        }
    }

    #[test]
    fn a_listener_that_nobody_can_log_in_to_is_known() {
        for (lines, locked) in [
            ("protocol = \"pop3\"\naddress = \"0.0.0.0:110\"", true),
            ("protocol = \"submission\"\naddress = \"[::]:587\"", true),
            ("protocol = \"imap\"\naddress = \"0.0.0.0:143\"", true),
            ("protocol = \"imap\"\naddress = \"127.0.0.1:143\"", false),
            ("protocol = \"pop3\"\naddress = \"0.0.0.0:110\"\nauth_allow_cleartext = true", false),
            ("protocol = \"pop3\"\naddress = \"127.0.0.1:110\"", false),
            ("protocol = \"smtp\"\naddress = \"0.0.0.0:25\"", false),
        ] {
            assert_eq!(with(lines).unwrap()[0].login_impossible().is_some(), locked, "{lines}");
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
