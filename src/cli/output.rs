//! Everything that commands print, but for messages, screens and the client's own dialogue.
//!
//! The rule: names, paths and reasons come from other users, other programs and the network. No sub-command writes to
//! standard output or standard error by itself (`tests/layering.rs` holds that).

use std::{
    fmt::Display,
    io::{self, BufWriter, StdoutLock, Write},
};

use super::Failure;
use crate::printable;

/// Standard output.
pub(super) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    pub(super) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// A line, in which tabs may part columns.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.0, "{}", columns(&text.to_string())).map_err(Failure::output)
    }

    /// Several lines that end as they should. What is from outside in them has to be one line each already.
    pub(super) fn page(&mut self, text: &str) -> Result<(), Failure> {
        self.0.write_all(printable::page(text).as_bytes()).map_err(Failure::output)
    }

    /// What was printed is to be seen now.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(Failure::output)
    }
}

/// Prints a line.
pub(super) fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = Out::new();
    out.line(text)?;
    out.flush()
}

/// Prints several lines.
pub(super) fn page(text: &str) -> Result<(), Failure> {
    let mut out = Out::new();
    out.page(text)?;
    out.flush()
}

/// Prints text with the attributes of a terminal, which whoever made it has added to text that was harmless. A reader
/// who has seen enough is no failure.
pub(super) fn styled(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Tells a person something on standard error; it is for people only, so that it may fail.
pub(super) fn tell(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", columns(&text.to_string()));
}

/// The same with the attributes of a terminal around text that was harmless.
pub(super) fn tell_styled(text: &str) {
    let _ = writeln!(io::stderr(), "{text}"); // who closed it does not want it
}

/// A question, whose answer is on the same line.
pub(super) fn ask(question: impl Display) -> io::Result<()> {
    write!(io::stderr(), "{}", printable::line(&question.to_string()))
}

/// One line that may have tabs.
fn columns(text: &str) -> String {
    text.split('\t').map(printable::line).collect::<Vec<_>>().join("\t")
}
