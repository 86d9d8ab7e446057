//! The From_ line in front of a message: who sent it, and when it was delivered.

use super::{Format, cut::FROM};
use crate::tools::date;

/// A From_ line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromLine {
    /// When the message was delivered, in seconds since 1970, if it says so in a form that is known.
    pub date: Option<i64>,
    /// Whether the line ends in CRLF.
    pub crlf: bool,
}

impl FromLine {
    /// Reads a line with its end; `None` if it is a line of text.
    pub(super) fn parse(line: &[u8], format: Format) -> Option<Self> {
        let text = line.strip_prefix(FROM)?.strip_suffix(b"\n")?;
        let text = String::from_utf8_lossy(text);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        // The sender may have blanks in it, and one who is called `Sat` is no date.
        let date = (0..words.len()).rev().find_map(|from| date::from_line(&words[from..]));
        (date.is_some() || format != Format::Auto).then(|| Self { date, crlf: line.ends_with(b"\r\n") })
    }
}

/// The From_ line of a message that was delivered then, with the sender that its `Return-Path:` tells.
pub(super) fn written(return_path: Option<&[u8]>, seconds: i64) -> String {
    let sender = return_path
        .and_then(|path| std::str::from_utf8(path).ok())
        .map(|path| path.trim_start_matches('<').trim_end_matches('>'))
        .filter(|path| !path.is_empty() && path.bytes().all(|b| b.is_ascii_graphic()))
        .unwrap_or(NOBODY);
    format!("From {sender} {}\n", date::asctime(seconds))
}

/// What a From_ line says for a sender that is empty or not known.
const NOBODY: &str = "MAILER-DAEMON";
