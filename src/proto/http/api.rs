//! The requests of the web API to the backend, and their responses, as plain data.

use std::{borrow::Cow, collections::HashSet, fmt, sync::Arc, time::SystemTime};

use crate::{
    language::Language,
    proto::{chaos::Chaos, conn_id::ConnId, mailbox::Mailbox, smtp::address::Address, tagged::TaggedAddress},
};

/// A request about the messages of one mailbox, or of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRequest {
    /// The mailboxes that the request may reach.
    pub scope: MailboxScope,
    /// The action.
    pub action: ApiAction,
    /// The name of the time zone of the dates in its search; `None` for UTC.
    pub zone: Option<String>,
    /// The name with which its user has logged in; `None` without a login.
    pub user: Option<String>,
    /// True if the response may tell the paths of files: its reader may read all mail.
    pub tells_paths: bool,
}

/// The mailboxes that a request may reach.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MailboxScope {
    /// Every mailbox. A message with several recipients counts once.
    All,
    /// One mailbox.
    One(Mailbox),
    /// The messages of a mailbox for exactly this address.
    Tagged(Mailbox, TaggedAddress),
}

impl ApiRequest {
    /// A request without a login, whose dates are in UTC.
    pub fn new(scope: MailboxScope, action: ApiAction) -> Self {
        Self { scope, action, zone: None, user: None, tells_paths: false }
    }

    /// The request with the dates of its search in a time zone, if there are a search and a zone.
    pub(super) fn in_zone(self, name: Option<&str>) -> Self {
        let zone = name.filter(|_| self.action.has_search()).map(str::to_owned);
        Self { zone, ..self }
    }
}

impl ApiAction {
    /// True if the action changes mail: it is served even if its client has gone.
    pub fn changes_mail(&self) -> bool {
        matches!(self, Self::Delete(_) | Self::SetRead(..))
    }

    /// True if it has a search with dates.
    fn has_search(&self) -> bool {
        match self {
            Self::List { search, .. } | Self::Find { search, .. } => !search.is_empty(),
            Self::Page(page) => !page.search.is_empty(),
            Self::Delete(selection) | Self::SetRead(selection, _) => {
                matches!(selection, Selection::Search(_))
            }
            Self::Ready
            | Self::Info
            | Self::Sessions(_)
            | Self::Message(..)
            | Self::Streamed(_)
            | Self::Continue { .. }
            | Self::Subscribe
            | Self::Compose { .. }
            | Self::Chaos(_)
            | Self::Watch
            // Its searches have no dates.
            | Self::MailHogList { .. } => false,
        }
    }
}

impl fmt::Display for MailboxScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::One(mailbox) => mailbox.fmt(f),
            Self::Tagged(mailbox, address) => write!(f, "{mailbox} only={}", address.as_str()),
        }
    }
}

impl MailboxScope {
    /// The only mailbox in it.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::All => None,
            Self::One(mailbox) | Self::Tagged(mailbox, _) => Some(mailbox),
        }
    }

    /// True if an event concerns it. One of a message whose recipients are not known concerns everybody who sees its mailbox.
    pub fn concerns(&self, event: &MailEvent) -> bool {
        match self {
            Self::All => !event.is_copy,
            Self::One(mailbox) => *mailbox == event.mailbox,
            Self::Tagged(mailbox, address) => {
                let recipients = event.tagged.as_ref();
                *mailbox == event.mailbox && recipients.is_none_or(|all| all.contains(address))
            }
        }
    }
}

