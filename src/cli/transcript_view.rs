//! Prints transcripts on a terminal, with colour if wanted, and no wider than a projector can show.

use std::{
    env,
    io::{self, IsTerminal},
};

use ratatui::crossterm::terminal;

use crate::{
    client::display,
    mua::terminal::supports_styles,
    proto::smtp::reply_codes::ReplyClass,
    transcript::{Exchange, Reader},
};

/// The printer, with the properties of its terminal.
pub(super) struct Renderer {
    width: usize,
    colour: bool,
    /// Time and session of the last line.
    last_time: (String, Option<String>),
}

/// The style of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Client,
    Success,
    Intermediate,
    Transient,
    Permanent,
    Meaning,
    State,
    Spool,
    Tls,
    Title,
    Dim,
    Label(u8),
}

impl Style {
    /// Terminal attributes (ECMA-48).
    fn attributes(self) -> String {
        match self {
            Self::Client => "1;36".into(),
            Self::Success => "1;32".into(),
            Self::Intermediate => "1;34".into(),
            Self::Transient => "1;33".into(),
            Self::Permanent => "1;31".into(),
            Self::Meaning => "0".into(),
            Self::State => "35".into(),
            Self::Spool => "33".into(),
            Self::Tls => "7;1".into(),
            Self::Title => "1".into(),
            Self::Dim => "2".into(),
            Self::Label(n) => format!("{}", 91 + n % 6),
        }
    }
}

impl Renderer {
    /// The printer for standard output.
    pub(super) fn for_output() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let terminal = || terminal::size().ok().filter(|_| is_terminal).map(|(columns, _)| columns.into());
        let width = columns.or_else(terminal).unwrap_or(WIDTH);
        Self::new(width, is_terminal && supports_styles())
    }

    pub(super) fn new(width: usize, colour: bool) -> Self {
        Self { width: width.clamp(40, WIDTH), colour, last_time: Default::default() }
    }

    /// Formats a line of a transcript. `label` names its session among others.
    pub(super) fn render(&mut self, reader: &mut Reader, line: &str, label: Option<&str>) -> String {
        // Our own transcripts have no control characters, but another file may.
        let Some(scene) = reader.line(&display::printable_line(line)) else { return String::new() };
        let mut out = String::new();
        match &scene {
            Exchange::SessionStart(title) => {
                out.push('\n');
                self.paragraph(&mut out, label, "", "", &[(Style::Title, title)]);
            }
            Exchange::Client { line, meaning, rfc } => {
                let time = self.time(reader.time(), label);
                self.paragraph(&mut out, label, &time, "C ", &[(Style::Client, line)]);
                let rfc = if rfc.is_empty() { String::new() } else { format!(" [{rfc}]") };
                self.annotate(&mut out, label, &[(Style::Meaning, meaning), (Style::Dim, &rfc)]);
            }
            Exchange::Server { line, meaning, class } => {
                let look = match class {
                    Some(ReplyClass::Intermediate) => Style::Intermediate,
                    Some(ReplyClass::Transient) => Style::Transient,
                    Some(ReplyClass::Permanent) => Style::Permanent,
                    Some(ReplyClass::Success) | None => Style::Success,
                };
                let time = self.time(reader.time(), label);
                // One line of a list: its meaning stands on the same line.
                let is_listed = line.get(3..4) == Some("-") || class.is_none();
                let is_told = is_listed && !meaning.is_empty();
                let aside = if is_told { format!("  · {meaning}") } else { String::new() };
                self.paragraph(&mut out, label, &time, "S ", &[(look, line), (Style::Dim, &aside)]);
                if !is_listed {
                    self.annotate(&mut out, label, &[(Style::Meaning, meaning)]);
                }
            }
            Exchange::Elided { from_client, summary } => {
                let time = self.time(reader.time(), label);
                let mark = if *from_client { "C " } else { "S " };
                self.paragraph(&mut out, label, &time, mark, &[(Style::Dim, &format!("({summary})"))]);
            }
            Exchange::ServerAction(what) => {
                let time = self.time(reader.time(), label);
                self.paragraph(&mut out, label, &time, "· ", &[(Style::Meaning, what)]);
            }
            Exchange::State(before, after) => {
                let change = format!("{} → {}", before.name(), after.name());
                let meaning = format!(": {}", after.description());
                self.annotate(&mut out, label, &[(Style::State, &change), (Style::Meaning, &meaning)]);
            }
            Exchange::Spool(what, file) => {
                self.annotate(&mut out, label, &[(Style::Spool, &format!("{what} {file}"))]);
            }
            Exchange::StartTls(rfc) => {
                let text = "TLS begins: from here on, the network can neither read nor change the session. \
                            Both sides discard everything learned before.";
                let rfc = format!(" [{rfc}]");
                self.paragraph(&mut out, label, "", "", &[(Style::Tls, text), (Style::Dim, &rfc)]);
            }
            Exchange::TlsStarted(by) => {
                let text = format!("TLS {by}; shown decrypted");
                self.paragraph(&mut out, label, "", "", &[(Style::Tls, &text)]);
            }
            Exchange::Note(note) => {
                let time = self.time(reader.time(), label);
                self.paragraph(&mut out, label, &time, "· ", &[(Style::Dim, note)]);
            }
        }
        out
    }

    /// Returns the time if it differs from that of the last line.
    fn time(&mut self, time: &str, label: Option<&str>) -> String {
        let now = (time.to_owned(), label.map(str::to_owned));
        if self.last_time == now {
            return String::new();
        }
        self.last_time = now;
        time.to_owned()
    }

    /// Prints an explanation below a line.
    fn annotate(&self, out: &mut String, label: Option<&str>, pieces: &[(Style, &str)]) {
        if pieces.iter().any(|(_, text)| !text.is_empty()) {
            self.paragraph(out, label, "", "  └ ", pieces);
        }
    }

    /// Prints text after a label, a time and a mark, wrapped to as many lines as needed.
    fn paragraph(
        &self,
        out: &mut String,
        label: Option<&str>,
        time: &str,
        mark: &str,
        pieces: &[(Style, &str)],
    ) {
        let indent = mark.chars().count();
        // The last check before the terminal: attributes are added here and nowhere else.
        let label = label.map(display::printable_line);
        let (label, time) = (label.as_deref(), &*display::printable_line(time));
        let harmless: Vec<(Style, String)> =
            pieces.iter().map(|(look, piece)| (*look, display::printable_line(piece))).collect();
        let pieces: Vec<(Style, &str)> = harmless.iter().map(|(look, piece)| (*look, &**piece)).collect();
        let margin = label.map_or(0, |label| label.chars().count().max(LABEL) + 1) + TIME + 1;
        let room = self.width.saturating_sub(margin + indent).max(10);
        for (n, line) in wrapped(&pieces, room).into_iter().enumerate() {
            if let Some(label) = label {
                // Sessions that follow each other get different colours.
                let number = label.bytes().fold(0_u8, u8::wrapping_add);
                out.push_str(&self.paint(Style::Label(number), &format!("{label:LABEL$}")));
                out.push(' ');
            }
            let (time, mark) = if n == 0 { (time, mark) } else { ("", "") };
            out.push_str(&self.paint(Style::Dim, &format!("{time:>TIME$}")));
            out.push_str(&format!(" {mark:indent$}"));
            for run in line.chunk_by(|one, other| one.0 == other.0) {
                let text: String = run.iter().map(|(_, word)| *word).collect();
                out.push_str(&self.paint(run[0].0, text.trim_end()));
                out.push_str(&text[text.trim_end().len()..]);
            }
            let end = out.trim_end_matches(' ').len();
            out.truncate(end);
            out.push('\n');
        }
    }

    fn paint(&self, look: Style, text: &str) -> String {
        if self.colour && !text.trim().is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", look.attributes())
        } else {
            text.to_owned()
        }
    }
}

