//! The target of a request: a path in segments, and the parameters of a query.
//!
//! The rule: a segment is text without control characters, and no decoded octet separates segments. Only an address, which
//! the segment after `/box/` is, may have a slash. A path never becomes a name of a file.

/// The target of a request, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Target {
    /// The host and port of an absolute target (RFC 9112 section 3.2.2).
    pub(super) authority: Option<String>,
    /// The segments of the path.
    pub(super) segments: Vec<String>,
    query: Vec<(String, String)>,
}

impl Target {
    /// Parses the origin form or the absolute form. `None` if it is neither, or has a bad escape.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (authority, path) = match text.strip_prefix('/') {
            Some(path) => (None, path),
            None => {
                let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                // An http URI without a host is invalid (RFC 9110 section 4.2.1).
                if authority.is_empty() {
                    return None;
                }
                (Some(authority.to_owned()), path)
            }
        };
        // A fragment is for the client alone (RFC 9110 section 4.2.5).
        if path.contains('#') {
            return None;
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        // Clients put a base that ends in a slash before a path that begins with one. The end of a path has a meaning.
        let last = path.matches('/').count();
        let parts = path.split('/').enumerate().filter(|(at, part)| *at == last || !part.is_empty());
        let segments: Vec<String> = parts.map(|(_, part)| decode(part, false)).collect::<Option<_>>()?;
        let is_address = |at: usize| at == 1 && segments[0] == BOX;
        if (0..).zip(&segments).any(|(at, text)| text.contains('/') && !is_address(at)) {
            return None;
        }
        let query = pairs(query).collect::<Option<_>>()?;
        Some(Self { authority, segments, query })
    }

    /// A parameter. Of several with this name, the first one counts.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The names of the parameters, in their order.
    pub(super) fn parameter_names(&self) -> impl Iterator<Item = &str> {
        self.query.iter().map(|(name, _)| name.as_str())
    }

    /// A number that is a parameter. `None` if it is missing, or no number. One that is too large becomes the largest one,
    /// which every reader of JSON holds: the answer repeats it.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        let text = self.parameter(name)?.trim();
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(MAX_NUMBER).min(MAX_NUMBER))
    }
}

/// The fields of a form that is the body of a request. A field is `None` if an escape in it is bad.
pub(super) fn form(body: &[u8]) -> Option<impl Iterator<Item = Option<(String, String)>>> {
    std::str::from_utf8(body).ok().map(pairs)
}

/// The names and values of a query or a form. One is `None` if an escape in it is bad.
fn pairs(text: &str) -> impl Iterator<Item = Option<(String, String)>> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name, true)?, decode(value, true)?))
    })
}

/// Decodes percent signs, and plus signs in a query. `None` if an escape is bad, or the result has control characters.
pub(super) fn decode(text: &str, in_query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if in_query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

/// The first segment of the base path of one mailbox.
pub(super) const BOX: &str = "box";
/// The largest number in a query: no list has so many messages.
const MAX_NUMBER: usize = i32::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(text: &str) -> Option<Vec<String>> {
        Target::parse(text).map(|target| target.segments)
    }

    #[test]
    fn a_path_is_taken_apart_before_it_is_decoded() {
        assert_eq!(segments("/"), Some(vec![String::new()]));
        assert_eq!(segments("/box/a%40b.test/x"), Some(vec!["box".into(), "a@b.test".into(), "x".into()]));
        assert_eq!(segments("/a/../b").unwrap(), ["a", "..", "b"]);
        for bad in
            ["", "*", "a", "/a%2fb", "/a%00b", "/a%0d%0ab", "/%ff", "/%", "/%4", "/%zz", "/a#b", "ftp://a/"]
        {
            assert_eq!(segments(bad), None, "{bad}");
        }
    }

    #[test]
    fn v159_an_address_may_have_a_slash_and_no_other_segment() {
        assert_eq!(segments("/box/a%2Fb@c.test/").unwrap(), ["box", "a/b@c.test", ""]);
        assert_eq!(segments("//box//a%2fb@c.test/wait").unwrap(), ["box", "a/b@c.test", "wait"]);
        for bad in [
            "/box%2fa",
            "/%2f/a",
            "/boxes/a%2fb",
            "/box/a/b%2fc",
            "/box/a%2fb/c%2fd",
            "/api/a%2fb",
            "/view/a%2fb",
        ] {
            assert_eq!(segments(bad), None, "{bad}");
        }
    }

    #[test]
    fn v47_two_slashes_are_one() {
        assert_eq!(segments("//view/a.html").unwrap(), ["view", "a.html"]);
        assert_eq!(segments("/box/a@b.test//view/a.html").unwrap(), ["box", "a@b.test", "view", "a.html"]);
        assert_eq!(
            (segments("//").unwrap(), segments("/livez//").unwrap()),
            (vec!["".into()], vec!["livez".into(), "".into()])
        );
    }

    #[test]
    fn a_query_has_names_and_values() {
        let target = Target::parse("/s?query=a+b%26c&start=10&start=20&x&limit=many").unwrap();
        assert_eq!(target.parameter("query"), Some("a b&c"));
        assert_eq!((target.number("start"), target.parameter("x")), (Some(10), Some("")));
        assert_eq!((target.number("limit"), target.number("none")), (None, None));
    }

    #[test]
    fn v158_a_number_is_one_that_every_reader_of_json_holds() {
        for (text, number) in [
            ("2147483646", 2_147_483_646),
            ("2147483648", 2_147_483_647),
            ("18446744073709551615", 2_147_483_647),
            ("99999999999999999999", 2_147_483_647),
        ] {
            let target = Target::parse(&format!("/s?start={text}")).unwrap();
            assert_eq!(target.number("start"), Some(number), "{text}");
        }
    }

    #[test]
    fn an_absolute_target_names_its_host() {
        let target = Target::parse("http://localhost:8025/livez?a=b").unwrap();
        assert_eq!(target.authority.as_deref(), Some("localhost:8025"));
        assert_eq!(target.segments, ["livez"]);
    }
}
