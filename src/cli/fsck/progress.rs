//! Lines on a terminal that tell which message a long check reads.

use std::{
    cell::Cell,
    io::{self, IsTerminal},
    path::Path,
    time::{Duration, Instant},
};

use crate::{cli::output, printable};

/// The progress of a check.
pub(super) struct Progress {
    /// The time before which no line is printed.
    next: Cell<Instant>,
}

impl Progress {
    pub(super) fn begin(now: Instant) -> Self {
        Self { next: Cell::new(now + SILENCE) }
    }

    /// Takes note of a message that the check reads, and of its octets so far.
    pub(super) fn reading(&self, file: &Path, octets: u64) {
        if let Some(line) = self.line(Instant::now(), file, octets).filter(|_| io::stderr().is_terminal()) {
            output::message(format_args!("{line}"));
        }
    }

    /// The line, if there was none for a while.
    fn line(&self, now: Instant, file: &Path, octets: u64) -> Option<String> {
        if now < self.next.get() {
            return None;
        }
        self.next.set(now + SILENCE);
        let (file, octets) = (printable::escape_path(file), printable::size(octets));
        Some(format!("restante: still checking, now {file}, {octets} so far"))
    }
}

/// The time between two lines.
const SILENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m36_a_long_check_names_the_message_that_it_reads_now_and_then() {
        let begin = Instant::now();
        let progress = Progress::begin(begin);
        let at = |seconds| begin + Duration::from_secs(seconds);
        let line = |seconds| progress.line(at(seconds), Path::new("bob/new/1.x"), 3 << 30);
        let expected = "restante: still checking, now bob/new/1.x, 3.0 GiB so far";
        let told = [0, 4, 5, 9, 10].map(line);
        assert_eq!(told.each_ref().map(Option::is_some), [false, false, true, false, true]);
        assert_eq!(told[2].as_deref(), Some(expected));
    }
}
