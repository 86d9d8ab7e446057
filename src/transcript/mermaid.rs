//! Converts a session into a Mermaid sequence diagram for Markdown on GitHub.
//!
//! The rule: text from a peer is text in the diagram, never a part of its grammar.

use std::fmt::Write as _;

use super::reader::{Exchange, Reader};

/// Draws the diagram of a transcript.
pub fn diagram(transcript: &str) -> String {
    let mut reader = Reader::default();
    let mut out =
        String::from("sequenceDiagram\n    participant C as Client\n    participant S as restante\n");
    for line in transcript.lines() {
        if let Some(line) = reader.line(line).and_then(|scene| drawn(&scene)) {
            let _ = writeln!(out, "    {line}"); // writing to a String cannot fail
        }
    }
    out
}

fn drawn(scene: &Exchange) -> Option<String> {
    Some(match scene {
        Exchange::SessionStart(title) => format!("Note over C,S: {}", text(title)),
        Exchange::Client { line, .. } => format!("C->>S: {}", text(line)),
        Exchange::Server { line, .. } => format!("S-->>C: {}", text(line)),
        Exchange::Elided { from_client: true, summary } => format!("C->>S: ({})", text(summary)),
        Exchange::Elided { from_client: false, summary } => format!("S-->>C: ({})", text(summary)),
        Exchange::State(before, after) => format!("Note right of S: {} → {}", before.name(), after.name()),
        Exchange::Spool(what, file) => {
            let name = file.rsplit('/').next().unwrap_or(file);
            let mailbox = file.rsplit('/').nth(2).unwrap_or_default();
            format!("Note right of S: {} in {}: {}", text(what), text(mailbox), text(name))
        }
        Exchange::ServerAction(what) => format!("S->>S: {}", text(what)),
        Exchange::StartTls(_) => "Note over C,S: TLS begins".into(),
        Exchange::TlsStarted(by) => format!("Note over C,S: under TLS {}", text(by)),
        Exchange::Note(note) => format!("Note over C,S: {}", text(note)),
    })
}

/// Escapes a text so that no part of it is grammar. Special characters become numbers, and a long text is
/// cut. An empty text gets a placeholder, because otherwise the line would end too early.
fn text(raw: &str) -> String {
    let mut text = String::new();
    for c in raw.chars().take(MAX_TEXT) {
        match c {
            // `#` begins a number, `;` ends a statement, and `%%` begins a comment. The others could be HTML,
            // Markdown or grammar.
            '#' | ';' | '%' | '<' | '>' | '&' | '"' | '\'' | '`' | '\\' | '{' | '}' | '*' | '_' | '~' => {
                let _ = write!(text, "#{};", u32::from(c)); // writing to a String cannot fail
            }
            c if c.is_control() => text.push('?'),
            c => text.push(c),
        }
    }
    if raw.chars().count() > MAX_TEXT {
        text.push('…');
    }
    if text.trim().is_empty() { "(nothing)".into() } else { text }
}

/// The largest number of characters in one message.
const MAX_TEXT: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_sends_is_never_grammar() {
        for (raw, safe) in [
            ("MAIL FROM:<a@b>", "MAIL FROM:#60;a@b#62;"),
            ("x; participant Z", "x#59; participant Z"),
            ("#35; %%{init}%%", "#35;35#59; #37;#37;#123;init#125;#37;#37;"),
            ("", "(nothing)"),
            ("a\u{7}b", "a?b"),
        ] {
            assert_eq!(text(raw), safe);
        }
        assert_eq!(text(&"é".repeat(500)).chars().count(), MAX_TEXT + 1);
    }
}
