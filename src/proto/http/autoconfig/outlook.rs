//! Outlook's format, autodiscover ("POX", MS-OXDSCLI), which Thunderbird and Delta Chat read too.

use html5gum::{Token, Tokenizer};

use super::{
    settings::{BAD_ADDRESS, Settings},
    xml::Xml,
};
use crate::proto::http::{
    api::Document,
    autoconfig::servers::{MailEncryption, MailServer},
    status::{Refusal, Status},
};

/// The address in a request. The reader takes it from the first element of that name, in any namespace. It resolves no
/// entity but the five of XML and those of HTML, and follows no reference, so no request makes it read or grow.
pub(super) fn requested_address(body: &[u8]) -> Result<String, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| NOT_XML)?;
    let (mut address, mut schema) = (None, None);
    let mut element = Vec::new();
    let mut content = String::new();
    for token in Tokenizer::new(text).map_while(Result::ok) {
        match token {
            Token::StartTag(tag) if !tag.self_closing => {
                element = local_name(&tag.name).to_owned();
                content.clear();
            }
            Token::String(text) => content.push_str(&String::from_utf8_lossy(&text)),
            Token::EndTag(tag) if *element == *local_name(&tag.name) => {
                let value = Some(content.trim().to_owned());
                match &*element {
                    b"emailaddress" => address = address.or(value),
                    b"acceptableresponseschema" => schema = schema.or(value),
                    _ => {}
                }
                element.clear();
            }
            _ => {}
        }
    }
    if schema.is_some_and(|schema| schema != SETTINGS) {
        return Err(OTHER_SCHEMA);
    }
    address.filter(|address| !address.is_empty()).ok_or(NO_ADDRESS)
}

/// The name of an element without the prefix of its namespace. The tokenizer has made it lower case.
fn local_name(name: &[u8]) -> &[u8] {
    name.rsplit(|octet| *octet == b':').next().unwrap_or(name)
}

pub(super) fn document(settings: &Settings<'_>) -> Result<Document, Refusal> {
    let login = settings.login.as_deref().ok_or(BAD_ADDRESS)?;
    let bytes = Xml::document("", |xml| {
        xml.element("Autodiscover", &[("xmlns", RESPONSE)], |xml| {
            xml.element("Response", &[("xmlns", SETTINGS)], |xml| {
                xml.element("Account", &[], |xml| {
                    xml.leaf("AccountType", "email");
                    xml.leaf("Action", "settings");
                    for server in settings.servers.incoming().chain(settings.servers.outgoing()) {
                        protocol(settings, server, login, xml);
                    }
                });
            });
        });
    });
    Ok(Document::new("text/xml; charset=utf-8", bytes))
}

fn protocol(settings: &Settings<'_>, server: MailServer, login: &str, xml: &mut Xml) {
    let (ssl, encryption) = match server.encryption {
        MailEncryption::Tls => ("on", "SSL"),
        MailEncryption::StartTls => ("on", "TLS"),
        MailEncryption::None => ("off", "None"),
    };
    xml.element("Protocol", &[], |xml| {
        for (name, value) in [
            ("Type", server.protocol.autodiscover_name()),
            ("Server", settings.host.as_str()),
            ("Port", server.port.to_string().as_str()),
            ("DomainRequired", "off"),
            ("LoginName", login),
            // Without it, Outlook assumes NTLM.
            ("SPA", "off"),
            ("SSL", ssl),
            // Overrides SSL in the programs that know it.
            ("Encryption", encryption),
            ("AuthRequired", "on"),
        ] {
            xml.leaf(name, value);
        }
    });
}

const RESPONSE: &str = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006";
const SETTINGS: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";
const NOT_XML: Refusal = Refusal::new(Status::BAD_REQUEST, "The body is not XML in UTF-8");
const NO_ADDRESS: Refusal =
    Refusal::new(Status::BAD_REQUEST, "The body has no EMailAddress: it is not a request of autodiscover");
const OTHER_SCHEMA: Refusal = Refusal::new(
    Status::NOT_FOUND,
    "This server has settings for IMAP, POP3 and SMTP only, and none for Exchange",
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str) -> Result<String, std::borrow::Cow<'static, str>> {
        requested_address(body.as_bytes()).map_err(|refusal| refusal.why)
    }

    #[test]
    fn the_address_is_found_in_requests_of_real_programs() {
        let thunderbird = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n    <Autodiscover xmlns=\"http://schemas.microsoft.com/\
            exchange/autodiscover/outlook/requestschema/2006\">\n      <Request>\n        <EMailAddress>bob@here.test</EMailAddress>\n        \
            <AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\
            </AcceptableResponseSchema>\n      </Request>\n    </Autodiscover>";
        let outlook = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><a:Autodiscover xmlns:a=\"x\"><a:Request>\
            <a:AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\
            </a:AcceptableResponseSchema><a:LegacyDN/><a:EMailAddress> bob@here.test </a:EMailAddress></a:Request></a:Autodiscover>";
        for body in [thunderbird, outlook] {
            assert_eq!(read(body).as_deref(), Ok("bob@here.test"), "{body}");
        }
    }

    #[test]
    fn v77_bad_requests_are_refused() {
        let element = |text: &str| format!("<EMailAddress>{text}</EMailAddress>");
        assert_eq!(read(&element("o&apos;neil&#64;here.test")).as_deref(), Ok("o'neil@here.test"));
        assert_eq!(read(&format!("<!-- {} -->{}", element("a@b"), element("c@d"))).as_deref(), Ok("c@d"));
        assert_eq!(read(&(element("a@b") + &element("c@d"))).as_deref(), Ok("a@b"));
        for bad in [
            "",
            "x",
            "<",
            "<EMailAddress>",
            "<EMailAddress/>bob@here.test",
            "<EMailAddress>a@b",
            &element(""),
        ] {
            assert_eq!(read(bad), Err(NO_ADDRESS.why), "{bad}");
        }
        // An entity of the document is text, and text alone.
        let bomb = format!("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>{}", element("&e;"));
        assert_eq!(read(&bomb).as_deref(), Ok("&e;"));
        let phone = "<AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006\
            </AcceptableResponseSchema>";
        assert_eq!(read(&(element("a@b") + phone)), Err(OTHER_SCHEMA.why));
        assert_eq!(requested_address(b"\xff\xfe<\0"), Err(NOT_XML));
    }

    proptest! {
        #[test]
        fn no_body_breaks_the_reader(body in prop::collection::vec(any::<u8>(), 0..200), text in "[<>/&;!a-zE:\\[\\] -]{0,200}") {
            let _ = (requested_address(&body), requested_address(text.as_bytes()));
        }
    }
}
