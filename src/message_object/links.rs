//! The links of a message.
//!
//! The rule: a link is an address that leads somewhere by itself, so it has a scheme, and it is none that runs or contains
//! something.

use std::collections::HashSet;

use super::ObjectLimits;
use crate::{mime::html_words, printable::is_hidden};

/// The links in a plain text, then those in HTML, each once.
pub fn of(text: &str, html: &str, limits: &ObjectLimits) -> Vec<String> {
    let in_html = html_words::links(html, limits.links);
    let mut known = HashSet::new();
    let mut links = Vec::new();
    for link in in_text(text).map(str::to_owned).chain(in_html) {
        if links.len() == limits.links {
            break;
        }
        if link.len() <= limits.link_length && leads_away(&link) && known.insert(link.clone()) {
            links.push(link);
        }
    }
    links
}

/// The addresses of the web in a plain text, without the punctuation that surrounds them.
fn in_text(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let colon = memchr::memmem::find(rest.as_bytes(), b"://")?;
            let start = SCHEMES.iter().find_map(|scheme| start_of(&rest[..colon], scheme));
            let after = &rest[colon + "://".len()..];
            let Some(start) = start else {
                rest = after;
                continue;
            };
            let end = rest.len() - after.len() + after.find(ends_link).unwrap_or(after.len());
            let link = without_punctuation(&rest[start..end]);
            let is_empty = link.len() <= colon + "://".len() - start;
            rest = &rest[end..];
            if !is_empty {
                return Some(link);
            }
        }
    })
}

/// The position of a scheme that a text ends with, if no letter or digit of ASCII stands before it: Japanese has no blank there.
fn start_of(text: &str, scheme: &str) -> Option<usize> {
    let start = text.len().checked_sub(scheme.len())?;
    let found = text.get(start..)?;
    let is_apart = !text[..start].ends_with(|c: char| c.is_ascii_alphanumeric());
    (is_apart && found.eq_ignore_ascii_case(scheme)).then_some(start)
}

/// A character that no address of the web has (RFC 3986 appendix C), or punctuation of Chinese and Japanese.
fn ends_link(c: char) -> bool {
    c.is_whitespace() || is_hidden(c) || "<>\"`{}|\\^…”»。、」』）】，；！？".contains(c)
}

/// Punctuation at the end belongs to the sentence, and a closing bracket too if none opens in the address.
fn without_punctuation(link: &str) -> &str {
    let mut link = link;
    let mut open = ['(', '['].map(|open| link.matches(open).count());
    let mut closed = [')', ']'].map(|close| link.matches(close).count());
    while let Some(last) = link.chars().next_back() {
        let bracket = [')', ']'].iter().position(|close| *close == last);
        let is_sentence = match bracket {
            Some(at) => closed[at] > open[at],
            None => ".,;:!?'*_([’".contains(last),
        };
        if !is_sentence {
            break;
        }
        match (bracket, last) {
            (Some(at), _) => closed[at] -= 1,
            (None, '(') => open[0] -= 1,
            (None, '[') => open[1] -= 1,
            _ => {}
        }
        link = &link[..link.len() - last.len_utf8()];
    }
    link
}

/// True if an address has a scheme that leads to another place.
fn leads_away(address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme && !rest.is_empty() && !NO_PLACES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// The schemes of addresses in a plain text.
const SCHEMES: [&str; 3] = ["https", "http", "ftp"];

/// Schemes of programs, of content, of parts of the same message, and of files of the reader.
const NO_PLACES: [&str; 8] = ["javascript", "vbscript", "data", "blob", "about", "cid", "mid", "file"];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, html: &str) -> Vec<String> {
        of(text, html, &ObjectLimits::default())
    }

    #[test]
    fn links_of_a_text_end_where_its_sentence_goes_on() {
        for (text, expected) in [
            ("see https://x.test/a?b=c&d#e.", &["https://x.test/a?b=c&d#e"][..]),
            (
                "<https://x.test/> (http://y.test/a_(b)), [http://z.test]!",
                &["https://x.test/", "http://y.test/a_(b)", "http://z.test"],
            ),
            (
                "\"HTTPS://x.test/é\"…\nftp://f.test/x; http://x.test/a'",
                &["HTTPS://x.test/é", "ftp://f.test/x", "http://x.test/a"],
            ),
            ("https://x.test https://x.test https://y.test", &["https://x.test", "https://y.test"]),
            ("https:// http://. xhttp://x.test gopher://x.test ://y.test www.x.test", &[]),
            ("http://a.test/http://b.test", &["http://a.test/http://b.test"]),
            ("ahttp://no.test |https://x.test|", &["https://x.test"]),
            ("こちらhttps://x.test/日本。", &["https://x.test/日本"]),
            ("https://x.test/(((", &["https://x.test/"]),
            ("", &[]),
        ] {
            assert_eq!(found(text, ""), expected, "{text}");
        }
    }

    #[test]
    fn links_of_html_lead_somewhere_and_come_after_those_of_the_text() {
        let html = "<a href=https://y.test>y</a><a href=javascript:x()>j</a><a href='data:text/html,x'>d</a><a href=/r>r</a>\
                    <a href='mailto:a@b.test'>m</a><a href='app://reset?t=1'>a</a><a href=https://x.test>x</a><a href='x y:z'>n</a>";
        let expected = ["https://x.test", "https://y.test", "mailto:a@b.test", "app://reset?t=1"];
        assert_eq!(found("https://x.test", html), expected);
    }

    #[test]
    fn links_are_bounded() {
        let limits = ObjectLimits { links: 2, link_length: 12, ..ObjectLimits::default() };
        let text = "http://a http://b.too.long.test http://b http://c";
        assert_eq!(of(text, "<a href=http://d>d</a>", &limits), ["http://a", "http://b"]);
        assert_eq!(
            of("http://a", "<a href=http://d>d</a><a href=http://e>e</a>", &limits),
            ["http://a", "http://d"]
        );
        assert!(found(&"(http://a".repeat(100_000), "").len() <= 1000);
    }
}
