//! One message with its forms: text, HTML, headers, parts and source.

use std::borrow::Cow;

use super::{Delivery, Html, OpenedMessage, WebPage, base, percent, word};
use crate::message_object::{AttachedPart, MessageObject, NamedAddress, mailpit::Stored};

impl WebPage<'_> {
    pub(super) fn message(&self) -> Html {
        match &self.open {
            OpenedMessage::None => self.fill(
                "<article id=\"message\"><p class=\"choose\">{{:choose}}</p><p class=\"choose keys\">{{:keys}}</p></article>",
                &[],
            ),
            OpenedMessage::Gone => self.fill(
                "<article id=\"message\">{{back}}<p class=\"choose\" role=\"alert\">{{:gone}}</p></article>",
                &[("back", self.back())],
            ),
            OpenedMessage::Shown(object, stored, delivery) => self.shown(object, stored, delivery),
        }
    }

    fn back(&self) -> Html {
        self.fill(
            "<p class=\"back\"><a href=\"{{path}}\"><span aria-hidden=\"true\">← </span>{{:back}}</a></p>",
            &[("path", Html::text(&self.list_path(self.start)))],
        )
    }

    fn shown(&self, object: &MessageObject, stored: &Stored<'_>, delivery: &Delivery) -> Html {
        let (base, id) = (base(self.address), percent(stored.id));
        let api = Html::text(&format!("{base}api/v1/message/{id}"));
        let view = Html::text(&format!("{base}view/{id}"));
        let html = if object.html.is_empty() {
            Html::default()
        } else {
            // The link leads into the frame, which stays a sandbox.
            let remote = if object.html.contains("//") {
                self.fill(
                    "<a class=\"button\" href=\"{{view}}.remote.html?embed=1\" target=\"html\">{{:html_remote}}</a> ",
                    &[("view", view.clone())],
                )
            } else {
                Html::default()
            };
            self.fill(
                "<section id=\"form-html\"><h3>{{:html}}</h3><p class=\"note\">{{:html_note}} {{remote}}\
                 <a class=\"button\" href=\"{{view}}.html\" target=\"_blank\" rel=\"noopener noreferrer\">{{:html_alone}}</a></p>\
                 <iframe name=\"html\" title=\"{{:html}}\" sandbox=\"allow-popups allow-popups-to-escape-sandbox\" \
                 referrerpolicy=\"no-referrer\" loading=\"lazy\" src=\"{{view}}.html?embed=1\"></iframe></section>",
                &[("view", view.clone()), ("remote", remote)],
            )
        };
        self.fill(
            "<article id=\"message\" data-id=\"{{id}}\" aria-labelledby=\"subject\">{{back}}\
             <h2 id=\"subject\" tabindex=\"-1\"><bdi>{{subject}}</bdi></h2>\n\
             <dl class=\"people\">{{people}}<div><dt>{{:date}}</dt><dd>{{date}}</dd></div></dl>\n\
             {{tools}}\n\
             <div class=\"forms\" data-label=\"{{:forms}}\">\n\
             <section id=\"form-text\"><h3>{{:text}}</h3>{{text}}{{links}}</section>\n{{html}}\n\
             <section id=\"form-headers\"><h3>{{:headers}}</h3>{{headers}}</section>\n\
             <section id=\"form-parts\"><h3>{{:parts}}</h3>{{parts}}</section>\n\
             <section id=\"form-source\"><h3>{{:source}}</h3><pre class=\"source\" tabindex=\"0\" data-from=\"{{api}}/raw\" hidden></pre>\
             <p class=\"note\"><a href=\"{{api}}/raw\">{{:source_whole}}</a></p></section>\n\
             <section id=\"form-origin\"><h3>{{:origin}}</h3>{{origin}}</section>\n\
             </div></article>",
            &[
                ("id", Html::text(stored.id)),
                ("back", self.back()),
                ("subject", self.subject(&object.summary)),
                ("people", self.people(object)),
                ("date", self.date(object, stored)),
                ("text", self.text(object, &view)),
                ("links", self.links(object)),
                ("html", html),
                ("headers", self.headers(object)),
                ("parts", self.parts(object, &api)),
                ("api", api.clone()),
                ("origin", self.origin(object, stored, delivery)),
                ("tools", self.tools(&format!("{base}message/{id}"))),
            ],
        )
    }

    /// The buttons of a message. Without a script, a page of its own asks whether to delete it.
    fn tools(&self, path: &str) -> Html {
        let template = if self.asks {
            "<form class=\"tools\" method=\"post\" action=\"{{path}}/delete\"><strong>{{:delete_question}}</strong> \
             <button>{{:delete}}</button> <a class=\"button\" href=\"{{path}}\">{{:keep}}</a></form>"
        } else {
            "<p class=\"tools unscripted\"><a class=\"button\" href=\"{{path}}/delete\">{{:delete}}</a></p>\
             <div class=\"tools scripted\" hidden><button type=\"button\" data-do=\"delete\">{{:delete}}</button> \
             <button type=\"button\" data-do=\"unread\">{{:mark_unread}}</button></div>"
        };
        self.fill(template, &[("path", Html::text(path))])
    }

    fn date(&self, object: &MessageObject, stored: &Stored<'_>) -> Html {
        let sent = object.summary.date.map(|date| date.seconds());
        self.time(sent.unwrap_or(stored.received.div_euclid(1000)))
    }

    fn people(&self, object: &MessageObject) -> Html {
        let summary = &object.summary;
        let rows: [(&str, &[NamedAddress]); 5] = [
            ("from", &summary.from),
            ("to", &summary.to),
            ("cc", &summary.cc),
            ("bcc", &summary.bcc),
            ("reply_to", &summary.reply_to),
        ];
        Html::join(rows.into_iter().filter(|(_, people)| !people.is_empty()).map(|(key, people)| {
            let people = people.iter().map(|one| {
                let template = match (one.name.is_empty(), one.address.is_empty()) {
                    (true, _) => "<li><bdi>{{address}}</bdi></li>",
                    (false, true) => "<li><bdi>{{name}}</bdi></li>",
                    (false, false) => {
                        "<li><bdi>{{name}}</bdi> <bdi class=\"quiet\">&lt;{{address}}&gt;</bdi></li>"
                    }
                };
                self.fill(template, &[("name", Html::text(&one.name)), ("address", Html::text(&one.address))])
            });
            self.fill(
                "<div><dt>{{key}}</dt><dd><ul>{{people}}</ul></dd></div>",
                &[("key", Html::text(word(self.language, key))), ("people", Html::join(people))],
            )
        }))
    }

    /// The text, or its beginning with a link to the whole.
    fn text(&self, object: &MessageObject, view: &Html) -> Html {
        let (shown, is_cut) = beginning(&object.text);
        let whole = if is_cut {
            self.fill(
                "<p class=\"note\"><a href=\"{{view}}.txt\">{{:text_whole}}</a></p>",
                &[("view", view.clone())],
            )
        } else {
            Html::default()
        };
        self.fill(
            // A browser leaves out the first line end in `pre`.
            "<pre class=\"text\" dir=\"auto\" tabindex=\"0\">\n{{text}}</pre>{{whole}}",
            &[("text", Html::text(&shown)), ("whole", whole)],
        )
    }

    /// The links of the web in the message.
    fn links(&self, object: &MessageObject) -> Html {
        let is_web = |link: &str| {
            ["http://", "https://"].iter().any(|scheme| {
                link.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            })
        };
        let links = object.links.iter().filter(|link| is_web(link)).take(MAX_LINKS).map(|link| {
            self.fill(
                "<li><a href=\"{{link}}\" target=\"_blank\" rel=\"noopener noreferrer\"><bdi>{{link}}</bdi></a></li>",
                &[("link", Html::text(link))],
            )
        });
        let links = Html::join(links);
        if links == Html::default() {
            return links;
        }
        self.fill("<h4>{{:links}}</h4><ul class=\"links\">{{links}}</ul>", &[("links", links)])
    }

    fn headers(&self, object: &MessageObject) -> Html {
        let rows = object.headers.iter().map(|field| {
            self.fill(
                "<tr><th scope=\"row\">{{name}}</th><td><bdi>{{value}}</bdi></td></tr>\n",
                &[("name", Html::text(&field.name)), ("value", Html::text(&field.value))],
            )
        });
        let raw: Vec<String> = object
            .headers
            .iter()
            .map(|field| format!("{}: {}\n", field.name, field.raw.trim_start()))
            .collect();
        self.fill(
            "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"{{:headers}}\"><table>{{rows}}</table></div>\
             <details><summary>{{:as_sent}}</summary><pre class=\"source\" tabindex=\"0\">\n{{raw}}</pre></details>",
            &[("rows", Html::join(rows)), ("raw", Html::text(&raw.concat()))],
        )
    }

    fn parts(&self, object: &MessageObject, api: &Html) -> Html {
        let files: Vec<&AttachedPart> = object.attachments.iter().chain(&object.inline).collect();
        if files.is_empty() {
            return self.fill("<p>{{:no_parts}}</p>", &[]);
        }
        let rows = files.into_iter().map(|file| {
            self.fill(
                "<tr><td><a href=\"{{api}}/part/{{part}}\" download=\"{{name}}\"><bdi>{{name}}</bdi></a></td><td>{{kind}}</td>\
                 <td class=\"number\">{{size}}</td></tr>\n",
                &[
                    ("api", api.clone()),
                    ("part", Html::text(&percent(&file.part_id))),
                    ("name", Html::text(&file.file_name)),
                    ("kind", Html::text(&file.content_type)),
                    ("size", self.size(file.size)),
                ],
            )
        });
        self.fill(
            "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"{{:parts}}\"><table><thead><tr><th scope=\"col\">{{:file}}</th>\
             <th scope=\"col\">{{:kind}}</th><th scope=\"col\">{{:size}}</th></tr></thead>\
             <tbody>{{rows}}</tbody></table></div>",
            &[("rows", Html::join(rows))],
        )
    }
}

