//! The capabilities that a session announces (RFC 3501 section 7.2.1). The rule: a capability is announced only if all of
//! it works.

use super::{response::writer::Items, state::ImapSession};

impl ImapSession {
    /// Writes the capabilities in the present state, as CAPABILITY lists them.
    pub(super) fn write_capabilities(&self, items: &mut Items<'_>) {
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
        list.into_iter().filter(|name| self.offers(name)).for_each(|name| {
            items.atom(name);
        });
        if self.user.is_some() && self.offers("APPENDLIMIT") {
            items.keyword(&format!("APPENDLIMIT={}", self.config.limits.smtp.max_message_size.0));
        }
    }

    /// Whether the listener announces a capability. The kinds of a quota are announced with it, or none is.
    pub(super) fn offers(&self, name: &str) -> bool {
        let mut withheld = self.config.protocol.withheld.iter();
        !withheld.any(|off| {
            name.strip_prefix(off.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    }
}

const ANY_STATE: &[&str] = &["SASL-IR", "LITERAL+", "ID", "ENABLE", "LANGUAGE"];
const AFTER_LOGIN: &[&str] = &[
    "IDLE",
    "NAMESPACE",
    "CHILDREN",
    "UIDPLUS",
    "UNSELECT",
    "MOVE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "ESEARCH",
    "STATUS=SIZE",
    "CONDSTORE",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
];

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
    ("LANGUAGE", "replies come in several languages", "RFC 5255"),
    ("IDLE", "IDLE is there", "RFC 2177"),
    ("NAMESPACE", "NAMESPACE is there", "RFC 2342"),
    ("CHILDREN", "LIST tells whether there are mailboxes below", "RFC 3348"),
    ("UIDPLUS", "the UIDs of copies are told, and UID EXPUNGE is there", "RFC 4315"),
    ("UNSELECT", "UNSELECT is there", "RFC 3691"),
    ("MOVE", "MOVE is there", "RFC 6851"),
    ("LIST-EXTENDED", "LIST has options", "RFC 5258"),
    ("LIST-STATUS", "LIST may tell the numbers of each mailbox", "RFC 5819"),
    ("SPECIAL-USE", "LIST tells which mailbox is for sent mail, drafts, ...", "RFC 6154"),
    ("CREATE-SPECIAL-USE", "CREATE may make a mailbox for sent mail, drafts, ...", "RFC 6154 section 3"),
    ("ESEARCH", "SEARCH has results of other forms", "RFC 4731"),
    ("STATUS=SIZE", "STATUS tells the octets of a mailbox", "RFC 8438"),
    ("CONDSTORE", "changes of flags are numbered", "RFC 7162 section 3.1"),
    ("QUOTA", "the quota can be asked for", "RFC 9208"),
    ("QUOTA=RES-STORAGE", "the quota may limit octets", "RFC 9208 section 5.1"),
    ("QUOTA=RES-MESSAGE", "the quota may limit messages", "RFC 9208 section 5.2"),
    ("APPENDLIMIT", "the largest message that APPEND takes", "RFC 7889"),
];
