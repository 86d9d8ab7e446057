//! The way of a message to here, as far as its header tells it: the envelope, the sizes, and the hops with their delays.

use std::borrow::Cow;

use super::{Html, WebPage, word};
use crate::message_object::{
    MessageObject,
    hops::{Hop, hops},
    mailpit::Stored,
};

impl WebPage<'_> {
    pub(super) fn origin(&self, object: &MessageObject, stored: &Stored<'_>) -> Html {
        let envelope = &object.summary.envelope;
        let unknown = || word(self.language, "unknown").to_owned();
        let from = match envelope.from.as_deref() {
            Some("") => word(self.language, "empty_sender").to_owned(),
            Some(from) => from.to_owned(),
            None => unknown(),
        };
        let octets = object.summary.size;
        let mut size = super::size(self.language, octets);
        if octets >= 1024 {
            size += &format!(" ({octets} {})", word(self.language, "octets"));
        }
        self.fill(
            "<dl class=\"facts-list\"><div><dt>{{:envelope_from}}</dt><dd><bdi>{{from}}</bdi></dd></div>\
             <div><dt>{{:envelope_to}}</dt><dd><bdi>{{to}}</bdi></dd></div>\
             <div><dt>{{:queued}}</dt><dd><bdi>{{queued}}</bdi></dd></div>\
             <div><dt>{{:arrived}}</dt><dd>{{arrived}}</dd></div>\
             <div><dt>{{:size_stored}}</dt><dd>{{size}}</dd></div></dl>\n\
             <h4>{{:hops}}</h4>{{hops}}",
            &[
                ("from", Html::text(&from)),
                ("to", Html::text(&envelope.to.clone().unwrap_or_else(unknown))),
                ("queued", Html::text(&envelope.queued.clone().unwrap_or_else(unknown))),
                ("arrived", self.time(stored.received.div_euclid(1000))),
                ("size", Html::text(&size)),
                ("hops", self.hops(object)),
            ],
        )
    }

    fn hops(&self, object: &MessageObject) -> Html {
        let received = object.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("Received"));
        let hops = hops(received.map(|field| Cow::Borrowed(field.raw.as_str())));
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
        self.fill(
            "<tr><td>{{by}}</td><td>{{from}}</td><td>{{with}}</td><td>{{time}}</td><td class=\"number\">{{delay}}</td></tr>\n",
            &[
                ("by", text(&hop.by)),
                ("from", text(&hop.from)),
                ("with", text(&hop.with)),
                ("time", hop.time.map_or_else(|| Html::text("–"), |time| self.time(time))),
                ("delay", Html::text(&hop.delay.map_or_else(|| "–".to_owned(), delay))),
            ],
        )
    }
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
    use super::delay;

    #[test]
    fn a_delay_has_two_units_at_most() {
        for (seconds, expected) in
            [(0, "0 s"), (59, "59 s"), (-65, "−1 min 5 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(delay(seconds), expected);
        }
    }
}