/// The part of a text that the page shows, and whether something is left out: the rest of a long text, or of a long line.
fn beginning(text: &str) -> (Cow<'_, str>, bool) {
    let shown = &text[..text.floor_char_boundary(MAX_TEXT)];
    if shown.split('\n').all(|line| line.len() <= MAX_LINE) {
        return (shown.into(), shown.len() < text.len());
    }
    let lines: Vec<Cow<'_, str>> = shown
        .split('\n')
        .map(|line| match line.get(..line.floor_char_boundary(MAX_LINE)) {
            Some(start) if start.len() < line.len() => format!("{start}…").into(),
            _ => line.into(),
        })
        .collect();
    (lines.join("\n").into(), true)
}

/// Octets of the text that the page shows.
const MAX_TEXT: usize = 1 << 20;
/// Octets of the longest line that the page shows. A browser takes seconds to break a line of a megabyte.
const MAX_LINE: usize = 16 << 10;
/// Links that the page shows.
const MAX_LINKS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_the_beginning_of_a_long_text_and_of_a_long_line() {
        assert_eq!(beginning("one\ntwo\n"), ("one\ntwo\n".into(), false));
        let line = "é".repeat(MAX_LINE);
        let (shown, is_cut) = beginning(&line);
        assert_eq!((shown.as_ref(), is_cut), (format!("{}…", "é".repeat(MAX_LINE / 2)).as_str(), true));
        let text = "x\n".repeat(MAX_TEXT);
        assert_eq!(beginning(&text), (text[..MAX_TEXT].into(), true));
    }
}