/// The action of an [`ApiRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiAction {
    /// Whether the server can read mail.
    Ready,
    /// The version, and the number of messages.
    Info,
    /// A page of the list of messages, newest first.
    List {
        /// The words of the search; empty for all messages.
        search: String,
        /// The number of newer messages to leave out.
        start: usize,
        /// The largest number of messages in the page.
        limit: usize,
    },
    /// A page of whole messages in the form of MailHog, newest first.
    MailHogList {
        /// The search; `None` for all messages.
        search: Option<MailHogSearch>,
        /// The number of newer messages to leave out.
        start: usize,
        /// The largest number of messages in the page.
        limit: usize,
    },
    /// The page of the web inbox.
    Page(Box<PageRequest>),
    /// The page of sessions.
    Sessions(SessionsRequest),
    /// One message, in one of its forms.
    Message(MessageName, MessageView),
    /// A new message with this id in the form of MailHog, for a stream of events. The response is
    /// [`Response::Item`](crate::proto::request::Response), in memory once for all streams.
    Streamed(String),
    /// The next piece of the raw message that this session reads, from this octet on.
    Continue {
        /// Offset in the file, in octets.
        from: u64,
    },
    /// The newest message that the words of a search match, in one of its forms.
    Find {
        /// The words of the search; empty for any message.
        search: String,
        /// The form.
        view: MessageView,
    },
    /// Deletes messages.
    Delete(Selection),
    /// Marks messages as read or unread.
    SetRead(Selection, bool),
    /// Writes a message from its description in JSON. The response is [`Response::Composed`](crate::proto::request::Response).
    Compose {
        /// The description, as the client sent it.
        body: Vec<u8>,
        /// The date of the message.
        date: SystemTime,
    },
    /// Sets the faults that happen by chance, if there are any to set, and returns those that hold.
    Chaos(Option<Chaos>),
    /// Sends the session an event for each change of the mailboxes, until its connection ends.
    Subscribe,
    /// Sends the session an event after the transcripts of sessions have changed, until its connection ends.
    Watch,
}

/// A request for the page of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionsRequest {
    /// The session that the page shows; `None` for the newest one.
    pub session: Option<ConnId>,
    /// The number of lines of it to leave out, because the reader has them.
    pub from: usize,
    /// The language of the words on the page.
    pub language: Language,
}

/// A search of MailHog's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailHogSearch {
    /// The part of the messages to look at.
    pub kind: MailHogKind,
    /// The text that it must contain.
    pub text: String,
}

/// The part of a message that a [`MailHogSearch`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailHogKind {
    /// The sender.
    From,
    /// The recipients.
    To,
    /// The body, and the values of the fields.
    Containing,
}

impl MailHogKind {
    /// Parses the name of a kind.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::From, Self::To, Self::Containing].into_iter().find(|kind| kind.name() == text)
    }

    /// Its name in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
            Self::Containing => "containing",
        }
    }
}

/// A message that was composed for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The address of its author, which is the reverse path too.
    pub from: Address,
    /// The addresses of all its recipients, each once.
    pub to: Vec<Address>,
    /// Its octets on the wire.
    pub octets: u64,
    /// The message with the line ends of a file.
    pub message: Vec<u8>,
}

/// A request for the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The mailboxes whose names and counts the page shows.
    pub inboxes: MailboxScope,
    /// The address after `/box/`, if the request names one.
    pub address: Option<String>,
    /// The words of the search; empty for all messages.
    pub search: String,
    /// The number of newer messages to leave out.
    pub start: usize,
    /// The message that the page shows. This marks it as read.
    pub message: Option<MessageName>,
    /// True if the page asks whether to delete the message.
    pub asks: bool,
    /// The host and the port to which mail can be sent; `None` if there is no such listener.
    pub send_to: Option<String>,
    /// The language of the words on the page.
    pub language: Language,
}

/// The messages that a change applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All messages.
    All,
    /// The messages with these ids, as far as they are there: another client may have deleted them.
    Ids(Vec<String>),
    /// The message of that name, which must be there.
    One(MessageName),
    /// The messages that the words of a search match.
    Search(String),
}

/// The name of a message in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageName {
    /// The newest message.
    Latest,
    /// The message with this id.
    Id(String),
}

impl MessageName {
    /// The longest id, in characters.
    const MAX_ID: usize = 64;

    /// Parses `latest`, or an id: letters and digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_id =
            (1..=Self::MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        match text {
            "latest" => Some(Self::Latest),
            _ => is_id.then(|| Self::Id(text.to_owned())),
        }
    }
}

impl fmt::Display for MessageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Latest => "latest",
            Self::Id(id) => id,
        })
    }
}

/// A form of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageView {
    /// Its fields, texts and parts, as JSON. This marks the message as read.
    Object,
    /// Its header fields, as JSON.
    Headers,
    /// The message, octet for octet as it is on the wire.
    Raw,
    /// The same, to be saved.
    Download,
    /// The form of MailHog, as JSON.
    MailHog,
    /// The decoded body of the part with this number, such as `2.1`.
    Part(String),
    /// Its HTML, in which references to own parts are paths.
    Html,
    /// The same for a frame: each link opens a window of its own.
    FramedHtml,
    /// Its text.
    Text,
}

