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
    pub(crate) terminal: Terminal,
    /// The name of a dialogue's session, which later blocks go on with.
    pub(crate) speaker: Option<String>,
    /// The standard output of the commands, from the block of `text` that follows them.
    pub(crate) output: Option<Vec<String>>,
}

/// The terminal in which commands are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Terminal {
    /// That of the server: its commands run until Ctrl-C.
    First,
    /// That of all commands without a comment.
    #[default]
    Second,
    /// The same, after Ctrl-C in the first.
    SecondAlone,
    /// Another one with a command that runs until Ctrl-C.
    Third,
    /// Another one with a command that asks. The block of `text` below it has the questions and the typed
    /// answers.
    Fourth,
    /// Each of them, when it is opened.
    Every,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A session, from its greeting on.
    Dialogue { port: Port, tls: bool, strict: bool },
    /// Commands for a shell.
    Commands,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Smtp,
    Pop3,
    Imap,
}

impl Page {
    /// Whether the page starts its own servers: then `tour` types all of it, in order.
    pub(crate) fn is_tour(&self) -> bool {
        self.blocks.iter().any(|block| block.terminal == Terminal::First)
    }

    /// Reads a page. A dialogue is a block of `text` that begins with `S:`, and speaks at the port that the text
    /// above it names last; to a server with a certificate, where that said `restante dev --tls` in the same
    /// section, or to a strict one, where it said `restante dev --strict`. A block of `sh` is commands, unless a comment above it says `not run:` and why. A comment above it may
    /// name its terminal, one above a dialogue (`<!-- the telephone -->`) its session, and a block of `text` right after it is its output. That of the third terminal stands anywhere
    /// below, with the same comment.
    pub(crate) fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let mut blocks = Vec::new();
        let (mut port, mut tls, mut strict) = (None, false, false);
        let (mut excused, mut terminal, mut speaker) = (false, Terminal::default(), None);
        let mut is_after_commands = false;
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            if line.starts_with('#') {
                (tls, strict) = (false, false);
            }
            if let Some(language) = line.strip_prefix("```") {
                let body = lines.by_ref().map(|(line, _)| line.to_owned());
                let body: Vec<String> = body.take_while(|line| line != "```").collect();
                let begins = speaker.is_some() || body.first().is_some_and(|first| first.starts_with("S: "));
                let follows = std::mem::take(&mut is_after_commands);
                if language == "text" && !begins && (follows || terminal == Terminal::Third) {
                    let typed =
                        blocks.iter_mut().rfind(|block: &&mut Block| follows || block.terminal == terminal);
                    typed.unwrap().output = Some(body);
                    terminal = Terminal::default();
                    continue;
                }
                let kind = match (language, port) {
                    ("text", Some(port)) if begins => Some(Kind::Dialogue { port, tls, strict }),
                    ("text", None) if begins => panic!("{}:{number}: on which port?", path.display()),
                    ("sh", _) if !excused => Some(Kind::Commands),
                    _ => None,
                };
                is_after_commands = kind == Some(Kind::Commands);
                blocks.extend(kind.map(|kind| Block {
                    line: number,
                    lines: body,
                    kind,
                    terminal,
                    speaker: speaker.take(),
                    output: None,
                }));
                (excused, terminal) = (false, Terminal::default());
                continue;
            }
            is_after_commands &= line.is_empty();
            let last = [("2525", Port::Smtp), ("1110", Port::Pop3), ("1143", Port::Imap)]
                .into_iter()
                .filter_map(|(digits, port)| Some((line.rfind(digits)?, port)))
                .max_by_key(|(at, _)| *at);
            port = last.map(|(_, port)| port).or(port);
            tls |= line.contains("restante dev --tls");
            strict |= line.contains("restante dev --strict");
            if let Some(excuse) = line.strip_prefix("<!-- not run:") {
                let why = excuse.trim().trim_end_matches("-->").trim();
                assert!(why.len() > 10, "{}:{number}: why is it not run?", path.display());
                excused = true;
            } else if let Some(name) = line.strip_prefix("<!-- the ") {
                speaker = Some(name.trim_end_matches(" -->").to_owned());
            } else if let Some(comment) = line.strip_prefix("<!-- ") {
                terminal = match comment.split_once(" terminal") {
                    Some(("first", _)) => Terminal::First,
                    Some(("third", _)) => Terminal::Third,
                    Some(("fourth", _)) => Terminal::Fourth,
                    Some(("every", _)) => Terminal::Every,
                    Some(("after Ctrl-C in the first", _)) => Terminal::SecondAlone,
                    _ => terminal,
                };
            } else if !line.is_empty() {
                (excused, terminal) = (false, Terminal::default());
            }
        }
        Self { path, blocks }
    }
}
