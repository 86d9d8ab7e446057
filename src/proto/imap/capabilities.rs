//! The capabilities that a session announces (RFC 3501 section 7.2.1). The rule: a capability is announced only if all of
//! it works.

use super::state::ImapSession;

impl ImapSession {
    /// The capabilities in the present state, as CAPABILITY lists them.
    pub(super) fn capabilities(&self) -> String {
        let config = &self.config.protocol;
        let mut list = vec!["IMAP4rev1"];
        list.extend(ANY_STATE);
        if self.user.is_none() {
            if config.starttls && !self.is_encrypted {
                list.push("STARTTLS");
            }
            list.push(if self.passwords_allowed() { "AUTH=PLAIN" } else { "LOGINDISABLED" });
        } else {
            list.extend(AFTER_LOGIN);
        }
        list.retain(|name| !config.withheld.iter().any(|withheld| withheld == name));
        list.join(" ")
    }
}

const ANY_STATE: &[&str] = &["SASL-IR", "LITERAL+", "ID", "ENABLE"];
const AFTER_LOGIN: &[&str] = &[];

/// Keyword, meaning and section of each capability, for people.
pub(super) const MEANINGS: &[(&str, &str, &str)] = &[
    ("IMAP4rev1", "this is IMAP", "RFC 3501"),
    ("STARTTLS", "TLS may begin", "RFC 3501 section 6.2.1"),
    ("LOGINDISABLED", "no passwords are taken now", "RFC 3501 section 6.2.3"),
    ("AUTH=PLAIN", "AUTHENTICATE PLAIN is there", "RFC 4616"),
    ("SASL-IR", "AUTHENTICATE may have its response in the same line", "RFC 4959"),
    ("LITERAL+", "literals may come without waiting", "RFC 7888"),
    ("ID", "ID is there", "RFC 2971"),
    ("ENABLE", "ENABLE is there", "RFC 5161"),
];
