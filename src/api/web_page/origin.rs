//! The way of a message to here: the envelope, the sizes and the hops with their delays, as far as its header tells them, and
//! the session that brought it.

use std::borrow::Cow;

use super::{BroughtBy, Delivery, Html, WebPage, transcript, word};
use crate::message_object::{
    MessageObject,
    hops::{Hop, hops},
    mailpit::Stored,
};

impl WebPage<'_> {
    pub(super) fn origin(&self, object: &MessageObject, stored: &Stored<'_>, delivery: &Delivery) -> Html {
        let envelope = &object.summary.envelope;
        let unknown = || word(self.language, "unknown").to_owned();
        let from = match envelope.from.as_deref() {
            Some("") => word(self.language, "empty_sender").to_owned(),
            Some(from) => from.to_owned(),
            None => unknown(),
        };
        let size = |octets: u64| {
            let mut size = super::size(self.language, octets);
            if octets >= 1024 {
                size += &format!(" ({octets} {})", word(self.language, "octets"));
            }
            Html::text(&size)
        };
        self.fill(
            "<dl class=\"facts-list\"><div><dt>{{:envelope_from}}</dt><dd><bdi>{{from}}</bdi></dd></div>\
             <div><dt>{{:envelope_to}}</dt><dd><bdi>{{to}}</bdi></dd></div>\
             <div><dt>{{:queued}}</dt><dd><bdi>{{queued}}</bdi></dd></div>\
             <div><dt>{{:arrived}}</dt><dd>{{arrived}}</dd></div>\
             <div><dt>{{:encryption}}</dt><dd><bdi>{{encryption}}</bdi></dd></div>\
             <div><dt>{{:size_stored}}</dt><dd>{{stored}}</dd></div>\
             <div><dt>{{:size_wire}}</dt><dd>{{wire}}</dd></div></dl>\n\
             <h4>{{:hops}}</h4>{{hops}}\n<h4>{{:session}}</h4>{{session}}",
            &[
                ("from", Html::text(&from)),
                ("to", Html::text(&envelope.to.clone().unwrap_or_else(unknown))),
                ("queued", Html::text(&envelope.queued.clone().unwrap_or_else(unknown))),
                ("arrived", self.time(stored.received.div_euclid(1000))),
                ("encryption", Html::text(&self.encryption(object, &delivery.session))),
                ("stored", size(object.summary.size)),
                ("wire", size(delivery.octets)),
                ("hops", self.hops(object)),
                ("session", self.session(object, &delivery.session)),
            ],
        )
    }

    /// The encryption of the last hop: of the session itself if its transcript is there, else as the topmost field says.
    fn encryption(&self, object: &MessageObject, session: &BroughtBy) -> String {
        let in_transcript = match session {
            BroughtBy::Session(text) => text.lines().find_map(|line| line.strip_prefix("# tls: ")),
            _ => None,
        };
        if let Some(by) = in_transcript {
            return format!("TLS {by}");
        }
        let protocol = last_protocol(object);
        let told = match () {
            () if protocol.is_empty() => return word(self.language, "unknown").to_owned(),
            () if is_encrypted(&protocol) => word(self.language, "with_tls"),
            () => word(self.language, "without_tls"),
        };
        told.replace("{p}", &protocol)
    }

    /// The session that brought the message, line by line.
    fn session(&self, object: &MessageObject, session: &BroughtBy) -> Html {
        let sentence = match session {
            BroughtBy::Session(text) => return transcript::list(self.language, text, 0).html,
            BroughtBy::Hidden => "<p class=\"quiet\">{{:session_hidden}}</p>",
            BroughtBy::Off => "<p class=\"quiet\">{{:session_off}}</p>",
            BroughtBy::Gone if is_from_api(object) => "<p class=\"quiet\">{{:session_api}}</p>",
            BroughtBy::Gone => "<p class=\"quiet\">{{:session_gone}}</p>",
        };
        self.fill(sentence, &[])
    }

    fn hops(&self, object: &MessageObject) -> Html {
        let hops = hops(received(object));
        if hops.is_empty() {
            return self.fill("<p>{{:no_hops}}</p>", &[]);
        }
        self.fill(
            "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"{{:hops}}\"><table><thead><tr><th scope=\"col\">{{:server}}</th>\
             <th scope=\"col\">{{:received_from}}</th><th scope=\"col\">{{:protocol}}</th><th scope=\"col\">{{:time}}</th>\
             <th scope=\"col\">{{:delay}}</th></tr></thead><tbody>{{hops}}</tbody></table></div>",
            &[("hops", Html::join(hops.iter().map(|hop| self.hop(hop))))],
        )
    }

    fn hop(&self, hop: &Hop) -> Html {
        let text = |value: &Option<String>| Html::text(value.as_deref().unwrap_or("–"));
        let is_encrypted = hop.with.as_deref().is_some_and(is_encrypted);
        let tls = if is_encrypted { self.fill(" <b class=\"tls\">TLS</b>", &[]) } else { Html::default() };
        self.fill(
            "<tr><td>{{by}}</td><td>{{from}}</td><td>{{with}}{{tls}}</td><td>{{time}}</td><td class=\"number\">{{delay}}</td></tr>\n",
            &[
                ("by", text(&hop.by)),
                ("from", text(&hop.from)),
                ("with", text(&hop.with)),
                ("tls", tls),
                ("time", hop.time.map_or_else(|| Html::text("–"), |time| self.time(time))),
                ("delay", Html::text(&hop.delay.map_or_else(|| "–".to_owned(), delay))),
            ],
        )
    }
}

