//! All output of the commands, except messages, full screens and the interactive client.
//!
//! The rule: names, paths and reasons come from other users, other programs and the network, so they are
//! escaped here. No sub-command writes to standard output or standard error itself (checked by
//! `tests/docs/layering.rs`).

use std::{
    fmt::Display,
    io::{self, BufRead, BufWriter, IsTerminal, StdoutLock, Write},
};

#[cfg(feature = "tools")]
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::failure::Failure;
use crate::printable;

/// Standard output.
pub(super) struct Stdout(BufWriter<StdoutLock<'static>>);

impl Stdout {
    pub(super) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a line. Tabs separate columns and are kept.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.0, "{}", columns(&text.to_string())).map_err(Failure::output)
    }

    /// Writes several complete lines. Text from outside must already be one line each.
    pub(super) fn page(&mut self, text: &str) -> Result<(), Failure> {
        self.0.write_all(printable::escape_text(text).as_bytes()).map_err(Failure::output)
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(Failure::output)
    }
}

/// Prints one line.
#[cfg(feature = "tools")]
pub(super) fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = Stdout::new();
    out.line(text)?;
    out.flush()
}

/// Prints several lines.
pub(super) fn page(text: &str) -> Result<(), Failure> {
    let mut out = Stdout::new();
    out.page(text)?;
    out.flush()
}

/// Prints text with terminal attributes. The caller has escaped the text before it added them.
#[cfg(feature = "tools")]
pub(super) fn styled(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Prints a line on standard error for the user. Write errors are ignored.
pub(super) fn message(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", columns(&text.to_string()));
}

/// Prints the reason of a failure on standard error.
pub(super) fn failure(failure: &Failure) {
    for (n, line) in failure.to_string().lines().enumerate() {
        message(format_args!("{}{line}", if n == 0 { "restante: " } else { "" }));
    }
}

/// Prints a line with terminal attributes on standard error; its text must be escaped.
#[cfg(feature = "tools")]
pub(super) fn message_styled(text: &str) {
    let _ = writeln!(io::stderr(), "{text}"); // standard error may be closed
}

/// Prints a question on standard error, with the cursor left after it.
pub(super) fn prompt(question: impl Display) -> io::Result<()> {
    write!(io::stderr(), "{}", printable::escape_line(&question.to_string()))
}

/// Asks a question at the terminal; only a yes is one.
pub(super) fn confirm(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage("not a terminal: add --yes to delete without being asked".into()));
    }
    let mut answer = String::new();
    prompt(format_args!("{question} [y/N] "))
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::Other(format!("cannot ask: {error}")))?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

/// Whether the reader of standard output is gone, as `head` is after its last line. A session may write nothing more, so no
/// write would tell.
#[cfg(feature = "tools")]
pub(super) fn is_closed() -> bool {
    let stdout = io::stdout();
    let mut waited = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut waited, Some(&now)).is_ok_and(|n| n > 0) && waited[0].revents().contains(PollFlags::ERR)
}

/// Formats a number of messages.
pub(super) fn message_count(messages: u64) -> String {
    printable::counted(messages, "message")
}

/// Escapes a line but keeps its tabs.
fn columns(text: &str) -> String {
    text.split('\t').map(printable::escape_line).collect::<Vec<_>>().join("\t")
}

/// Wraps text to 80 columns, indented by that many.
#[cfg(feature = "tools")]
pub(super) fn wrapped(text: &str, indent: usize) -> String {
    let lines = crate::client::display::wrap_words(text, COLUMNS - indent);
    lines.iter().map(|line| format!("{}{line}", " ".repeat(indent))).collect::<Vec<_>>().join("\n")
}

/// Columns of a terminal.
#[cfg(feature = "tools")]
const COLUMNS: usize = 80;