/// Wraps text to at most `room` columns: at blanks, and inside longer words.
fn wrapped<'a>(pieces: &[(Style, &'a str)], room: usize) -> Vec<Vec<(Style, &'a str)>> {
    let (mut lines, mut line, mut used) = (Vec::new(), Vec::new(), 0);
    for &(look, text) in pieces {
        for mut word in text.split_inclusive(' ') {
            loop {
                let length = word.trim_end().chars().count();
                if used + length <= room {
                    used += word.chars().count();
                    line.push((look, word));
                    break;
                }
                if length <= room || used + MIN_WORD_PIECE > room {
                    lines.push(std::mem::take(&mut line));
                    used = 0;
                    continue;
                }
                let at = word.char_indices().nth(room - used).map_or(word.len(), |(at, _)| at);
                line.push((look, &word[..at]));
                lines.push(std::mem::take(&mut line));
                (used, word) = (0, &word[at..]);
            }
        }
    }
    lines.push(line);
    lines
}

/// Columns that a projector can show.
const WIDTH: usize = 100;
/// Columns of a session's label and of the time.
const LABEL: usize = 6;
const TIME: usize = 8;
/// Minimum number of characters of a long word before it is broken at the end of a line.
const MIN_WORD_PIECE: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_stage_and_no_character_is_lost() {
        let text = format!("MAIL FROM:<{}@b.test> and some words behind it", "x".repeat(150));
        for width in [40, 57, 100] {
            let lines = wrapped(&[(Style::Client, &text), (Style::Dim, " [RFC 5321]")], width);
            let texts: Vec<String> =
                lines.iter().map(|line| line.iter().map(|(_, text)| *text).collect()).collect();
            assert!(texts.iter().all(|line: &String| line.trim_end().chars().count() <= width), "{texts:?}");
            assert_eq!(texts.concat(), format!("{text} [RFC 5321]"));
        }
    }

    #[test]
    fn colour_is_only_where_it_is_wanted() {
        let shown = |colour| {
            let mut reader = Reader::default();
            Renderer::new(100, colour).render(&mut reader, "C: NOOP", Some("c1000"))
        };
        assert!(shown(true).contains("\x1b[1;36mNOOP\x1b[0m"), "{:?}", shown(true));
        assert!(!shown(false).contains('\x1b'));
    }
}
