//! The From_ line before a message, with its sender and its date of delivery.
//!
//! Any line that begins with `From ` may be one, or text that a program forgot to quote. `auto` decides by the form of the
//! line and by the header that follows, and tells of every line that it had to guess at.

use super::{Format, header_below::HeaderBelow, other_format::shown};
use crate::tools::date;

/// A From_ line, as far as an import uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromLine {
    /// Date of delivery in seconds since 1970, if its form is known.
    pub date: Option<i64>,
    /// True if the line ends in CRLF.
    pub crlf: bool,
}

/// A line that begins with `From ` and that no date shows to be a From_ line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubtfulLine {
    /// Offset in the mbox.
    pub at: u64,
    /// Its first octets.
    pub text: String,
    /// True if it was taken for the beginning of a message.
    pub begins_message: bool,
}

/// The reading of a line.
pub(super) struct Reading {
    /// `None` if the line is text of a message.
    pub(super) from: Option<FromLine>,
    /// True if that is a guess.
    pub(super) is_doubtful: bool,
}

impl Reading {
    /// Reads a line with its line end. `next` is the text after it, and `after_empty_line` is true if the line before it
    /// is empty, as a From_ line should have it.
    pub(super) fn of(line: &[u8], next: &[u8], after_empty_line: bool, format: Format) -> Self {
        let text = Self { from: None, is_doubtful: false };
        let Some(words) = line.strip_prefix(FROM).and_then(|line| line.strip_suffix(b"\n")) else {
            return text;
        };
        let words = String::from_utf8_lossy(words);
        let words: Vec<&str> = words.split_ascii_whitespace().collect();
        // The sender may contain blanks, and a sender called `Sat` is not a date.
        let usual = (0..words.len()).rev().find_map(|from| date::from_line(&words[from..]));
        let found = |date| Some(FromLine { date, crlf: line.ends_with(b"\r\n") });
        if usual.is_some() {
            return Self { from: found(usual), is_doubtful: false };
        }
        let first = words.len().saturating_sub(MAX_DATE_WORDS);
        let unusual =
            (first..words.len()).find_map(|sender| Some((sender, date::any_order(&words[sender..])?)));
        let date = unusual.map(|(_, date)| date);
        if format != Format::Auto {
            return Self { from: found(date), is_doubtful: false };
        }
        let envelope = is_sender(words.first().copied());
        let header = HeaderBelow::of(next);
        let begins = match (after_empty_line, unusual) {
            (true, Some((sender, _))) => sender == 1 || envelope || header != HeaderBelow::None,
            (true, None) => header == HeaderBelow::Mail || envelope && header == HeaderBelow::Fields,
            (false, _) => header == HeaderBelow::Mail && (unusual.is_some() || envelope),
        };
        Self { from: begins.then(|| found(date)).flatten(), is_doubtful: !begins || date.is_none() }
    }
}

impl DoubtfulLine {
    pub(super) fn new(at: u64, line: &[u8], begins_message: bool) -> Self {
        Self { at, text: shown(line), begins_message }
    }
}

/// True if the word after `From ` is that of an envelope: an address, or one that programs write for want of one.
fn is_sender(word: Option<&str>) -> bool {
    let Some(word) = word else { return true }; // `From ` alone, as Thunderbird writes
    let is_address =
        word.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    is_address || ["-", NULL_SENDER].contains(&word)
}

/// Formats the From_ line of a message, with the date of its delivery and the sender in its `Return-Path:`.
pub(super) fn format(return_path: Option<&[u8]>, seconds: i64) -> String {
    let sender = return_path
        .and_then(|path| std::str::from_utf8(path).ok())
        .map(|path| path.trim_start_matches('<').trim_end_matches('>'))
        .filter(|path| !path.is_empty() && path.bytes().all(|b| b.is_ascii_graphic()))
        .unwrap_or(NULL_SENDER);
    format!("From {sender} {}\n", date::asctime(seconds))
}

/// The sender of a From_ line if the real one is empty or unknown.
const NULL_SENDER: &str = "MAILER-DAEMON";

/// Words of the longest date: `Sun Jan 04 2026 08:00:00 GMT+0000 (Coordinated Universal Time)`. A line may have thousands.
const MAX_DATE_WORDS: usize = 16;
/// The beginning of a From_ line.
pub(super) const FROM: &[u8] = b"From ";
