//! The From_ line before a message, with its sender and its date of delivery.

use super::Format;
use crate::tools::date;

/// A From_ line, as far as an import uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromLine {
    /// Date of delivery in seconds since 1970, if its form is known.
    pub date: Option<i64>,
    /// True if the line ends in CRLF.
    pub crlf: bool,
}

impl FromLine {
    /// Parses a line with its line end; `None` if it is ordinary text.
    pub(super) fn parse(line: &[u8], format: Format) -> Option<Self> {
        let text = line.strip_prefix(FROM)?.strip_suffix(b"\n")?;
        let text = String::from_utf8_lossy(text);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        // The sender may contain blanks, and a sender called `Sat` is not a date.
        let date = (0..words.len()).rev().find_map(|from| date::from_line(&words[from..]));
        (date.is_some() || format != Format::Auto).then(|| Self { date, crlf: line.ends_with(b"\r\n") })
    }
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

/// The beginning of a From_ line.
pub(super) const FROM: &[u8] = b"From ";
