//! Pages of a list.

use serde::Serialize;

use crate::message_object::mailpit::ListItem;

/// A page of a list, under the names of Mailpit.
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
    pub messages: Vec<ListItem<'a>>,
    /// The addresses of mailboxes that cannot be read, or not to their end. Mailpit has no such field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}
