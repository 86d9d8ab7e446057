//! The mailbox of a dialogue: messages that are no files.

use std::borrow::Cow;

use restante::{limits::Span, proto::request::Maildrop, wire_size::wire_size};

use super::{play::TODAY, text};

#[derive(Debug, Clone)]
pub(super) struct Message {
    unique_id: String,
    pub(super) content: Vec<u8>,
    octets: u64,
    delivered: u64,
}

/// A mailbox of messages that are not files.
#[derive(Debug)]
pub(super) struct Messages(pub(super) Vec<Message>);

impl Messages {
    /// `120,200`: two messages of those sizes, and nothing in them. `120/uid,200/other`: with those unique ids, and
    /// something of those sizes in them.
    pub(super) fn of_sizes(sizes: &str) -> Result<Self, String> {
        let message = |(at, told): (usize, &str)| {
            let mut parts = told.split('/');
            let (size, unique_id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let age = parts.next().map_or(Ok(0), |age| age.parse::<Span>().map(|age| age.0.as_secs()))?;
            let unique_id = String::from_utf8(text::unescaped(unique_id)?).map_err(|e| e.to_string())?;
            let octets = size.parse().map_err(|_| format!("{size:?} is not a size"))?;
            let (unique_id, content) = match unique_id.as_str() {
                "" => (format!("uid-{}", at + 1), Vec::new()),
                _ => (unique_id, of_octets(octets)),
            };
            Ok(Message { unique_id, content, octets, delivered: TODAY - age })
        };
        sizes.split(',').enumerate().map(message).collect::<Result<_, String>>().map(Self)
    }
}

impl Maildrop for Messages {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|message| message.octets).sum()
    }

    fn octets(&self, message: usize) -> u64 {
        self.0[message].octets
    }

    fn unique_id(&self, message: usize) -> Cow<'_, str> {
        Cow::Borrowed(&self.0[message].unique_id)
    }

    fn delivered_at(&self, message: usize) -> u64 {
        self.0[message].delivered
    }
}

/// Lines of so many octets on the wire.
fn of_octets(octets: u64) -> Vec<u8> {
    let (mut content, mut left) = (Vec::new(), octets as usize);
    while left > 0 {
        let line = if left > 100 { 70 } else { left };
        content.resize(content.len() + line.saturating_sub(2), b'x');
        content.push(b'\n');
        left -= line;
    }
    content
}

impl Message {
    /// `<unique id> "content"`, and perhaps `octets=n` where the size announced is to be another, or `age=…`
    /// where it was not delivered just now.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (unique_id, content) = text.split_once(' ').ok_or("a message has a unique id and a content")?;
        let (content, rest) = text::unquoted(content)?;
        let octets = wire_size(&content);
        let mut message = Self { unique_id: unique_id.into(), content, octets, delivered: TODAY };
        match rest.split_once('=') {
            None if rest.is_empty() => {}
            Some(("octets", octets)) => {
                message.octets = octets.parse().map_err(|_| format!("{octets:?} is not a size"))?;
            }
            Some(("age", age)) => message.delivered = TODAY - age.parse::<Span>()?.0.as_secs(),
            _ => return Err(format!("{rest:?} behind a message")),
        }
        Ok(message)
    }
}
