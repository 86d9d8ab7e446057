//! The page of sessions: the last ones in a list, and one of them, line by line.

use std::time::SystemTime;

use super::{Html, percent, time, transcript, word};
use crate::{
    language::Language,
    proto::http::{
        api::{Document, HTML},
        page::SESSIONS_HTML,
    },
    transcript::SessionEntry,
};

/// The values of the page of sessions.
#[derive(Debug)]
pub struct SessionsPage {
    /// The language of the words.
    pub language: Language,
    /// The last sessions, the newest first. `None` if the server writes no transcripts.
    pub sessions: Option<Vec<SessionEntry>>,
    /// True if the page shows whichever session is the newest.
    pub follows: bool,
    /// The session that the page shows, with its transcript.
    pub shown: Option<(SessionEntry, String)>,
    /// Lines to leave out, because the reader has them.
    pub from: usize,
}

impl SessionsPage {
    /// The page as a document.
    pub fn document(&self) -> Document {
        let live = if self.sessions.is_some() { "yes" } else { "" };
        let html = self.fill(
            SESSIONS_HTML,
            &[
                ("live", Html::text(live)),
                ("rows", self.rows()),
                ("count", Html::text(&self.count())),
                ("session", self.session()),
            ],
        );
        Document::new(HTML, html.into_bytes())
    }

    fn fill(&self, template: &'static str, slots: &[(&str, Html)]) -> Html {
        Html::fill(self.language, template, slots)
    }

    fn count(&self) -> String {
        let open = self.sessions.iter().flatten().filter(|session| !session.is_over).count();
        super::counted(self.language, open as u64, "open_one", "open_many")
    }

    fn rows(&self) -> Html {
        let Some(sessions) = &self.sessions else { return Html::default() };
        let newest = self.fill(
            "<li id=\"newest\"><a href=\"/sessions\"{{current}}><span class=\"sender\">{{:newest}}</span></a></li>\n",
            &[("current", self.current(self.follows))],
        );
        Html::join([newest].into_iter().chain(sessions.iter().map(|session| self.row(session))))
    }

    fn current(&self, is_current: bool) -> Html {
        if is_current { self.fill(" aria-current=\"page\"", &[]) } else { Html::default() }
    }

    fn row(&self, session: &SessionEntry) -> Html {
        let id = session.id.to_string();
        let is_shown = self.shown.as_ref().is_some_and(|(shown, _)| shown.id == session.id) && !self.follows;
        self.fill(
            "<li id=\"s-{{id}}\" class=\"{{class}}\"><a href=\"/sessions/{{path}}\"{{current}}>\
             <span class=\"sender\">{{service}} <span class=\"quiet\">{{id}}</span></span> \
             <span class=\"facts\">{{time}}</span> \
             <span class=\"subject\">{{state}}<bdi>{{client}}</bdi>{{result}}</span> \
             <span class=\"snippet\" lang=\"en\">{{line}}</span></a></li>\n",
            &[
                ("path", Html::text(&percent(&id))),
                ("id", Html::text(&id)),
                ("class", Html::text(if session.is_over { "over" } else { "open" })),
                ("current", self.current(is_shown)),
                ("service", Html::text(&session.service.to_uppercase())),
                (
                    "state",
                    if session.is_over {
                        Html::default()
                    } else {
                        Html::join([self.state(session), Html::text(" ")])
                    },
                ),
                ("time", time(self.language, seconds(session.began))),
                ("client", Html::text(&client(session))),
                ("result", Html::text(&self.result(session))),
                ("line", Html::text(&session.last_line)),
            ],
        )
    }

    /// The result of a session in words, after a comma.
    fn result(&self, session: &SessionEntry) -> String {
        let counted = |number: usize, one: &str, many: &str| {
            (number > 0).then(|| super::counted(self.language, number as u64, one, many))
        };
        let refused =
            session.refusal.as_ref().map(|code| word(self.language, "refused").replace("{c}", code));
        let results = [
            counted(session.delivered, "delivered_one", "delivered_many"),
            counted(session.retrieved, "retrieved_one", "retrieved_many"),
            refused,
        ];
        results.into_iter().flatten().map(|result| format!(", {result}")).collect()
    }

    fn state(&self, session: &SessionEntry) -> Html {
        let open = "<b class=\"badge\">{{:open}}</b>";
        if session.is_over { Html::default() } else { self.fill(open, &[]) }
    }

