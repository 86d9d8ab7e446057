//! Apple's format: a configuration profile with a payload `com.apple.mail.managed`, for macOS and iOS.
//!
//! The rule: a profile holds no password. A device asks for it at the installation, and for an address that is missing.

use std::fmt::Write as _;

use blake2::{Blake2s, Digest, digest::consts::U16};

use super::{
    settings::{NO_SERVERS, Settings},
    xml::Xml,
};
use crate::proto::http::{
    api::Document,
    autoconfig::servers::{MailEncryption, MailServer},
    status::Refusal,
};

pub(super) fn document(settings: &Settings<'_>) -> Result<Document, Refusal> {
    let (incoming, outgoing) = (settings.servers.incoming().next(), settings.servers.outgoing().next());
    let (Some(incoming), Some(outgoing)) = (incoming, outgoing) else { return Err(NO_SERVERS) };
    let account = account(settings, incoming, outgoing);
    let bytes = Xml::document(DOCTYPE, |xml| {
        xml.element("plist", &[("version", "1.0")], |xml| {
            xml.element("dict", &[], |xml| {
                xml.leaf("key", "PayloadContent");
                xml.element("array", &[], |xml| {
                    xml.element("dict", &[], |xml| write(&account, xml));
                });
                write(&profile(settings), xml);
            });
        });
    });
    Ok(Document::new("application/x-apple-aspen-config", bytes))
}

/// A value of a property list.
enum Value {
    Text(String),
    Number(u16),
    Flag(bool),
}

type Entry = (&'static str, Value);

fn write(entries: &[Entry], xml: &mut Xml) {
    for (key, value) in entries {
        xml.leaf("key", key);
        match value {
            Value::Text(text) => xml.leaf("string", text),
            Value::Number(number) => xml.leaf("integer", &number.to_string()),
            Value::Flag(true) => xml.empty("true"),
            Value::Flag(false) => xml.empty("false"),
        }
    }
}

/// The keys of the account.
fn account(settings: &Settings<'_>, incoming: MailServer, outgoing: MailServer) -> Vec<Entry> {
    let text = |text: &str| Value::Text(text.to_owned());
    // A device finds out at the port whether TLS comes first, or after STARTTLS.
    let is_encrypted = |server: MailServer| Value::Flag(server.encryption != MailEncryption::None);
    let mut entries = vec![
        ("EmailAccountDescription", text(title(settings))),
        ("EmailAccountType", text(incoming.protocol.account_type().unwrap_or_default())),
        ("IncomingMailServerAuthentication", text("EmailAuthPassword")),
        ("IncomingMailServerHostName", text(&settings.host)),
        ("IncomingMailServerPortNumber", Value::Number(incoming.port)),
        ("IncomingMailServerUseSSL", is_encrypted(incoming)),
        ("OutgoingMailServerAuthentication", text("EmailAuthPassword")),
        ("OutgoingMailServerHostName", text(&settings.host)),
        ("OutgoingMailServerPortNumber", Value::Number(outgoing.port)),
        ("OutgoingMailServerUseSSL", is_encrypted(outgoing)),
        ("OutgoingPasswordSameAsIncomingPassword", Value::Flag(true)),
    ];
    if let Some(login) = &settings.login {
        let keys = ["EmailAddress", "IncomingMailServerUsername", "OutgoingMailServerUsername"];
        entries.extend(keys.map(|key| (key, text(login))));
    }
    entries.extend(payload(settings, "com.apple.mail.managed"));
    entries
}

/// The keys of the profile.
fn profile(settings: &Settings<'_>) -> Vec<Entry> {
    let mut entries = payload(settings, "Configuration");
    entries.push(("PayloadOrganization", Value::Text(settings.domain.clone())));
    entries.push(("PayloadRemovalDisallowed", Value::Flag(false)));
    entries
}

/// The keys that every payload has.
fn payload(settings: &Settings<'_>, kind: &'static str) -> Vec<Entry> {
    let id = uuid(settings, kind);
    vec![
        ("PayloadDisplayName", Value::Text(format!("Mail: {}", title(settings)))),
        ("PayloadIdentifier", Value::Text(format!("{}.mail.{id}", settings.host))),
        ("PayloadType", Value::Text(kind.to_owned())),
        ("PayloadUUID", Value::Text(id)),
        ("PayloadVersion", Value::Number(1)),
    ]
}

fn title<'a>(settings: &'a Settings<'_>) -> &'a str {
    settings.login.as_deref().unwrap_or(&settings.domain)
}

/// A UUID of version 8 (RFC 9562 section 5.8). It is always the same for one address, so that a device replaces the
/// profile that it has.
fn uuid(settings: &Settings<'_>, kind: &str) -> String {
    let mut hash = Blake2s::<U16>::new();
    for part in [settings.host.as_str(), title(settings), kind] {
        hash.update(part);
        hash.update([0]);
    }
    let mut octets = hash.finalize();
    octets[6] = octets[6] & 0x0f | 0x80;
    octets[8] = octets[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (n, octet) in octets.iter().enumerate() {
        if [4, 6, 8, 10].contains(&n) {
            text.push('-');
        }
        let _ = write!(text, "{octet:02X}"); // writing to a String cannot fail
    }
    text
}

const DOCTYPE: &str = "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
                       \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\r\n";
