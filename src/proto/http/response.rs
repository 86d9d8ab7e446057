//! The only writer of responses. A malformed one cannot be expressed: every value is checked on its way out, and the
//! length of the content is known before its first octet.

use std::fmt::Write as _;

use super::{
    api::{Document, HTML, JSON},
    page::refusal::refusal_page,
    status::{Refusal, Status},
};
use crate::{language::Language, proto::buffer::Outbox};

/// The head of a response.
#[derive(Debug)]
pub(super) struct ResponseHead {
    text: String,
}

/// The content that a browser may load for a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentPolicy {
    /// None: data for programs.
    Nothing,
    /// The HTML of a message: its own parts as images, and its styles. No script runs, and no page gets its origin. A link
    /// that the reader clicks may open a window, which is none of the sandbox.
    MessageHtml,
    /// The same, and images of other hosts: for a reader who has asked for them.
    MessageHtmlWithImages,
    /// A refusal: the style of the page.
    Refusal,
    /// The page: its own style, script and frames, and data from this server.
    Page,
}

impl ContentPolicy {
    const fn value(self) -> &'static str {
        match self {
            Self::Nothing => {
                "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
            }
            Self::MessageHtml => {
                "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data: 'self'; \
                 style-src 'unsafe-inline'; font-src data:; \
                 frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
            }
            Self::MessageHtmlWithImages => {
                "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data: 'self' https: http:; \
                 style-src 'unsafe-inline'; font-src data:; \
                 frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
            }
            Self::Refusal => {
                "default-src 'none'; style-src 'self'; img-src data:; frame-ancestors 'self'; base-uri 'none'; \
                 form-action 'none'"
            }
            Self::Page => {
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                 frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
                 require-trusted-types-for 'script'; trusted-types page"
            }
        }
    }
}

impl ResponseHead {
    /// A head with the fields that every response has.
    pub(super) fn new(status: Status, policy: ContentPolicy) -> Self {
        let Status(code, phrase) = status;
        let mut head = Self { text: format!("HTTP/1.1 {code} {phrase}\r\n") };
        head.field("X-Content-Type-Options", "nosniff");
        head.field("Referrer-Policy", "no-referrer");
        head.field("Content-Security-Policy", policy.value());
        if policy == ContentPolicy::Page {
            // A window that a link in a message opens cannot lead this one elsewhere. A sandbox may not have this field.
            head.field("Cross-Origin-Opener-Policy", "same-origin");
        }
        head
    }

    /// Adds a field. Octets that may not stand in a value become question marks.
    pub(super) fn field(&mut self, name: &'static str, value: &str) {
        let value: String = value.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
        let _ = write!(self.text, "{name}: {}\r\n", value.trim()); // writing to a String cannot fail
    }

    /// Adds the fields of a document.
    pub(super) fn document(&mut self, document: &Document) {
        self.field("Content-Type", &document.content_type);
        if let Some(name) = &document.file_name {
            self.field("Content-Disposition", &disposition(name));
        }
        self.cache(document.etag.as_deref());
    }

    /// Adds the version of the content. A cache asks each time whether it is the newest one.
    pub(super) fn cache(&mut self, etag: Option<&str>) {
        match etag {
            Some(etag) => {
                self.field("ETag", &format!("\"{etag}\""));
                self.field("Cache-Control", "private, no-cache");
            }
            None => self.field("Cache-Control", "no-store"),
        }
    }

    /// Tells a client that the connection stays open, if it needs to know (HTTP/1.0).
    pub(super) fn announce(&mut self, is_needed: bool) {
        if is_needed {
            self.field("Connection", "keep-alive");
        }
    }

    /// Ends the head of a response with content of that length. `keep_alive`: the client may send another request.
    pub(super) fn write(mut self, length: u64, keep_alive: bool, out: &mut Outbox) {
        self.field("Content-Length", &length.to_string());
        self.finish(keep_alive, out);
    }

    /// Ends the head of a response whose content ends with the connection, or that has none.
    pub(super) fn write_without_length(self, keep_alive: bool, out: &mut Outbox) {
        self.finish(keep_alive, out);
    }

    fn finish(mut self, keep_alive: bool, out: &mut Outbox) {
        if !keep_alive {
            self.field("Connection", "close");
        }
        out.line(&self.text);
    }
}

