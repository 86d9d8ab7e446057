//! Refusals of a POP3 server.

/// A reply that begins with `-ERR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrReply {
    /// The response code in capitals, without brackets: `IN-USE` (RFC 2449 section 8, RFC 3206).
    pub code: Option<String>,
    /// The text after the code.
    pub text: String,
}

impl ErrReply {
    /// Whether the name or the password may be wrong. The other codes are about the mailbox or the server (RFC 2449 section
    /// 8, RFC 3206).
    pub(crate) fn is_about_login(&self) -> bool {
        !self.code.as_deref().is_some_and(|code| {
            ["IN-USE", "LOGIN-DELAY"].contains(&code) || code.split('/').next() == Some("SYS")
        })
    }

    pub(super) fn parse(rest: &str) -> Self {
        let coded = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match coded {
            Some((code, text)) => Self { code: Some(code.to_ascii_uppercase()), text: text.trim().into() },
            None => Self { code: None, text: rest.trim().into() },
        }
    }
}
