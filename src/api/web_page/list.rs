//! The inboxes and the list of messages.

use super::{Counts, Html, OpenedMessage, WebPage, base, mistake, word};
use crate::message_object::{NamedAddress, Summary, mailpit::Stored};

impl WebPage<'_> {
    pub(super) fn inbox_list(&self) -> Html {
        let all = self.all.map(|counts| self.inbox(None, counts));
        let inboxes = self.inboxes.iter().map(|(address, counts)| self.inbox(Some(address), *counts));
        Html::join(all.into_iter().chain(inboxes))
    }

    fn inbox(&self, address: Option<&str>, Counts { messages, unread }: Counts) -> Html {
        let is_current = match (address, self.address) {
            (Some(address), Some(current)) => address.eq_ignore_ascii_case(current),
            (Some(_), None) => self.is_of_one_user(),
            (None, current) => current.is_none(),
        };
        let current = if is_current { self.fill(" aria-current=\"page\"", &[]) } else { Html::default() };
        let badge = match unread {
            0 => Html::default(),
            unread => self.fill(
                "<b class=\"badge\" aria-hidden=\"true\">{{unread}}</b>",
                &[("unread", Html::text(&unread.to_string()))],
            ),
        };
        let mut told = self.counted(messages, "count_one", "count_many");
        if unread > 0 {
            told += ", ";
            told += &self.counted(unread, "unread_one", "unread_many");
        }
        self.fill(
            "<li><a href=\"{{path}}\" title=\"{{name}}: {{told}}\"{{current}}><bdi>{{name}}</bdi>{{badge}}\
             <span class=\"hidden\">, {{told}}</span></a></li>\n",
            &[
                ("path", Html::text(&base(address))),
                ("current", current),
                ("name", Html::text(address.unwrap_or(word(self.language, "all")))),
                ("badge", badge),
                ("told", Html::text(&told)),
            ],
        )
    }

    /// The number of messages in the list, and of unread ones.
    pub(super) fn count(&self) -> String {
        let Counts { messages, unread } = self.listed;
        let mut text = self.counted(messages, "count_one", "count_many");
        if unread > 0 {
            text += ", ";
            text += &self.counted(unread, "unread_one", "unread_many");
        }
        if messages > 1 {
            text += ", ";
            text += word(self.language, "newest_first");
        }
        text
    }

    pub(super) fn row_list(&self) -> Html {
        Html::join(self.rows.iter().map(|(summary, stored)| self.row(summary, stored)))
    }

    fn row(&self, summary: &Summary, stored: &Stored<'_>) -> Html {
        let (class, unread) = if stored.is_read {
            ("", Html::default())
        } else {
            ("unread", self.fill("<span class=\"hidden\">{{:unread}}, </span>", &[]))
        };
        let is_open = matches!(&self.open, OpenedMessage::Shown(_, open, _) if open.id == stored.id);
        let files = match summary.attachments {
            0 => Html::default(),
            files => self.fill(
                "<span class=\"clip\" title=\"{{files}}\"><svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path d=\"M11 4v7a3 3 0 0 \
                 1-6 0V4a2 2 0 0 1 4 0v6.5a1 1 0 0 1-2 0V5\"/></svg><span class=\"hidden\">{{files}}</span></span>",
                &[("files", Html::text(&self.counted(files, "attachment_one", "attachment_many")))],
            ),
        };
        let subject = self.subject(summary);
        self.fill(
            "<li id=\"m-{{id}}\" data-id=\"{{id}}\" class=\"{{class}}\">\
             <label class=\"pick scripted\" hidden><input type=\"checkbox\" aria-label=\"{{:select}}: {{subject}}\"></label>\
             <a href=\"{{path}}\"{{current}}>{{unread}}\
             <span class=\"sender\"><bdi>{{sender}}</bdi></span> \
             <span class=\"facts\">{{files}}<span class=\"size\">{{size}}</span> {{time}}</span> \
             <span class=\"subject\"><bdi>{{subject}}</bdi></span> \
             <span class=\"snippet\"><bdi>{{snippet}}</bdi></span></a></li>\n",
            &[
                ("id", Html::text(stored.id)),
                ("class", Html::text(class)),
                ("path", Html::text(&self.message_path(stored.id))),
                (
                    "current",
                    if is_open { self.fill(" aria-current=\"true\"", &[]) } else { Html::default() },
                ),
                ("unread", unread),
                ("sender", self.sender(summary)),
                ("files", files),
                ("size", self.size(stored.octets.unwrap_or(summary.size))),
                ("time", self.time(stored.received.div_euclid(1000))),
                ("subject", subject),
                ("snippet", Html::text(&summary.snippet)),
            ],
        )
    }

    pub(super) fn subject(&self, summary: &Summary) -> Html {
        let subject = summary.subject.trim();
        Html::text(if subject.is_empty() { word(self.language, "no_subject") } else { subject })
    }

    fn sender(&self, summary: &Summary) -> Html {
        let shown = |one: &NamedAddress| {
            Some(if one.name.is_empty() { &one.address } else { &one.name })
                .filter(|text| !text.is_empty())
                .cloned()
        };
        let sender = summary.from.first().and_then(shown);
        let sender = sender.or_else(|| summary.envelope.from.clone().filter(|from| !from.is_empty()));
        Html::text(sender.as_deref().unwrap_or(word(self.language, "no_sender")))
    }

    /// The links to newer and older messages, or a sentence that there are none, or that some could not be read.
    pub(super) fn end_of_list(&self) -> Html {
        let link =
            |start, label: &'static str| self.fill(label, &[("path", Html::text(&self.list_path(start)))]);
        let mut pieces = Vec::new();
        if let Some(mistake) = &self.mistake {
            pieces.push(self.fill(
                "<p class=\"empty\"><bdi>{{word}}</bdi>: {{advice}}</p>",
                &[
                    ("word", Html::text(&mistake.word)),
                    ("advice", Html::text(&mistake::advice(self.language, mistake.advice))),
                ],
            ));
        } else if !self.unreadable.is_empty() {
            pieces.push(self.fill(
                "<p class=\"note\">{{:unreadable}} <bdi>{{names}}</bdi></p>",
                &[("names", Html::text(&self.unreadable.join(", ")))],
            ));
        } else if self.rows.is_empty() {
            let sentence = match self.send_to {
                _ if self.listed.messages > 0 => word(self.language, "beyond_end").to_owned(),
                _ if !self.search.is_empty() => word(self.language, "nothing_found").to_owned(),
                _ if !self.has_mailbox => word(self.language, "no_mailbox").to_owned(),
                None => word(self.language, "empty").to_owned(),
                Some(at) => {
                    let own =
                        if self.is_of_one_user() { Some(self.heading()) } else { self.recipient.as_deref() };
                    let to = own.unwrap_or(word(self.language, "any_address"));
                    word(self.language, "empty_send").replace("{at}", at).replace("{to}", to)
                }
            };
            pieces.push(self.fill(
                "<p class=\"empty\"><bdi>{{sentence}}</bdi></p>",
                &[("sentence", Html::text(&sentence))],
            ));
        }
        if self.start > 0 {
            // Beyond the end of the list, the last part.
            let last = self.listed.messages.saturating_sub(1) / Self::PART * Self::PART;
            let newer = self.start.saturating_sub(Self::PART).min(last);
            pieces.push(link(newer, "<a rel=\"prev\" href=\"{{path}}\">{{:newer}}</a> "));
        }
        if self.start + self.rows.len() < self.listed.messages && !self.rows.is_empty() {
            pieces.push(link(self.start + Self::PART, "<a rel=\"next\" href=\"{{path}}\">{{:older}}</a>"));
        }
        Html::join(pieces)
    }
}
