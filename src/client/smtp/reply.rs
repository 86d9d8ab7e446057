//! Replies of an SMTP server.

pub use crate::proto::smtp::reply_codes::ReplyClass;

/// One reply, of one or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits (RFC 5321 section 4.2).
    pub code: u16,
    /// The enhanced status code, if there is one (RFC 2034).
    pub enhanced: Option<Enhanced>,
    /// The texts, without the codes.
    pub lines: Vec<String>,
}

/// An enhanced status code: class, subject and detail (RFC 3463 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl Reply {
    /// The class, by the first digit.
    pub fn class(&self) -> ReplyClass {
        ReplyClass::of(&self.code.to_string()).unwrap_or(ReplyClass::Permanent)
    }

    /// True if the code is from 200 to 299.
    pub fn is_done(&self) -> bool {
        self.class() == ReplyClass::Success
    }

    /// Parses the lines of one reply. The first line decides (RFC 5321 section 4.2.1).
    pub(super) fn parse(lines: &[Vec<u8>]) -> Option<Self> {
        let texts: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        let code = texts.first()?.get(..3)?.parse().ok().filter(|code| (200..600).contains(code))?;
        let texts = texts.iter().map(|text| text.get(4..).unwrap_or(""));
        let enhanced = texts.clone().next().and_then(Enhanced::parse);
        let bare = |text: &str| match Enhanced::parse(text) {
            Some(_) => text.split_once(' ').map_or("", |(_, text)| text).to_owned(),
            None => text.to_owned(),
        };
        Some(Self { code, enhanced, lines: texts.map(bare).collect() })
    }
}

impl Enhanced {
    fn parse(text: &str) -> Option<Self> {
        let word = text.split(' ').next()?;
        let mut numbers = word.split('.').map(|number| number.parse::<u16>().ok());
        let (Some(Some(class @ (2 | 4 | 5))), Some(Some(subject)), Some(Some(detail)), None) =
            (numbers.next(), numbers.next(), numbers.next(), numbers.next())
        else {
            return None;
        };
        Some(Self(class as u8, subject, detail))
    }
}
