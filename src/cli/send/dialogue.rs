//! The words about a connection on standard error: its dialogue, and a server that says nothing.

use std::io::{self, IsTerminal};

use crate::{
    cli::output,
    client::{ServerAddr, WireEvent, WireObserver, display, strings},
    language::Language,
    mua::terminal::supports_styles,
};

/// Tells the user that the server says nothing.
pub(crate) fn tell_silence(server: &ServerAddr, in_clear_text: bool) {
    let language = Language::of_environment();
    let words = if in_clear_text { strings::SILENT } else { strings::SILENT_TLS };
    output::message(words.format(language, &[server]));
}

/// Prints the dialogue in the notation of the tests: `C:` and `S:`.
pub(crate) fn dialogue_printer() -> WireObserver {
    let coloured = io::stderr().is_terminal() && supports_styles();
    Box::new(move |said| {
        let (who, line, colour) = match said {
            WireEvent::ClientLine(line) => ("C", display::printable_line(line), "36"),
            WireEvent::ServerLine(line) => {
                let line = display::printable_line(&String::from_utf8_lossy(line));
                let colour = if refuses(&line) { "31" } else { "32" };
                ("S", line, colour)
            }
            WireEvent::MessageSent(octets) => ("C", format!("({octets} octets of a message)"), "36"),
            WireEvent::DataReceived(octets) => ("S", format!("({octets} octets)"), "32"),
            WireEvent::TlsStarted(version) => ("*", format!("(TLS {version} from here on)"), "33"),
        };
        let line = format!("{who}: {line}");
        let line = if coloured { format!("\x1b[{colour}m{line}\x1b[0m") } else { line };
        output::message_styled(&line);
    })
}

/// Whether a line refuses a command of SMTP, POP3 or IMAP.
fn refuses(line: &str) -> bool {
    line.starts_with(['4', '5'])
        || line.starts_with("-ERR")
        || line.split(' ').nth(1).is_some_and(|word| ["NO", "BAD", "BYE"].contains(&word))
}
