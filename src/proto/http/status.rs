//! The status codes of responses (RFC 9110 section 15).

use std::borrow::Cow;

use crate::{
    language::Language,
    proto::{failure_texts, request::Failure},
};

/// A status code and its reason phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16, pub(super) &'static str);

impl Status {
    pub(super) const OK: Self = Self(200, "OK");
    pub(super) const SEE_OTHER: Self = Self(303, "See Other");
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
    pub(super) const NO_STORAGE: Self = Self(507, "Insufficient Storage");
}

/// A request that the server refuses: the status, and a sentence for the person who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: Status,
    pub(super) why: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with a sentence of its own.
    pub(super) fn saying(status: Status, why: impl Into<Cow<'static, str>>) -> Self {
        Self { status, why: why.into() }
    }

    /// A refusal that is always the same.
    pub(super) const fn new(status: Status, why: &'static str) -> Self {
        Self { status, why: Cow::Borrowed(why) }
    }
}

/// The refusal of a request that reads or changes mail, for which the backend reported a failure.
pub(super) fn read_refusal(failure: Failure) -> Refusal {
    match failure {
        Failure::Gone | Failure::NoFolder => NO_MESSAGE,
        Failure::InUse => Refusal::new(Status::CONFLICT, "Another session has this mailbox open"),
        Failure::Changed | Failure::Truncated => {
            Refusal::new(Status::CONFLICT, "Another program is changing this message: try again")
        }
        Failure::MailboxUnusable => {
            Refusal::new(Status::UNAVAILABLE, "The mailbox cannot be used as it is configured")
        }
        Failure::ReadOnly => Refusal::new(
            Status::UNAVAILABLE,
            "The disk of the mailbox is read-only: mail cannot be changed now",
        ),
        Failure::SpoolMoved => SPOOL_MOVED,
        _ => Refusal::new(Status::UNAVAILABLE, "The mail cannot be read now: try again"),
    }
}

/// [`Failure::SpoolMoved`]
pub(super) const SPOOL_MOVED: Refusal =
    Refusal::new(Status::UNAVAILABLE, failure_texts::SPOOL_MOVED.text(Language::English));
pub(super) const NO_MATCH: Refusal = Refusal::new(
    Status::NOT_FOUND,
    "No message matches this query, or the newest one that does has no such part",
);
pub(super) const NO_MESSAGE: Refusal =
    Refusal::new(Status::NOT_FOUND, "There is no such message, or it has no such part");
