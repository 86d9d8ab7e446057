//! `restante status --watch`: a live screen with rates since the last reading, and a bar chart of the
//! messages of the last minutes.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, IsTerminal},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, SystemTime},
};

use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Style, Stylize},
    text::{Line, Text},
    widgets::{Block, Borders, RenderDirection, Sparkline},
};

use super::{
    refusal::Refusal,
    source::Source,
    summary::{self, staleness},
};
use crate::{
    ending_signals::{self, Held},
    metrics::reader::MetricsSnapshot,
};

/// The content of the screen.
struct Screen {
    reading: MetricsSnapshot,
    before: Option<MetricsSnapshot>,
    /// Messages received between two readings, the latest first.
    bars: VecDeque<u64>,
    /// Whether the spool of the server is one of this machine.
    is_here: bool,
    /// The reason why the server takes no mail.
    refusal: Option<Refusal>,
    /// The error of the last reading.
    error: Option<String>,
}

/// Whether there is a terminal for the screen, and one for the keys: standard input, or that of the session.
pub(super) fn has_terminal() -> bool {
    io::stdout().is_terminal() && (io::stdin().is_terminal() || File::open("/dev/tty").is_ok())
}

/// Runs until the user presses q, Escape or Ctrl-C, or the terminal is closed. `is_here`: see [`Refusal::of`].
pub(super) fn run(source: &Source, reading: MetricsSnapshot, is_here: bool) -> io::Result<()> {
    let mut screen = Screen::new(reading, is_here);
    let mut events = None;
    loop {
        // A signal waits until the terminal has its modes back.
        let held = ending_signals::hold()?;
        let mut terminal = ratatui::try_init()?;
        let events = match &mut events {
            Some(events) => events,
            none => none.insert(read_events()?),
        };
        let ended = run_loop(&mut terminal, source, &mut screen, (&held, events));
        let restored = ratatui::try_restore();
        let signal = held.signal();
        drop(held);
        match signal {
            // A terminal that is closed sends SIGHUP, and all writes to it fail.
            Some(signal) => ending_signals::take_effect(signal)?,
            None => return ended.and(restored),
        }
    }
}

/// Reads the events of the terminal on a thread of its own, because the library reads a closed terminal for ever and never
/// returns.
fn read_events() -> io::Result<Receiver<io::Result<Event>>> {
    let (sender, events) = mpsc::channel();
    thread::Builder::new().name("keys".into()).spawn(move || while sender.send(event::read()).is_ok() {})?;
    Ok(events)
}

/// Returns after a key or a signal that ends it.
fn run_loop(
    terminal: &mut DefaultTerminal,
    source: &Source,
    screen: &mut Screen,
    (held, events): (&Held, &Receiver<io::Result<Event>>),
) -> io::Result<()> {
    while held.signal().is_none() {
        terminal.draw(|frame| screen.draw(frame, SystemTime::now()))?;
        let event = match events.recv_timeout(READING_INTERVAL) {
            Ok(event) => Some(event?),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("no keys can be read any more"));
            }
        };
        if let Some(Event::Key(key)) = event
            && key.kind == KeyEventKind::Press
        {
            let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(());
            }
        }
        screen.update(source.read());
    }
    Ok(())
}

impl Screen {
    fn new(reading: MetricsSnapshot, is_here: bool) -> Self {
        let refusal = Refusal::of(&reading, is_here);
        Self { reading, before: None, bars: VecDeque::new(), is_here, refusal, error: None }
    }

    fn update(&mut self, reading: io::Result<MetricsSnapshot>) {
        self.take(reading);
        self.refusal = Refusal::of(&self.reading, self.is_here);
    }

    /// Takes a reading, if the server has written it since the last one.
    fn take(&mut self, reading: io::Result<MetricsSnapshot>) {
        let reading = match reading {
            Ok(reading) => reading,
            Err(error) => return self.error = Some(error.to_string()),
        };
        self.error = None;
        if reading.written == self.reading.written {
            return;
        }
        let before = std::mem::replace(&mut self.reading, reading);
        let messages = |reading: &MetricsSnapshot| reading.sum("restante_messages_received_total");
        self.bars.push_front((messages(&self.reading) - messages(&before)).max(0.0) as u64);
        self.bars.truncate(MAX_BARS);
        self.before = Some(before);
    }

