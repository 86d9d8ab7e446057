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
             <span class=\"facts\">{{state}} {{time}}</span> \
             <span class=\"snippet\" lang=\"en\">{{line}}</span></a></li>\n",
            &[
                ("path", Html::text(&percent(&id))),
                ("id", Html::text(&id)),
                ("class", Html::text(if session.is_over { "over" } else { "open" })),
                ("current", self.current(is_shown)),
                ("service", Html::text(&session.service.to_uppercase())),
                ("state", self.state(session)),
                ("time", time(self.language, seconds(session.began))),
                ("line", Html::text(&session.last_line)),
            ],
        )
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
             <p id=\"title\" class=\"quiet\" lang=\"en\">{{title}} {{state}}</p>\n{{lines}}</article>",
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
        }
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
