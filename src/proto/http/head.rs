//! The head of a request: the request line and the fields (RFC 9112 sections 2 to 6).
//!
//! The rule: a head that two programs could read in two ways is refused, and the connection ends, because a proxy before
//! this server may have seen another request (request smuggling).

use super::{
    MAX_FIELDS,
    status::{Refusal, Status},
    target::Target,
};
use crate::proto::request::Secret;

/// A method that some route has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Reads, and returns no content.
    Head,
    /// Adds.
    Post,
    /// Changes.
    Put,
    /// Deletes.
    Delete,
}

impl Method {
    const ALL: [Self; 5] = [Self::Get, Self::Head, Self::Post, Self::Put, Self::Delete];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// True if the method only reads (RFC 9110 section 9.2.1).
    pub(super) fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// A request without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) target: Target,
    /// The host and port that the client wants; empty if a client of HTTP/1.0 names none.
    pub(super) host: String,
    /// True if the client may send another request after the response.
    pub(super) keep_alive: bool,
    /// True if the response must say so, for a client of HTTP/1.0 (RFC 9112 section 9.3).
    pub(super) announces_keep_alive: bool,
    /// Octets of the body; `None` if the head names no length.
    pub(super) content_length: Option<u64>,
    /// True if the client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// True if the body is a form, as a client sends that encodes no JSON.
    pub(super) is_form: bool,
    /// The credentials, not decoded.
    pub(super) authorization: Option<Secret>,
    /// The origin of the page that sends the request.
    pub(super) origin: Option<String>,
    /// The relation of that page to this server, as a browser knows it (`Sec-Fetch-Site`).
    pub(super) fetch_site: Option<String>,
    /// The purpose of the request, as a browser knows it (`Sec-Fetch-Dest`).
    pub(super) fetch_dest: Option<String>,
    /// True if the client names media types that it takes.
    pub(super) names_types: bool,
    /// True if the client can show a page of HTML, as a browser that follows a link says.
    pub(super) accepts_html: bool,
    /// The languages that the user prefers.
    pub(super) accept_language: Option<String>,
    /// The versions that the client has.
    pub(super) if_none_match: Option<String>,
}

/// The length of the head at the beginning of these octets, with its empty line. `searched` octets are known to hold no
/// end. An empty line after a bare LF is an end too, so that the head is refused at once, and no time is waited for.
pub(super) fn length(octets: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(END.len() - 1).min(octets.len());
    let ends =
        [END, BARE_END].map(|end| memchr::memmem::find(&octets[from..], end).map(|at| from + at + end.len()));
    ends.into_iter().flatten().min()
}

impl Head {
    /// Parses a whole head.
    pub(super) fn parse(octets: &[u8]) -> Result<Self, Refusal> {
        let has_bare = |octet, beside: fn(&[u8], usize) -> bool| {
            memchr::memchr_iter(octet, octets).any(|at| !beside(octets, at))
        };
        if has_bare(b'\n', |all, at| at > 0 && all[at - 1] == b'\r')
            || has_bare(b'\r', |all, at| all.get(at + 1) == Some(&b'\n'))
        {
            return Err(bad("A line of the head does not end in CR LF (RFC 9112 section 2.2)"));
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(octets) {
            Ok(httparse::Status::Complete(length)) if length == octets.len() => {}
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refusal::new(Status::HEAD_TOO_LARGE, "A request has 100 fields at most"));
            }
            Err(httparse::Error::Version) => {
                return Err(Refusal::new(Status::VERSION, "This server speaks HTTP/1.1 and HTTP/1.0"));
            }
            Err(httparse::Error::HeaderName) => return Err(bad("The name of a field is malformed")),
            Err(httparse::Error::HeaderValue) => return Err(bad("The value of a field is malformed")),
            _ => return Err(bad("The request line is malformed: METHOD /path HTTP/1.1")),
        }
        let (Some(method), Some(path), Some(version)) = (request.method, request.path, request.version)
        else {
            return Err(bad("The request line is incomplete"));
        };
        let fields = Fields(request.headers);
        let content_length = fields.body_length()?;
        let expects_continue = fields.expects_continue()?;
        let close = fields.has_token("connection", "close");
        let keep_alive = !close && (version == 1 || fields.has_token("connection", "keep-alive"));
        let host = fields.host(version)?;
        // Before the target: CONNECT and OPTIONS have others.
        let Some(method) = Method::ALL.into_iter().find(|known| known.name() == method) else {
            return Err(Refusal::new(Status::NOT_IMPLEMENTED, "This server has no such method"));
        };
        let target = Target::parse(path).ok_or(bad("The target of the request is malformed"))?;
        let host = target.authority.clone().unwrap_or(host);
        Ok(Self {
            method,
            target,
            host,
            keep_alive,
            announces_keep_alive: keep_alive && version == 0,
            content_length,
            expects_continue: expects_continue && version == 1,
            is_form: fields.has_media_type(b"application/x-www-form-urlencoded"),
            authorization: fields.one("authorization")?.map(Secret::new),
            origin: fields.text("origin")?,
            fetch_site: fields.text("sec-fetch-site")?,
            fetch_dest: fields.text("sec-fetch-dest")?,
            names_types: fields.all("accept").next().is_some(),
            accepts_html: fields.accepts("text/html"),
            accept_language: fields.text("accept-language").unwrap_or_default(),
            if_none_match: fields.text("if-none-match").unwrap_or_default(),
        })
    }
}