    fn draw(&self, frame: &mut Frame<'_>, now: SystemTime) {
        let lines = summary::lines(&self.reading, self.before.as_ref(), self.refusal);
        let count = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let [head, body, bars, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Max(count),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Text::from(summary::heading(&self.reading, now)).bold(), head);
        frame.render_widget(Text::from(lines.into_iter().map(Line::from).collect::<Vec<_>>()), body);
        if bars.height > 1 {
            let latest = self.bars.iter().copied();
            let title = "messages received, one bar for each reading, the latest on the right";
            let sparkline = Sparkline::default()
                .block(Block::new().borders(Borders::TOP).title(title))
                .style(Style::new().cyan())
                .direction(RenderDirection::RightToLeft)
                .data(latest.take(usize::from(bars.width)));
            frame.render_widget(sparkline, bars);
        }
        let error =
            self.error.clone().or_else(|| staleness(&self.reading, now).map(|age| summary::outdated(&age)));
        let foot_line =
            error.map_or_else(|| Line::from("q quits").dim(), |error| Line::from(error).reversed());
        frame.render_widget(foot_line, foot);
    }
}

/// The longest time between two looks at the figures and at signals.
const READING_INTERVAL: Duration = Duration::from_millis(500);
const MAX_BARS: usize = 500;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::metrics::METRICS;

    fn reading(directory: &Path) -> MetricsSnapshot {
        let path = directory.join("metrics");
        fs::write(&path, format!("# restante at mx.example.test\n{}", METRICS.text())).unwrap();
        MetricsSnapshot::from_file(&path).unwrap()
    }

    #[test]
    fn the_screen_fits_a_small_terminal_and_tells_of_a_server_that_is_gone() {
        let home = tempfile::tempdir().unwrap();
        METRICS.mark_started();
        let mut screen = Screen::new(reading(home.path()), true);
        screen.update(Err(io::ErrorKind::NotFound.into()));
        for (width, height) in [(80, 24), (20, 5), (200, 60)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| screen.draw(frame, SystemTime::now())).unwrap();
            let text = terminal.backend().to_string();
            assert!(text.contains("restante at mx") && text.contains("entity not foun"), "{text}");
        }
        screen.update(Ok(reading(home.path())));
        assert_eq!(screen.error, None);
    }

    #[test]
    fn n83_the_latest_bar_is_at_the_right_edge_and_the_oldest_one_leaves_on_the_left() {
        let home = tempfile::tempdir().unwrap();
        METRICS.mark_started();
        let mut screen = Screen::new(reading(home.path()), true);
        let (width, height) = (80, 60);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut lowest_line = |screen: &Screen| {
            terminal.draw(|frame| screen.draw(frame, SystemTime::now())).unwrap();
            let text = terminal.backend().to_string();
            assert!(text.contains("the latest on the right"), "{text}");
            // (The backend prints each line in quotation marks. The last one is the foot.)
            let line = text.lines().rev().nth(1).unwrap().trim_matches('"').to_owned();
            assert_eq!(line.chars().count(), usize::from(width), "{line}");
            line
        };
        // An old reading of no message between two of many, and a new one of no message.
        screen.bars = VecDeque::from([0, 9, 0, 9, 9]);
        assert_eq!(lowest_line(&screen), format!("{}██ █ ", " ".repeat(75)));
        screen.bars = (0..MAX_BARS as u64).map(|age| u64::from(age < 78)).collect();
        assert_eq!(lowest_line(&screen), format!("  {}", "█".repeat(78)));
    }

    #[test]
    fn n187_the_screen_tells_at_once_of_a_spool_that_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let (path, spool) = (home.path().join("metrics"), home.path().join("spool"));
        fs::create_dir(&spool).unwrap();
        METRICS.mark_started();
        let head = format!("# restante at mx.example.test, {}\n", spool.display());
        // Other tests of this process may have a server that refuses mail.
        let metrics =
            METRICS.text().replace("restante_refusing", "other").replace("restante_unwritable", "other");
        fs::write(&path, head + &metrics).unwrap();
        let mut screen = Screen::new(MetricsSnapshot::from_file(&path).unwrap(), true);
        fs::remove_dir(&spool).unwrap();
        // The server has written nothing since.
        screen.update(MetricsSnapshot::from_file(&path));
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        terminal.draw(|frame| screen.draw(frame, SystemTime::now())).unwrap();
        let text = terminal.backend().to_string();
        assert!(text.contains("refusing     deliveries and logins"), "{text}");
    }
}
