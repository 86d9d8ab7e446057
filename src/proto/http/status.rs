//! The status codes of responses (RFC 9110 section 15).

/// A status code and its reason phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16, pub(super) &'static str);

impl Status {
    pub(super) const OK: Self = Self(200, "OK");
    pub(super) const NOT_MODIFIED: Self = Self(304, "Not Modified");
    pub(super) const BAD_REQUEST: Self = Self(400, "Bad Request");
    pub(super) const UNAUTHORIZED: Self = Self(401, "Unauthorized");
    pub(super) const FORBIDDEN: Self = Self(403, "Forbidden");
    pub(super) const NOT_FOUND: Self = Self(404, "Not Found");
    pub(super) const METHOD_NOT_ALLOWED: Self = Self(405, "Method Not Allowed");
    pub(super) const TIMEOUT: Self = Self(408, "Request Timeout");
    pub(super) const CONFLICT: Self = Self(409, "Conflict");
    pub(super) const LENGTH_REQUIRED: Self = Self(411, "Length Required");
    pub(super) const TOO_LARGE: Self = Self(413, "Content Too Large");
    pub(super) const EXPECTATION_FAILED: Self = Self(417, "Expectation Failed");
    pub(super) const MISDIRECTED: Self = Self(421, "Misdirected Request");
    pub(super) const TOO_MANY_REQUESTS: Self = Self(429, "Too Many Requests");
    pub(super) const HEAD_TOO_LARGE: Self = Self(431, "Request Header Fields Too Large");
    pub(super) const INTERNAL: Self = Self(500, "Internal Server Error");
    pub(super) const NOT_IMPLEMENTED: Self = Self(501, "Not Implemented");
    pub(super) const UNAVAILABLE: Self = Self(503, "Service Unavailable");
    pub(super) const VERSION: Self = Self(505, "HTTP Version Not Supported");
}

/// A request that the server refuses: the status, and a sentence for the person who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: Status,
    pub(super) why: &'static str,
}

impl Refusal {
    pub(super) const fn new(status: Status, why: &'static str) -> Self {
        Self { status, why }
    }
}