/// Writes a refusal with its reason: as a page in a language for a reader, else as a JSON object. `with_content` is false
/// for HEAD.
pub(super) fn refuse(
    refusal: &Refusal,
    reader: Option<Language>,
    extra: Option<(&'static str, &str)>,
    (with_content, keep_alive): (bool, bool),
    out: &mut Outbox,
) {
    let (content, kind, policy) = match reader {
        Some(language) => (refusal_page(refusal, language), HTML, ContentPolicy::Refusal),
        None => (error_object(&refusal.why), JSON, ContentPolicy::Nothing),
    };
    let mut head = ResponseHead::new(refusal.status, policy);
    head.field("Content-Type", kind);
    head.cache(None);
    if let Some((name, value)) = extra {
        head.field(name, value);
    }
    head.write(content.len() as u64, keep_alive, out);
    if with_content {
        out.push(content.as_bytes());
    }
}

/// A refusal for a connection that has no session, or none any longer: a page for a browser, because the request is not
/// known. [`Outbox::line`] adds the last line end.
pub(super) fn last_words(refusal: &Refusal) -> String {
    let mut out = Outbox::default();
    let mut head = ResponseHead::new(refusal.status, ContentPolicy::Refusal);
    head.field("Content-Type", HTML);
    head.field("Retry-After", "1");
    let content = refusal_page(refusal, Language::English);
    head.write(content.len() as u64 + 2, false, &mut out);
    String::from_utf8_lossy(out.pending()).into_owned() + &content
}

/// The JSON object of an error, as Mailpit's clients read it.
fn error_object(why: &str) -> String {
    format!("{}\r\n", serde_json::json!({ "Error": why }))
}

/// A file name for a browser: RFC 6266, with the name in ASCII for old ones, and in UTF-8 (RFC 8187).
fn disposition(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " .-_+@()".contains(c);
    let ascii: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let mut text = format!("attachment; filename=\"{ascii}\"");
    if ascii != name {
        text.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b".-_".contains(&byte) {
                text.push(byte.into());
            } else {
                let _ = write!(text, "%{byte:02X}"); // writing to a String cannot fail
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(act: impl FnOnce(&mut ResponseHead)) -> String {
        let mut out = Outbox::default();
        let mut head = ResponseHead::new(Status::OK, ContentPolicy::Nothing);
        act(&mut head);
        head.write(3, true, &mut out);
        String::from_utf8(out.pending().to_vec()).unwrap()
    }

    #[test]
    fn every_response_tells_browsers_what_it_is_not() {
        let text = written(|_| {});
        for field in
            ["X-Content-Type-Options: nosniff\r\n", "Referrer-Policy: no-referrer\r\n", "default-src 'none'"]
        {
            assert!(text.contains(field), "{text}");
        }
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\nContent-Length: 3\r\n\r\n"),
            "{text}"
        );
        let sandbox = "sandbox allow-popups allow-popups-to-escape-sandbox;";
        assert!(ContentPolicy::MessageHtml.value().starts_with(sandbox), "links, and nothing else");
        let with_images = ContentPolicy::MessageHtmlWithImages.value();
        let without = ContentPolicy::MessageHtml.value();
        assert_eq!(with_images.replace(" https: http:", ""), without, "images are the whole difference");
        assert!(
            !ContentPolicy::Page.value().contains("unsafe") && !ContentPolicy::Page.value().contains("http")
        );
    }

    #[test]
    fn a_file_name_is_a_name_and_nothing_else() {
        assert_eq!(disposition("a b.pdf"), "attachment; filename=\"a b.pdf\"");
        assert_eq!(
            disposition("é\"\r\nX: y"),
            "attachment; filename=\"____X_ y\"; filename*=UTF-8''%C3%A9%22%0D%0AX%3A%20y"
        );
    }

    #[test]
    fn the_last_words_are_a_whole_response() {
        let text = last_words(&Refusal::new(Status::UNAVAILABLE, "Try again")) + "\r\n";
        let (head, content) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 ") && head.ends_with("Connection: close"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", content.len())), "{head}");
        assert!(content.contains("Try again") && !content.contains("\r\n\r\n"), "{content}");
    }

    proptest! {
        #[test]
        fn no_value_begins_a_field(value in any::<String>()) {
            let lines = written(|_| {}).matches("\r\n").count();
            let mut document = Document::new(value.clone(), Vec::new());
            document.file_name = Some(value.clone());
            document.etag = Some(value);
            let text = written(|head| head.document(&document));
            prop_assert_eq!(text.matches('\n').count(), lines + 4);
            prop_assert!(text.is_ascii());
        }
    }
}
