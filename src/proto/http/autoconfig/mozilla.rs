//! Mozilla's format, version 1.1, which Thunderbird, K-9 Mail, Evolution, KMail, FairEmail and Delta Chat read.
//!
//! The rule: the file names no user. Programs put the address in place of `%EMAILADDRESS%`; some send another one on
//! purpose, to keep the user's to themselves.

use super::{settings::Settings, xml::Xml};
use crate::proto::http::{
    api::Document,
    autoconfig::servers::{MailEncryption, MailServer},
};

pub(super) fn document(settings: &Settings<'_>) -> Document {
    let bytes = Xml::document("", |xml| {
        xml.element("clientConfig", &[("version", "1.1")], |xml| {
            xml.element("emailProvider", &[("id", settings.domain.as_str())], |xml| provider(settings, xml));
        });
    });
    Document::new("text/xml; charset=utf-8", bytes)
}

fn provider(settings: &Settings<'_>, xml: &mut Xml) {
    for name in ["domain", "displayName", "displayShortName"] {
        xml.leaf(name, &settings.domain);
    }
    for server in settings.servers.incoming() {
        self::server("incomingServer", settings, server, xml);
    }
    for server in settings.servers.outgoing() {
        self::server("outgoingServer", settings, server, xml);
    }
}

fn server(element: &'static str, settings: &Settings<'_>, server: MailServer, xml: &mut Xml) {
    xml.element(element, &[("type", server.protocol.autoconfig_name())], |xml| {
        xml.leaf("hostname", &settings.host);
        xml.leaf("port", &server.port.to_string());
        xml.leaf("socketType", socket_type(server.encryption));
        xml.leaf("authentication", "password-cleartext");
        xml.leaf("username", "%EMAILADDRESS%");
    });
}

/// The words are case-sensitive.
fn socket_type(encryption: MailEncryption) -> &'static str {
    match encryption {
        MailEncryption::Tls => "SSL",
        MailEncryption::StartTls => "STARTTLS",
        MailEncryption::None => "plain",
    }
}
