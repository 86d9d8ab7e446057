//! The page of the web inbox as HTML: the inboxes, the list and one message, made of the same values as the JSON of the API.
//!
//! The rule: the page is whole without a script. The script loads the same page again, and exchanges its regions.
//!
//! | module | contents |
//! |---|---|
//! | `html` | HTML as a value, and the one escape function |
//! | `words` | the words in English and French |
//! | `list` | the inboxes and the list |
//! | `message` | one message with its forms |
//! | `mistake` | the mistakes in a search, in both languages |
//! | `origin` | how it came here: envelope, sizes, hops, and the session that brought it |
//! | `transcript` | the lines of a session, explained |
//! | `sessions` | the page of sessions |

mod html;
mod list;
mod message;
mod mistake;
mod origin;
mod sessions;
mod transcript;
mod words;

use html::{Html, percent};
pub use sessions::SessionsPage;
use words::{counted, size, word};

use crate::{
    language::Language,
    message_object::{MessageObject, Summary, mailpit::Stored},
    mime::date::Date,
    proto::http::{
        api::{Document, Outcome},
        page::HTML,
    },
    search::Mistake,
};

/// The values of the page.
#[derive(Debug)]
pub struct WebPage<'a> {
    /// The language of the words.
    pub language: Language,
    /// The address whose inbox the page shows; `None` for all mail.
    pub address: Option<&'a str>,
    /// The same address with its domain, to which mail can be sent.
    pub recipient: Option<String>,
    /// The counts of all mail, for users who may see it.
    pub all: Option<Counts>,
    /// The inboxes that the user may see, by their addresses.
    pub inboxes: Vec<(String, Counts)>,
    /// False for a user whose mailbox does not exist yet.
    pub has_mailbox: bool,
    /// The words of the search.
    pub search: &'a str,
    /// The mistake in the search, which then selects nothing.
    pub mistake: Option<Mistake>,
    /// Number of newer messages before this part of the list.
    pub start: usize,
    /// The messages of the list, also those that are not in this part.
    pub listed: Counts,
    /// Unread messages of the inbox, whatever the search.
    pub unread: usize,
    /// The addresses of mailboxes that cannot be read, or not to their end.
    pub unreadable: Vec<String>,
    /// The messages of this part, newest first.
    pub rows: Vec<(&'a Summary, Stored<'a>)>,
    /// The open message.
    pub open: OpenedMessage<'a>,
    /// True if the page asks whether to delete the open message.
    pub asks: bool,
    /// The host and the port to which mail can be sent; `None` if there is no such listener.
    pub send_to: Option<&'a str>,
}

/// The messages in an inbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counts {
    /// All messages.
    pub messages: usize,
    /// Unread messages.
    pub unread: usize,
}

/// The message that a page shows.
#[derive(Debug)]
pub enum OpenedMessage<'a> {
    /// None: the page is a list.
    None,
    /// The message has gone.
    Gone,
    /// This one.
    Shown(&'a MessageObject, Stored<'a>, Delivery),
}

/// Facts about the way of a message to here that its header does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Octets on the wire.
    pub octets: u64,
    /// The session that brought it.
    pub session: BroughtBy,
}

/// The transcript of the session that brought a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BroughtBy {
    /// The reader may not see it: it names all recipients, and other messages.
    #[default]
    Hidden,
    /// The server writes no transcripts.
    Off,
    /// There is none of this session, or no longer.
    Gone,
    /// Its text.
    Session(String),
}

impl WebPage<'_> {
    /// Messages in a part of the list.
    pub const PART: usize = 50;

    /// The page as a document.
    pub fn document(&self) -> Document {
        let heading = self.heading();
        let unread = if self.unread > 0 { format!("({}) ", self.unread) } else { String::new() };
        let view = if matches!(self.open, OpenedMessage::None) { "view-list" } else { "view-message" };
        let html = self.fill(
            HTML,
            &[
                ("title", Html::text(&format!("{unread}{heading} · restante"))),
                ("view", Html::text(view)),
                ("base", Html::text(&base(self.address))),
                ("search", Html::text(self.search)),
                ("pages", self.pages()),
                ("inboxes", self.inbox_list()),
                ("heading", Html::text(heading)),
                ("count", Html::text(&self.count())),
                ("rows", self.row_list()),
                ("end", self.end_of_list()),
                ("message", self.message()),
            ],
        );
        let outcome = if matches!(self.open, OpenedMessage::Gone) { Outcome::Missing } else { Outcome::Done };
        Document { outcome, ..Document::new("text/html; charset=utf-8", html.into_bytes()) }
    }

    /// The address of the inbox that the page shows, or the words for all mail.
    fn heading(&self) -> &str {
        let own = self.inboxes.first().filter(|_| self.is_of_one_user()).map(|(address, _)| address.as_str());
        self.address.or(own).unwrap_or(word(self.language, "all"))
    }

    /// The link to the other page, for those who may open it.
    fn pages(&self) -> Html {
        let link = "<p class=\"pages\"><a href=\"/sessions\">{{:sessions}}</a></p>";
        if self.all.is_some() { self.fill(link, &[]) } else { Html::default() }
    }

    /// True if the page shows no choice of inboxes, because the user has one.
    fn is_of_one_user(&self) -> bool {
        self.address.is_none() && self.all.is_none()
    }

    fn fill(&self, template: &'static str, slots: &[(&str, Html)]) -> Html {
        Html::fill(self.language, template, slots)
    }

    /// Number and noun.
    fn counted(&self, number: usize, one: &str, many: &str) -> String {
        counted(self.language, number as u64, one, many)
    }

    fn size(&self, octets: u64) -> Html {
        Html::text(&size(self.language, octets))
    }

    /// The path of a list from this message on, with the search.
    fn list_path(&self, start: usize) -> String {
        base(self.address) + &self.query(start)
    }

    fn message_path(&self, id: &str) -> String {
        format!("{}message/{}{}", base(self.address), percent(id), self.query(self.start))
    }

    fn query(&self, start: usize) -> String {
        let mut pairs = Vec::new();
        if !self.search.is_empty() {
            pairs.push(format!("query={}", percent(self.search)));
        }
        if start > 0 {
            pairs.push(format!("start={start}"));
        }
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }

    /// A time that the script writes in the time zone of the reader.
    fn time(&self, seconds: i64) -> Html {
        time(self.language, seconds)
    }
}

/// A time that a script writes in the time zone of the reader.
fn time(language: Language, seconds: i64) -> Html {
    let text = Date::from_seconds(seconds).rfc3339();
    let shown = text.trim_end_matches('Z').replace('T', " ") + " UTC";
    Html::fill(
        language,
        "<time datetime=\"{{text}}\">{{shown}}</time>",
        &[("text", Html::text(&text)), ("shown", Html::text(&shown))],
    )
}

/// The base path of an inbox, or of all mail.
fn base(address: Option<&str>) -> String {
    address.map_or_else(|| "/".to_owned(), |address| format!("/box/{}/", percent(address)))
}

#[cfg(test)]
mod tests;
