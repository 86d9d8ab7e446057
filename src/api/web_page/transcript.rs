//! The lines of a session as `restante watch` explains them.
//!
//! The rule: lines are only ever added to a transcript, so each one keeps its number, and a page that has some of them needs
//! only the others.

use super::Html;
use crate::{
    language::Language,
    proto::smtp::reply_codes::ReplyClass,
    transcript::{Exchange, Reader},
};

/// The lines of a session, as a list.
pub(super) struct Lines {
    pub(super) html: Html,
    /// The description of the session in its first line.
    pub(super) title: String,
}

/// The lines from number `from` on. The explanations are in English, as those of `watch`.
pub(super) fn list(language: Language, text: &str, from: usize) -> Lines {
    let (mut reader, mut rows, mut number) = (Reader::default(), Vec::new(), 0);
    let (mut time, mut title) = (String::new(), String::new());
    let mut is_cut = false;
    for line in text.lines() {
        let exchange = match reader.line(line) {
            Some(Exchange::SessionStart(text)) => {
                title = text;
                continue;
            }
            Some(exchange) => exchange,
            None => continue,
        };
        if number == MAX_LINES {
            is_cut = true;
            break;
        }
        if number >= from {
            let now = if reader.time() == time { "" } else { reader.time() };
            rows.push(row(language, &exchange, now));
        }
        time = reader.time().to_owned();
        number += 1;
    }
    let rows = Html::join(rows);
    let list =
        Html::fill(language, "<ol class=\"transcript\" lang=\"en\">\n{{rows}}</ol>", &[("rows", rows)]);
    let note = "<p class=\"note\">{{:lines_cut}}</p>";
    let note = if is_cut { Html::fill(language, note, &[]) } else { Html::default() };
    Lines { html: Html::join([list, note]), title }
}

fn row(language: Language, exchange: &Exchange, time: &str) -> Html {
    let text = |text: &str| Html::text(text);
    let fill = |template, slots: &[(&str, Html)]| Html::fill(language, template, slots);
    let spoken = |line: &str| fill("<code>{{line}}</code>", &[("line", text(line))]);
    let change = |before: &str, after: &str| {
        fill("<b>{{before}} → {{after}}</b>", &[("before", text(before)), ("after", text(after))])
    };
    // The class, the speaker, the mark, the line, its meaning, and the section that defines it.
    let (class, speaker, mark, line, told, rfc) = match exchange {
        Exchange::Client { line, meaning, rfc } => {
            ("client", "Client", "C", spoken(line), &**meaning, &**rfc)
        }
        Exchange::Server { line, meaning, class } => {
            let is_listed = line.get(3..4) == Some("-");
            let class = match class {
                _ if is_listed => "server success listed",
                Some(ReplyClass::Success) => "server success",
                Some(ReplyClass::Intermediate) => "server more",
                Some(ReplyClass::Transient) => "server later",
                Some(ReplyClass::Permanent) => "server refused",
                None => "server success listed",
            };
            (class, "Server", "S", spoken(line), &**meaning, "")
        }
        Exchange::Elided { from_client: true, summary } => ("client", "Client", "C", text(summary), "", ""),
        Exchange::Elided { from_client: false, summary } => ("server", "Server", "S", text(summary), "", ""),
        Exchange::ServerAction(what) => ("aside", "Server", "·", text(what), "", ""),
        Exchange::State(before, after) => {
            ("state", "State", "▸", change(before.name(), after.name()), after.description(), "")
        }
        Exchange::Spool(what, file) => ("spool", "File", "▪", text(&format!("{what} {file}")), "", ""),
        Exchange::StartTls(rfc) => ("tls", "TLS", "◆", text(TLS_BEGINS), "", *rfc),
        Exchange::TlsStarted(by) => ("tls", "TLS", "◆", text(&format!("TLS {by}; shown decrypted")), "", ""),
        Exchange::Note(note) | Exchange::SessionStart(note) => ("aside", "Note", "·", text(note), "", ""),
    };
    let mut meaning = Html::default();
    if !told.is_empty() || !rfc.is_empty() {
        let rfc = match rfc {
            "" => Html::default(),
            rfc => fill(" <span class=\"rfc\">{{rfc}}</span>", &[("rfc", text(rfc))]),
        };
        meaning = fill("<p>{{told}}{{rfc}}</p>", &[("told", text(told)), ("rfc", rfc)]);
    }
    fill(
        "<li class=\"{{class}}\"><span class=\"at\">{{time}}</span>\
         <b class=\"who\"><span class=\"hidden\">{{speaker}}: </span><span aria-hidden=\"true\">{{mark}}</span></b>\
         <div>{{line}}{{meaning}}</div></li>\n",
        &[
            ("class", text(class)),
            ("time", text(time)),
            ("speaker", text(speaker)),
            ("mark", text(mark)),
            ("line", line),
            ("meaning", meaning),
        ],
    )
}

const TLS_BEGINS: &str = "TLS begins: from here on, the network can neither read nor change the session. Both sides discard \
                          everything learned before.";
/// Lines that a page shows.
const MAX_LINES: usize = 3000;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A session of SMTP at 127.0.0.1:25 with 127.0.0.1:4, begun at 2026, recorded by restante.\n\
                        = protocol smtp\n# state: start\nS: 220 mx ESMTP\n# time: +0.100\nC: EHLO <b>&\"'\n\
                        S: 250 HELP\n# state: start -> greeted\n";

    #[test]
    fn v63_each_line_is_escaped_and_explained_and_keeps_its_number() {
        let Lines { html, title } = list(Language::English, TEXT, 0);
        let whole = String::from_utf8(html.into_bytes()).unwrap();
        assert_eq!(whole.matches("<li ").count(), 4, "{whole}");
        assert!(
            whole.contains("<code>EHLO &lt;b&gt;&amp;&quot;&#39;</code>") && whole.contains("RFC 5321"),
            "{whole}"
        );
        assert!(whole.contains("<b>start → greeted</b>") && whole.matches("+0.100").count() == 1, "{whole}");
        assert!(title.starts_with("A session of SMTP at 127.0.0.1:25"));
        let rest = String::from_utf8(list(Language::English, TEXT, 2).html.into_bytes()).unwrap();
        let (_, last) = whole.split_once("</li>\n").unwrap().1.split_once("</li>\n").unwrap();
        assert!(rest.ends_with(last) && rest.matches("<li ").count() == 2, "{rest}");
        let long = format!("{TEXT}{}", "C: NOOP\n".repeat(MAX_LINES));
        let long = String::from_utf8(list(Language::French, &long, 0).html.into_bytes()).unwrap();
        assert!(long.matches("<li ").count() == MAX_LINES && long.contains("class=\"note\""));
    }
}