/// The fields of a head.
struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.trim_ascii())
    }

    /// The value of a field that may stand there once.
    fn one(&self, name: &'static str) -> Result<Option<&'a [u8]>, Refusal> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (value, None) => Ok(value),
            _ => Err(bad("A field that decides on the request stands there twice")),
        }
    }

    /// The same as text; octets that are not UTF-8 match nothing.
    fn text(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        Ok(self.one(name)?.map(|value| String::from_utf8_lossy(value).into_owned()))
    }

    fn has_token(&self, name: &'static str, token: &str) -> bool {
        let mut tokens = self.all(name).flat_map(|value| value.split(|b| *b == b','));
        tokens.any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    fn has_media_type(&self, media_type: &[u8]) -> bool {
        let essence = |value: &'a [u8]| value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        self.all("content-type").any(|value| essence(value).eq_ignore_ascii_case(media_type))
    }

    /// True if the client names this media type among those that it accepts (RFC 9110 section 12.5.1).
    fn accepts(&self, kind: &str) -> bool {
        let mut ranges = self.all("accept").flat_map(|value| value.split(|b| *b == b','));
        ranges.any(|range| {
            let name = range.split(|b| *b == b';').next().unwrap_or_default();
            name.trim_ascii().eq_ignore_ascii_case(kind.as_bytes())
        })
    }

    /// The host. Only HTTP/1.1 demands one: probes of load balancers speak HTTP/1.0 without it.
    fn host(&self, version: u8) -> Result<String, Refusal> {
        const ONE_HOST: Refusal = bad("A request has one field Host (RFC 9112 section 3.2)");
        match self.one("host") {
            Ok(None) if version == 0 => Ok(String::new()),
            Ok(Some(host)) if !host.is_empty() => {
                std::str::from_utf8(host).map(str::to_owned).map_err(|_| ONE_HOST)
            }
            _ => Err(ONE_HOST),
        }
    }

    /// Octets of the body. A body in another form than a counted one is refused (RFC 9112 section 6.3).
    fn body_length(&self) -> Result<Option<u64>, Refusal> {
        let length = self.one("content-length")?;
        if self.all("transfer-encoding").next().is_some() {
            return Err(match length {
                Some(_) => bad("A request with Content-Length and Transfer-Encoding has two ends"),
                None => Refusal::new(
                    Status::LENGTH_REQUIRED,
                    "This server reads no chunked body: send it with Content-Length",
                ),
            });
        }
        let Some(length) = length else { return Ok(None) };
        let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(length).ok().filter(|_| is_number);
        number.and_then(|digits| digits.parse().ok()).map(Some).ok_or(bad("Content-Length is not a number"))
    }

    fn expects_continue(&self) -> Result<bool, Refusal> {
        match self.one("expect")? {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
            Some(_) => Err(Refusal::new(Status::EXPECTATION_FAILED, "Only 100-continue can be expected")),
        }
    }
}

const fn bad(why: &'static str) -> Refusal {
    Refusal::new(Status::BAD_REQUEST, why)
}

