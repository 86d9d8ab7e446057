//! A page of the manual: its dialogues, and its commands.

use std::{fs, path::PathBuf};

/// A page, with what of it can be tried.
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) blocks: Vec<Block>,
}

/// A block of the page that can be tried.
pub(crate) struct Block {
    /// The line of its fence, from 1.
    pub(crate) line: usize,
    pub(crate) lines: Vec<String>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A session, from its greeting on.
    Dialogue { port: Port, tls: bool },
    /// Commands for a shell.
    Commands,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Smtp,
    Pop3,
}

impl Page {
    /// Reads a page. A dialogue is a block of `text` that begins with `S:`, and speaks at the port that the text
    /// above it names last; to a server with a certificate, where that said `restante dev --tls` in the same
    /// section. A block of `sh` is commands, unless a comment above it says `not run:` and why.
    pub(crate) fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let mut blocks = Vec::new();
        let (mut port, mut tls, mut excused) = (None, false, false);
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            if line.starts_with('#') {
                tls = false;
            }
            if let Some(language) = line.strip_prefix("```") {
                let body = lines.by_ref().map(|(line, _)| line.to_owned());
                let body: Vec<String> = body.take_while(|line| line != "```").collect();
                let begins = body.first().is_some_and(|first| first.starts_with("S: "));
                let kind = match (language, port) {
                    ("text", Some(port)) if begins => Some(Kind::Dialogue { port, tls }),
                    ("text", None) if begins => panic!("{}:{number}: on which port?", path.display()),
                    ("sh", _) if !excused => Some(Kind::Commands),
                    _ => None,
                };
                blocks.extend(kind.map(|kind| Block { line: number, lines: body, kind }));
                excused = false;
                continue;
            }
            let last = [("2525", Port::Smtp), ("1110", Port::Pop3)]
                .into_iter()
                .filter_map(|(digits, port)| Some((line.rfind(digits)?, port)))
                .max_by_key(|(at, _)| *at);
            port = last.map(|(_, port)| port).or(port);
            tls |= line.contains("restante dev --tls");
            if let Some(excuse) = line.strip_prefix("<!-- not run:") {
                let why = excuse.trim().trim_end_matches("-->").trim();
                assert!(why.len() > 10, "{}:{number}: why is it not run?", path.display());
                excused = true;
            } else if !line.is_empty() {
                excused = false;
            }
        }
        Self { path, blocks }
    }
}
