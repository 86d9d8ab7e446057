//! Questions and answers in lines, for a terminal, a screen reader or a script.

use std::{
    env,
    fmt::{self, Display},
    io::{self, BufRead, IsTerminal, Write},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use signal_hook::consts::SIGTSTP;

use crate::{
    client::{display, strings},
    ending_signals::{self, Held},
    language::{Language, LocalizedText},
    password_prompt,
    proto::request::Secret,
};

/// The input and output of one user.
pub(crate) struct Terminal {
    input: Box<dyn BufRead>,
    output: Box<dyn Write>,
    language: Language,
    /// True if the input is a terminal, whose echo has to be turned off for passwords.
    interactive: bool,
    styled: bool,
    size: Option<(usize, usize)>,
}

impl Terminal {
    /// Standard input and output, in the language of the locale.
    pub(crate) fn stdio() -> Self {
        let shown = io::stdout().is_terminal();
        Self {
            input: Box::new(io::stdin().lock()),
            output: Box::new(io::stdout()),
            language: Language::of_environment(),
            interactive: io::stdin().is_terminal(),
            styled: shown && supports_styles(),
            size: None,
        }
    }

    pub(crate) fn language(&self) -> Language {
        self.language
    }

    /// True if the input is a terminal.
    pub(crate) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// True if something was typed that nobody has read yet.
    pub(crate) fn has_input(&self) -> bool {
        let input = io::stdin();
        let mut watched = [PollFd::new(&input, PollFlags::IN)];
        poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// Columns and lines of the window at this moment, because it may be resized.
    pub(crate) fn size(&self) -> (usize, usize) {
        let asked = || {
            let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
            Some((usize::from(size.ws_col), usize::from(size.ws_row))).filter(|(w, h)| *w > 0 && *h > 0)
        };
        let (columns, lines) = self.size.or_else(asked).unwrap_or((80, 24));
        (columns.max(MIN_COLUMNS), lines.max(5))
    }

    /// Prints a line. Text from outside must be escaped before.
    pub(crate) fn show(&mut self, line: &str) {
        // The output may be closed; the next question then finds the end of the input.
        let _ = writeln!(self.output, "{line}");
    }

    /// Prints a line in bold, wrapped to the window.
    pub(crate) fn title(&mut self, line: &str) {
        let (columns, _) = self.size();
        for line in display::fold(line, columns) {
            let line = self.bold(&line);
            self.show(&line);
        }
    }

    /// Prints a message of the table, with its values escaped.
    pub(crate) fn print_localized(&mut self, words: LocalizedText, values: &[&dyn Display]) {
        let filled = self.localize(words, values);
        self.print_wrapped(&filled);
    }

    /// Prints a sentence, wrapped to the window.
    pub(crate) fn print_wrapped(&mut self, sentence: &str) {
        let (columns, _) = self.size();
        for line in display::wrap_words(sentence, columns) {
            self.show(&line);
        }
    }

    /// Fills a message of the table with escaped values.
    pub(crate) fn localize(&self, words: LocalizedText, values: &[&dyn Display]) -> String {
        let values: Vec<String> =
            values.iter().map(|value| display::printable_line(&value.to_string())).collect();
        let values: Vec<&dyn Display> = values.iter().map(|value| value as &dyn Display).collect();
        words.format(self.language, &values)
    }

    /// The text in bold if the terminal can show it.
    pub(crate) fn bold(&self, text: &str) -> String {
        if self.styled { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The lines of a prompt in the window; the last one ends in a blank, for the answer.
    pub(crate) fn prompt_lines(&self, prompt: &str) -> Vec<String> {
        let (columns, _) = self.size();
        let mut lines = display::wrap_words(prompt.trim_end(), columns - 1);
        if let Some(last) = lines.last_mut().filter(|_| prompt.ends_with(' ')) {
            last.push(' ');
        }
        lines
    }

    /// Asks for a line; `None` at the end of the input (Ctrl-D).
    pub(crate) fn prompt(&mut self, prompt: &str) -> Option<String> {
        self.show_prompt(prompt);
        self.read_answer()
    }

    /// Asks for a line as [`Terminal::prompt`] does. A signal that ends the process ends the question of a terminal instead,
    /// and is the error: the caller saves its work and lets the signal take effect.
    pub(crate) fn prompt_or_signal(&mut self, prompt: &str) -> Result<Option<String>, i32> {
        while let Some(held) = self.interactive.then(|| ending_signals::hold().ok()).flatten() {
            self.show_prompt(prompt);
            // Only the line of a terminal is never in the buffer before the kernel tells of it.
            let signal = signal_before_input(&held);
            drop(held);
            match signal {
                None => return Ok(self.read_answer()),
                Some(SIGTSTP) => ending_signals::take_effect(SIGTSTP).map_err(|_| SIGTSTP)?,
                Some(signal) => {
                    self.show("");
                    return Err(signal);
                }
            }
        }
        Ok(self.prompt(prompt))
    }

    fn show_prompt(&mut self, prompt: &str) {
        let prompt = self.prompt_lines(prompt).join("\n");
        let _ = write!(self.output, "{prompt}").and_then(|()| self.output.flush()); // the answer may come even if the prompt was not shown
    }

    fn read_answer(&mut self) -> Option<String> {
        let line = self.read_line();
        if line.is_none() {
            self.show("");
        }
        line
    }

    /// Asks for a line; an empty one means `offered`.
    pub(crate) fn prompt_with_default(&mut self, prompt: &str, offered: &str) -> Option<String> {
        let colon = self.language.colon();
        let prompt = if offered.is_empty() {
            format!("{prompt}{colon} ")
        } else {
            format!("{prompt} [{}]{colon} ", display::printable_line(offered))
        };
        let answer = self.prompt(&prompt)?;
        Some(if answer.trim().is_empty() { offered.to_owned() } else { answer.trim().to_owned() })
    }

    /// Asks for a secret, without echo on a terminal.
    pub(crate) fn prompt_secret(&mut self, prompt: &str) -> Option<Secret> {
        if !self.interactive {
            return self.prompt(prompt).map(Secret::new);
        }
        let _ = self.output.flush(); // the prompt goes to the terminal, which may be another file
        password_prompt::ask(prompt).ok().map(Secret::new)
    }

    /// Asks yes or no. An empty answer means `offered`, and the end of the input means no.
    pub(crate) fn confirm(&mut self, question: &str, offered: bool) -> bool {
        self.choose(question, offered, &["n", "no", "non"])
    }

    /// Asks yes or no in the same way. `q` means no too, as in the menus, because a no leaves this place and loses nothing.
    pub(crate) fn confirm_or_leave(&mut self, question: &str, offered: bool) -> bool {
        self.choose(question, offered, &["n", "no", "non", "q"])
    }

    fn choose(&mut self, question: &str, offered: bool, no: &[&str]) -> bool {
        let keys = if offered { strings::YES_NO } else { strings::NO_YES };
        let prompt = format!("{question} {} ", keys.text(self.language));
        loop {
            let Some(answer) = self.prompt(&prompt) else { return false };
            match answer.trim().to_lowercase().as_str() {
                "" => return offered,
                "y" | "yes" | "o" | "oui" => return true,
                word if no.contains(&word) => return false,
                _ => self.print_localized(strings::NO_SUCH_CHOICE, &[&answer.trim()]),
            }
        }
    }

    /// Prints a text page by page. The user may stop.
    pub(crate) fn page(&mut self, lines: &[String]) {
        let (_, height) = self.size();
        let whole = if self.interactive { height - 2 } else { usize::MAX };
        let more = strings::MORE.text(self.language);
        for (number, line) in lines.iter().enumerate() {
            if number > 0 && number.is_multiple_of(whole) {
                let stops = |answer: &str| !answer.trim().is_empty();
                if self.prompt(more).as_deref().is_none_or(stops) {
                    return;
                }
            }
            self.show(line);
        }
    }

    /// Reads lines up to a lone dot or the end of the input.
    pub(crate) fn read_text(&mut self) -> String {
        let mut text = String::new();
        while let Some(line) = self.read_line().filter(|line| line != ".") {
            text += &line;
            text.push('\n');
        }
        text
    }

    /// Reads the rest of the input.
    pub(crate) fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.input.read_to_end(&mut all).map(|_| all)
    }

    /// Reads one line without its line end.
    pub(crate) fn read_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.input.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        let end = if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) };
        line.truncate(line.len() - end);
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Terminal")
    }
}

/// Waits until the input has a line, or has ended. Returns the signal that came before.
fn signal_before_input(held: &Held) -> Option<i32> {
    let input = io::stdin();
    loop {
        if let Some(signal) = held.signal() {
            return Some(signal);
        }
        let mut waited = [PollFd::new(&input, PollFlags::IN), PollFd::new(held, PollFlags::IN)];
        match poll(&mut waited, None) {
            Ok(_) if !waited[1].revents().is_empty() => {}
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

/// Columns of the narrowest window that lines are fitted to.
pub(crate) const MIN_COLUMNS: usize = 20;

/// True if the terminal may be sent colours: it is not dumb, and NO_COLOR is not set (no-color.org).
pub(crate) fn supports_styles() -> bool {
    let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    !dumb && env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}