/// The end of the last field, and the empty line.
const END: &[u8] = b"\r\n\r\n";
const BARE_END: &[u8] = b"\n\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head, u16> {
        let octets = text.replace('|', "\r\n");
        assert_eq!(length(octets.as_bytes(), 0), Some(octets.len()), "{text}");
        Head::parse(octets.as_bytes()).map_err(|refusal| refusal.status.0)
    }

    #[test]
    fn the_end_of_a_head_is_found_in_any_pieces() {
        let octets = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
        for searched in 0..=octets.len() - 3 {
            let found = length(octets, searched.min(octets.len() - 7));
            assert_eq!(found, Some(octets.len() - 3), "{searched}");
        }
        assert_eq!(length(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 3), None);
        // An empty line of a body comes after the end.
        assert_eq!(length(b"PUT / HTTP/1.1\r\nHost: a\r\n\r\nx\n\n", 0), Some(27));
    }

    #[test]
    fn a_head_whose_lines_end_in_bare_lf_is_refused_at_once() {
        let octets = b"GET / HTTP/1.1\nHost: a\n\n";
        assert_eq!(length(octets, 0), Some(octets.len()));
        assert_eq!(Head::parse(octets).unwrap_err().status, Status::BAD_REQUEST);
    }

    #[test]
    fn a_request_is_read() {
        let head = parse("PUT /api/v1/messages?tz=x HTTP/1.1|Host: localhost:8025|content-length: 12|Expect: 100-Continue||").unwrap();
        assert_eq!((head.method, head.host.as_str()), (Method::Put, "localhost:8025"));
        assert_eq!((head.content_length, head.expects_continue, head.keep_alive), (Some(12), true, true));
        assert_eq!(head.target.segments, ["api", "v1", "messages"]);
    }

    #[test]
    fn a_connection_stays_open_unless_the_client_says_otherwise() {
        for (text, stays) in [
            ("GET / HTTP/1.1|Host: a||", true),
            ("GET / HTTP/1.1|Host: a|Connection: Close||", false),
            ("GET / HTTP/1.1|Host: a|Connection: keep-alive, close||", false),
            ("GET / HTTP/1.0|Host: a||", false),
            ("GET / HTTP/1.0|Host: a|Connection: keep-alive||", true),
        ] {
            assert_eq!(parse(text).unwrap().keep_alive, stays, "{text}");
        }
    }

    #[test]
    fn a_head_with_two_meanings_is_refused() {
        for (text, status) in [
            ("GET / HTTP/1.1|Host: a|Content-Length: 1|Content-Length: 1||", 400),
            ("GET / HTTP/1.1|Host: a|Content-Length: 1, 1||", 400),
            ("GET / HTTP/1.1|Host: a|Content-Length: +1||", 400),
            ("GET / HTTP/1.1|Host: a|Content-Length: ||", 400),
            ("GET / HTTP/1.1|Host: a|Content-Length: 99999999999999999999||", 400),
            ("GET / HTTP/1.1|Host: a|Content-Length: 1|Transfer-Encoding: chunked||", 400),
            ("GET / HTTP/1.1|Host: a|Transfer-Encoding: chunked||", 411),
            ("GET / HTTP/1.1|Host : a||", 400),
            ("GET / HTTP/1.1|Host: a| folded: b||", 400),
            ("GET / HTTP/1.1|Host: a\nX: b||", 400),
            ("GET / HTTP/1.1|Host: a\rX: b||", 400),
            ("GET / HTTP/1.1|Host: a|Host: a||", 400),
            ("GET / HTTP/1.1|Host: ||", 400),
            ("GET / HTTP/1.1|Accept: x||", 400),
            ("GET / HTTP/1.0|Host: ||", 400),
            ("GET / HTTP/1.0|Host: a|Host: a||", 400),
            ("GET / HTTP/1.1|Host: a|Origin: http://a|Origin: http://b||", 400),
            ("GET / HTTP/1.1|Host: a|Expect: more||", 417),
            ("GET / HTTP/2.0|Host: a||", 505),
            ("BREW / HTTP/1.1|Host: a||", 501),
            ("get / HTTP/1.1|Host: a||", 501),
            ("GET  / HTTP/1.1|Host: a||", 400),
            ("GET /\u{e9} HTTP/1.1|Host: a|X: y\u{0}||", 400),
        ] {
            assert_eq!(parse(text).unwrap_err(), status, "{text}");
        }
        let many = "X: y|".repeat(MAX_FIELDS);
        assert_eq!(parse(&format!("GET / HTTP/1.1|Host: a|{many}|")).unwrap_err(), 431);
    }
}
