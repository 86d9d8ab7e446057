//! The page of the web inbox: its files, which are part of the program, and the request for its HTML.
//!
//! The rule: a browser loads the page from this server and nothing from any other. A worker fills in the HTML
//! (`api::web_page`), so the list and the text of a message need no script.

use std::sync::LazyLock;

use blake2::{Blake2s, Digest, digest::consts::U16};

use super::{
    accept_language,
    api::{Document, MailboxScope, MessageName, PageRequest, SessionsRequest},
    autoconfig::servers::MailServers,
    guard,
    head::Head,
    routes,
    routes::Endpoint,
    state::Exchange,
    status::{Refusal, Status},
};
use crate::{language::Language, proto::conn_id::ConnId};

pub(super) mod refusal;

/// The HTML of the page, with slots for words and values.
pub const HTML: &str = include_str!("assets/page.html");

/// The HTML of the page of sessions.
pub const SESSIONS_HTML: &str = include_str!("assets/sessions.html");

/// The page that a request asks for. `inboxes` are the mailboxes that the user may reach.
pub(super) fn request(
    exchange: &Exchange,
    inboxes: MailboxScope,
    message: Option<MessageName>,
    servers: &MailServers,
) -> PageRequest {
    let target = &exchange.head.target;
    let host = guard::without_port(&exchange.head.host);
    let port = servers.outgoing().next().map(|server| server.port);
    PageRequest {
        inboxes,
        address: exchange.address.clone(),
        search: target.parameter("query").unwrap_or_default().trim().to_owned(),
        start: target.number("start").unwrap_or(0),
        message,
        asks: exchange.endpoint == Endpoint::AskDelete,
        send_to: host.zip(port).map(|(host, port)| format!("{host}:{port}")),
        language: language(&exchange.head),
    }
}

/// The page of sessions that a request asks for.
pub(super) fn sessions_request(exchange: &Exchange) -> Result<SessionsRequest, Refusal> {
    Ok(SessionsRequest {
        session: exchange.id.as_deref().map(|id| ConnId::parse(id).ok_or(NO_SESSION)).transpose()?,
        from: exchange.head.target.number("from").unwrap_or(0),
        language: language(&exchange.head),
    })
}

pub(super) const ADMINS_ONLY: Refusal = Refusal::new(
    Status::FORBIDDEN,
    "Sessions show the mail of all users: only an account with the field admin may open them",
);
const NO_SESSION: Refusal =
    Refusal::new(Status::NOT_FOUND, "There is no such session, or it is among the last ones no longer");

/// The language that the sender of a request prefers.
pub(super) fn language(head: &Head) -> Language {
    accept_language::preferred(head.accept_language.as_deref().unwrap_or_default())
}

/// The language of the person who reads the refusal of a request. `None` if a program reads it.
pub(super) fn reader(head: &Head) -> Option<Language> {
    let is_read = head.accepts_html && head.method.is_safe();
    (is_read && routes::is_page(head.method, &head.target.segments)).then(|| language(head))
}

/// The style of the page.
pub(super) fn style() -> Document {
    STYLE.document()
}

/// The script of the page.
pub(super) fn script() -> Document {
    SCRIPT.document()
}

/// The script of the page of sessions.
pub(super) fn sessions_script() -> Document {
    SESSIONS_SCRIPT.document()
}

/// A file of the page.
struct Asset {
    content_type: &'static str,
    bytes: &'static [u8],
    /// A hash of the octets.
    etag: String,
}

impl Asset {
    fn new(content_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash = Blake2s::<U16>::digest(bytes);
        Self { content_type, bytes, etag: hash.iter().map(|octet| format!("{octet:02x}")).collect() }
    }

    fn document(&self) -> Document {
        Document { etag: Some(self.etag.clone()), ..Document::new(self.content_type, self.bytes.to_vec()) }
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("text/css; charset=utf-8", include_bytes!("assets/page.css")));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| Asset::new(SCRIPT_TYPE, include_bytes!("assets/page.js")));
static SESSIONS_SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(SCRIPT_TYPE, include_bytes!("assets/sessions.js")));

const SCRIPT_TYPE: &str = "text/javascript; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_names_no_other_host() {
        let files =
            [HTML.as_bytes(), SESSIONS_HTML.as_bytes(), STYLE.bytes, SCRIPT.bytes, SESSIONS_SCRIPT.bytes];
        assert!(files.iter().map(|file| file.len()).sum::<usize>() <= 60 * 1024);
        for text in files {
            let text = String::from_utf8(text.to_vec()).unwrap();
            let own = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!own.contains("//") || !own.contains("http"), "an address of another host");
            assert!(!own.contains("@import") && !own.contains("url("), "a file beside the page");
        }
        for inline in ["style=", "onclick=", "onload=", "<style", "javascript:"] {
            assert!(!HTML.contains(inline) && !SESSIONS_HTML.contains(inline), "{inline}");
        }
        for html in [HTML, SESSIONS_HTML] {
            assert!(html.matches("<script").count() == 1 && html.contains("<script src="));
        }
    }

    #[test]
    fn a_file_has_the_hash_of_its_octets() {
        let (style, script) = (style(), script());
        assert!(style.etag.as_ref().is_some_and(|etag| etag.len() == 32) && style.etag != script.etag);
    }
}
