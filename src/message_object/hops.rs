//! The route of a message, from its `Received:` fields (RFC 5321 section 4.4).

use std::borrow::Cow;

use serde::Serialize;

use crate::mime::date::Date;

/// One server on the route.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Hop {
    /// The sending host, with the server's remarks.
    pub from: Option<String>,
    /// The server.
    pub by: Option<String>,
    /// The protocol.
    pub with: Option<String>,
    /// The server's own id for the message.
    pub id: Option<String>,
    /// The recipient, if the server names one.
    pub recipient: Option<String>,
    /// Time in seconds since 1970.
    pub time: Option<i64>,
    /// Seconds since the previous hop; negative if the clocks differ.
    pub delay: Option<i64>,
}

/// The hops in order of time, from the values of `Received:` in the order of the header: the topmost field is the last.
pub fn hops<'a>(received: impl Iterator<Item = Cow<'a, str>>) -> Vec<Hop> {
    let mut hops: Vec<Hop> = received.map(|value| hop(&value)).collect();
    hops.reverse();
    let mut before: Option<i64> = None;
    for hop in &mut hops {
        hop.delay = hop.time.zip(before).map(|(time, before)| time - before);
        before = hop.time.or(before);
    }
    hops
}

fn hop(value: &str) -> Hop {
    let (clauses, date) = value.rsplit_once(';').unwrap_or((value, ""));
    let time = Date::parse(date.as_bytes()).map(|date| date.seconds()).filter(|time| *time >= 0);
    let mut told: [Option<String>; CLAUSES.len()] = Default::default();
    let mut clause = None;
    for word in words(clauses) {
        let next = CLAUSES.iter().position(|name| word.eq_ignore_ascii_case(name));
        match next.filter(|next| told[*next].is_none()) {
            Some(next) => {
                told[next] = Some(String::new());
                clause = Some(next);
            }
            None => {
                if let Some(text) = clause.and_then(|clause| told[clause].as_mut()) {
                    text.push_str(if text.is_empty() { "" } else { " " });
                    text.push_str(word);
                }
            }
        }
    }
    let [from, by, with, id, recipient] = told;
    Hop { from, by, with, id, recipient, time, delay: None }
}

/// Keywords that begin the clauses of the field.
const CLAUSES: [&str; 5] = ["from", "by", "with", "id", "for"];

/// The words of a text; a comment in parentheses is one word.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut depth, mut start) = (Vec::new(), 0u32, None);
    for (at, c) in text.char_indices() {
        let blank = c.is_whitespace() && depth == 0;
        match (blank, start) {
            (true, Some(from)) => {
                words.push(&text[from..at]);
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    words.extend(start.map(|from| &text[from..]));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_come_in_the_order_of_time_with_delays() {
        let received = [
            "from mx.far.test ([192.0.2.7])\n\tby mx.here.test (restante) with ESMTP id c1-1\n\
             \tfor <bob@here.test>; Fri, 20 Nov 2026 10:00:05 +0000",
            "by mx.far.test (from userid 1000 by hand); Fri, 20 Nov 2026 11:00:00 +0100",
            "nonsense",
        ];
        let hops = hops(received.into_iter().map(Cow::Borrowed));
        assert_eq!(hops.len(), 3);
        assert_eq!(hops[0], Hop::default());
        assert_eq!(hops[1].by.as_deref(), Some("mx.far.test (from userid 1000 by hand)"));
        assert_eq!((hops[1].time, hops[1].delay), (Some(1_795_168_800), None));
        let last = &hops[2];
        assert_eq!(last.from.as_deref(), Some("mx.far.test ([192.0.2.7])"));
        assert_eq!(last.by.as_deref(), Some("mx.here.test (restante)"));
        assert_eq!((last.with.as_deref(), last.id.as_deref()), (Some("ESMTP"), Some("c1-1")));
        assert_eq!((last.recipient.as_deref(), last.delay), (Some("<bob@here.test>"), Some(5)));
    }
}