impl MessageView {
    /// The view of a part, if the text can be its number: digits, dots and letters.
    pub fn of_part(text: &str) -> Option<Self> {
        let is_number = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
        ((1..=MessageName::MAX_ID).contains(&text.len()) && is_number).then(|| Self::Part(text.to_owned()))
    }
}

impl fmt::Display for MessageView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object => f.write_str("object"),
            Self::Headers => f.write_str("headers"),
            Self::Raw => f.write_str("raw"),
            Self::Download => f.write_str("download"),
            Self::MailHog => f.write_str("mailhog"),
            Self::Part(part) => write!(f, "part/{part}"),
            Self::Html => f.write_str("html"),
            Self::FramedHtml => f.write_str("framed"),
            Self::Text => f.write_str("text"),
        }
    }
}

/// The content of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The value of `Content-Type`.
    pub content_type: Cow<'static, str>,
    /// The name under which a browser saves it. `None` shows it in the browser.
    pub file_name: Option<String>,
    /// The version of the content, for `ETag`; `None` if it must not be reused.
    pub etag: Option<String>,
    /// All octets of the content, also those that are not in `bytes`.
    pub length: u64,
    /// The first octets; all of them unless a message is read in pieces.
    pub bytes: Vec<u8>,
    /// The outcome that it tells.
    pub outcome: Outcome,
}

impl Document {
    /// A document whose octets are all here.
    pub fn new(content_type: impl Into<Cow<'static, str>>, bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        let content_type = content_type.into();
        Self { content_type, file_name: None, etag: None, length, bytes, outcome: Outcome::Done }
    }

    /// JSON. The line end makes it a whole line on a terminal.
    pub fn json(mut text: String) -> Self {
        text.push_str("\r\n");
        Self::new(JSON, text.into_bytes())
    }

    /// The answer to a change.
    pub fn ok() -> Self {
        Self::new("text/plain", b"ok".to_vec())
    }

    /// The answer to a change for a client of MailHog.
    pub fn silence() -> Self {
        Self::new(JSON, Vec::new())
    }
}

/// Octets that any number of sessions send, in memory once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedOctets {
    /// Tells them from all others.
    pub number: u64,
    /// The octets.
    pub octets: Arc<Vec<u8>>,
}

impl SharedOctets {
    /// Their number in the program, and how many they are.
    pub fn size(&self) -> (u64, usize) {
        (self.number, self.octets.len())
    }
}

/// The outcome of a request. The content of a [`Document`] says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request was served.
    Done,
    /// The request has a mistake, and nothing was done.
    Mistaken,
    /// There is no such message.
    Missing,
    /// Mailboxes that it needs cannot be read.
    Failed,
}

/// A change of mailboxes, for the sessions that have subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailEvent {
    /// The kind of change.
    pub kind: MailChange,
    /// The mailbox that has changed.
    pub mailbox: Mailbox,
    /// The id of the message.
    pub id: String,
    /// Its recipients that have a tag; `None` if they are not known.
    pub tagged: Option<HashSet<TaggedAddress>>,
    /// True if the message is in another mailbox too, whose event tells those who see all mailboxes.
    pub is_copy: bool,
    /// The JSON object of the event, on one line.
    pub json: String,
}

/// The kind of a [`MailEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailChange {
    /// A message has arrived.
    New,
    /// The flags of a message have changed.
    Update,
    /// A message is gone.
    Delete,
    /// More has changed than is told one by one: the list is to be read again.
    Prune,
}

impl MailChange {
    /// The name of the event on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Prune => "prune",
        }
    }
}

/// The media type of a page.
pub const HTML: &str = "text/html; charset=utf-8";
/// The media type of JSON.
pub const JSON: &str = "application/json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_path_is_letters_and_digits() {
        assert_eq!(MessageName::parse("latest"), Some(MessageName::Latest));
        assert_eq!(MessageName::parse("a1Z"), Some(MessageName::Id("a1Z".into())));
        for bad in ["", "..", "a-b", "a/b", "a.b", "é", "a b", &"a".repeat(65)] {
            assert_eq!(MessageName::parse(bad), None, "{bad}");
        }
    }
}
