//! Messages in lists.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::{Facts, MessageId};

/// A message in a list.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Read")]
    read: bool,
    #[serde(rename = "Created")]
    created: String,
    #[serde(flatten)]
    facts: &'a Facts,
}

impl<'a> Summary<'a> {
    /// A message that arrived at that time, in seconds and microseconds since 1970.
    pub fn new(id: MessageId, read: bool, created: (u64, u32), facts: &'a Facts) -> Self {
        Self { id: id.to_string(), read, created: rfc3339(created), facts }
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct Page<'a> {
    /// Messages in the mailbox.
    pub total: usize,
    /// Unread messages in the mailbox.
    pub unread: usize,
    /// Messages in this page.
    pub count: usize,
    /// Messages in the list.
    pub messages_count: usize,
    /// Unread messages in the list.
    pub messages_unread: usize,
    /// The number of newer messages before this page.
    pub start: usize,
    /// None: messages have no tags here.
    pub tags: [String; 0],
    /// The messages, newest first.
    pub messages: Vec<Summary<'a>>,
}

/// A time in RFC 3339.
pub(super) fn rfc3339((seconds, micros): (u64, u32)) -> String {
    // The format has four digits for the year.
    let time = UNIX_EPOCH + Duration::new(seconds.min(MAX_SECONDS), micros.min(999_999) * 1000);
    if micros == 0 {
        humantime::format_rfc3339_seconds(time).to_string()
    } else {
        humantime::format_rfc3339_millis(time).to_string()
    }
}

/// The last second of the year 9999.
const MAX_SECONDS: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_has_a_form() {
        assert_eq!(rfc3339((0, 0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339((784_111_777, 123_456)), "1994-11-06T08:49:37.123Z");
        assert_eq!(rfc3339((u64::MAX, u32::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