/// The values of `Received:`, the last server on top.
fn received(object: &MessageObject) -> impl Iterator<Item = Cow<'_, str>> {
    let fields = object.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("Received"));
    fields.map(|field| Cow::Borrowed(field.raw.as_str()))
}

/// The protocol of the last hop, as the topmost field says; empty if it names none.
fn last_protocol(object: &MessageObject) -> String {
    let last = received(object).next().and_then(|field| hops([field].into_iter()).pop());
    let protocol = last.and_then(|hop| hop.with).unwrap_or_default();
    protocol.split_whitespace().next().unwrap_or_default().to_owned()
}

/// True if restante received the message by its web API, which alone takes mail by HTTP.
fn is_from_api(object: &MessageObject) -> bool {
    object.summary.envelope.queued.is_some() && matches!(&*last_protocol(object), "HTTP" | "HTTPS")
}

/// True if the name of a protocol says that TLS was on: ESMTPS, ESMTPSA, LMTPS … (RFC 3848), and HTTPS.
fn is_encrypted(protocol: &str) -> bool {
    let name = protocol.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    name.trim_end_matches('A').ends_with("TPS")
}

/// Seconds, minutes, hours and days. A minus sign means that the clocks of two servers differ.
fn delay(seconds: i64) -> String {
    let sign = if seconds < 0 { "−" } else { "" };
    let whole = seconds.unsigned_abs();
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    let text = match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    };
    sign.to_owned() + &text
}

#[cfg(test)]
mod tests {
    use super::{delay, is_encrypted};

    #[test]
    fn the_protocol_says_whether_tls_was_on() {
        for (protocol, expected) in [
            ("ESMTPS", true),
            ("ESMTPSA", true),
            ("UTF8SMTPS (TLS1.3)", true),
            ("lmtps", true),
            ("HTTPS", true),
            ("HTTP", false),
            ("ESMTP", false),
            ("ESMTPA", false),
            ("SMTP", false),
            ("", false),
        ] {
            assert_eq!(is_encrypted(protocol), expected, "{protocol}");
        }
    }

    #[test]
    fn a_delay_has_two_units_at_most() {
        for (seconds, expected) in
            [(0, "0 s"), (59, "59 s"), (-65, "−1 min 5 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(delay(seconds), expected);
        }
    }
}