    fn session(&self) -> Html {
        let Some(sessions) = &self.sessions else {
            return self.fill(
                "<article id=\"message\"><h2 id=\"subject\" tabindex=\"-1\">{{:transcripts_off}}</h2>\
                 <p>{{:transcripts_on}}</p><pre class=\"source\">transcripts = &quot;transcripts&quot;</pre></article>",
                &[],
            );
        };
        let Some((session, text)) = &self.shown else {
            let sentence = if sessions.is_empty() { "no_session" } else { "session_forgotten" };
            return self.fill(
                "<article id=\"message\"><p class=\"choose\">{{sentence}}</p></article>",
                &[("sentence", Html::text(word(self.language, sentence)))],
            );
        };
        let transcript::Lines { html, title } = transcript::list(self.language, text, self.from);
        self.fill(
            "<article id=\"message\" data-id=\"{{id}}\" aria-labelledby=\"subject\">\
             <h2 id=\"subject\" tabindex=\"-1\">{{service}} {{id}}</h2>\
             <p id=\"title\" class=\"quiet\"><span lang=\"en\">{{title}}</span> {{state}}</p>\n{{lines}}</article>",
            &[
                ("id", Html::text(&session.id.to_string())),
                ("service", Html::text(&session.service.to_uppercase())),
                ("title", Html::text(&title)),
                ("state", self.state(session)),
                ("lines", html),
            ],
        )
    }
}

/// The user of a session, and the address from which it came.
fn client(session: &SessionEntry) -> String {
    let user = session.user.as_ref().map(|user| format!("{user}, ")).unwrap_or_default();
    format!("{user}{}", session.peer)
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::request::ConnId;

    fn page(sessions: Option<Vec<SessionEntry>>, shown: Option<&str>, language: Language) -> String {
        let shown = shown.zip(sessions.as_ref()).map(|(text, all)| (all[0].clone(), text.to_owned()));
        let page = SessionsPage { language, sessions, follows: true, shown, from: 0 };
        String::from_utf8(page.document().bytes).unwrap()
    }

    fn session() -> SessionEntry {
        SessionEntry {
            id: ConnId(0x1000),
            service: "smtp".into(),
            peer: "192.0.2.1:4".parse().unwrap(),
            began: SystemTime::UNIX_EPOCH,
            last_line: "C: <script>\"'".into(),
            is_over: false,
            user: Some("bob@<x>".into()),
            delivered: 2,
            retrieved: 0,
            refusal: Some("550 5.1.1".into()),
        }
    }

    #[test]
    fn v106_sessions_in_the_list_differ_by_user_address_and_result() {
        let html = page(Some(vec![session()]), None, Language::English);
        let row = "<bdi>bob@&lt;x&gt;, 192.0.2.1:4</bdi>, 2 messages delivered, refused: 550 5.1.1</span>";
        assert!(html.contains(row), "{html}");
        let french = page(Some(vec![session()]), None, Language::French);
        assert!(french.contains(", 2 messages remis, refus : 550 5.1.1</span>"), "{french}");
    }

    #[test]
    fn v101_english_explanations_on_a_french_page_say_so_and_the_rest_is_french() {
        let text = "# A session of SMTP at 127.0.0.1:25, begun at 2026.\nC: NOOP\n";
        let html = page(Some(vec![session()]), Some(text), Language::French);
        let title = html.split_once("id=\"title\"").unwrap().1.split_once("</p>").unwrap().0;
        let (english, french) = title.split_once("</span>").unwrap();
        assert!(english.contains("<span lang=\"en\">A session of SMTP"), "{title}");
        assert_eq!(french, " <b class=\"badge\">ouverte</b>");
        assert!(html.contains("<ol class=\"transcript\" lang=\"en\">"), "{html}");
    }

    #[test]
    fn v64_the_page_of_sessions_is_whole_in_both_languages_and_text_stays_text() {
        let text = "# A session of <i>.\nC: </code><script>alert(1)</script>\n";
        let html = page(Some(vec![session()]), Some(text), Language::English);
        for part in
            ["<html lang=\"en\">", "Newest session", "SMTP c1000", "1 open", "&lt;/code&gt;&lt;script&gt;"]
        {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(html.matches("<script").count() == 1 && !html.contains("{{"), "{html}");
        assert!(page(Some(Vec::new()), None, Language::English).contains("No session yet"));
        let off = page(None, None, Language::French);
        assert!(off.contains("transcripts = &quot;") && off.contains("<html lang=\"fr\">"), "{off}");
        assert!(off.contains("data-live=\"\""), "no events are asked for");
    }
}
