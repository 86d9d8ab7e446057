//! `restante explain`: explains a message file.

use std::{
    fmt::Write as _,
    io,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use clap::Args;

use super::{
    failure::Failure,
    output::{self, wrapped},
};
use crate::{
    client::display::{bounded, printable_line},
    file_rights::way_to_read_as_owner,
    printable,
    tools::explain::{Counted, Explanation, Hop, Name, PartInfo, explain},
};

/// Explain a message file: its name, its route, its parts, its sizes, and how POP3 and other programs treat it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Message files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one line of JSON for each file
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut failures: Vec<String> = Vec::new();
    for (n, file) in arguments.files.iter().enumerate() {
        let explanation = match explain(file) {
            Ok(explanation) => explanation,
            Err(error) => {
                let path = printable::escape_path(file);
                let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
                let way = Some(file).filter(|_| is_denied).and_then(|file| way_to_read_as_owner(file));
                failures.push(match way {
                    _ if file.is_dir() => {
                        format!("cannot explain {path}: it is a directory; name a file in its new/ or cur/")
                    }
                    Some(way) => format!("cannot explain {path}: {error}: {way}"),
                    None => format!("cannot explain {path}: {error}"),
                });
                continue;
            }
        };
        if let Some(note) = explanation.note.as_deref().filter(|_| !arguments.json && !explanation.is_mail) {
            failures.push(format!("cannot explain {}: {note}", printable::escape_path(file)));
            continue;
        }
        let text = if arguments.json {
            format!("{}\n", printable::json(&explanation, false))
        } else {
            format!("{}{}", if n > 0 { "\n" } else { "" }, text(&explanation))
        };
        output::page(&text)?;
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::Other(failures.join("; "))) }
}

/// A table of names and values, 80 columns wide.
#[derive(Default)]
struct Page(String);

impl Page {
    fn title(&mut self, title: &str) {
        let _ = writeln!(self.0, "\n{title}"); // writing to a String cannot fail
    }

    fn row(&mut self, name: &str, value: &str) {
        let text = wrapped(&printable_line(&bounded(value, MAX_VALUE)), MARGIN);
        let name = printable_line(&bounded(name, MAX_NAME));
        let _ = writeln!(self.0, "  {name:width$}{}", &text[MARGIN..], width = MARGIN - 2); // likewise
    }

    /// The rows of a list, with their numbers, up to a limit.
    fn rows<T>(&mut self, list: &[T], each: impl Fn(&mut Self, usize, &T)) {
        for (n, one) in (1..).zip(list).take(MAX_ROWS) {
            each(self, n, one);
        }
        if list.len() > MAX_ROWS {
            self.row("…", &format!("and {} more; --json has all", list.len() - MAX_ROWS));
        }
    }
}

/// Column where values begin.
const MARGIN: usize = 18;
/// Characters of a value and of a name that are printed. A stranger may have written them; `--json` has all.
const MAX_VALUE: usize = 1000;
const MAX_NAME: usize = 80;
/// Rows of one kind that are printed.
const MAX_ROWS: usize = 100;

fn text(explanation: &Explanation) -> String {
    let mut page = Page(format!("{}\n", explanation.path));
    if let Some(note) = &explanation.note {
        page.row("note", note);
    }
    name(&explanation.name, &mut page);
    page.title("Envelope and header");
    page.rows(&explanation.fields, |page, _, (name, value)| page.row(name, value));
    page.title("Hops, the first one first");
    page.rows(&explanation.hops, |page, n, hop| page.row(&n.to_string(), &hop_line(hop)));
    if explanation.hops.is_empty() {
        page.row("", "none: the header has no Received line");
    }
    page.title("Parts");
    page.rows(&explanation.parts, |page, _, part| page.row(&part.section, &part_line(part)));
    octets(explanation, &mut page);
    page.title("POP3");
    page.row("UIDL", &explanation.unique_id);
    if let Some(why) = explanation.hidden {
        page.row("not listed", why);
    }
    others(explanation, &mut page);
    page.0
}

fn name(name: &Name, page: &mut Page) {
    page.title("Name");
    if let Some(seconds) = name.seconds {
        let micros = name.microseconds.unwrap_or(0);
        page.row("delivered", &format!("{} ({seconds} s, {micros} µs)", time(seconds)));
    }
    page.row("identity", &name.identity);
    match &name.ours {
        Some(ours) => {
            page.row(
                "process",
                &format!("{} on {}, delivery number {}", ours.process, ours.host, ours.count),
            );
            page.row("random", &ours.random);
            page.row(
                "crc32",
                &format!("{} fits: restante made this name, and it is unchanged", ours.checksum),
            );
        }
        None => page.row("crc32", "absent or wrong: another program made this name, or it was changed"),
    }
    if let Some(size) = name.size {
        page.row("S=", &format!("{} on disk", printable::counted(size, "octet")));
    }
    if let Some(octets) = name.octets {
        page.row("W=", &format!("{} on the wire", printable::counted(octets, "octet")));
    }
    page.row(
        "place",
        match name.place {
            Some("new") => "new/: no mail reader has seen it",
            Some(_) => "cur/: a mail reader has listed it",
            None => "neither new/ nor cur/",
        },
    );
    for (flag, meaning) in &name.flags {
        page.row(&format!("flag {flag}"), meaning);
    }
}

fn hop_line(hop: &Hop) -> String {
    let delay = match hop.delay {
        Some(delay) if delay < 0 => {
            format!(", {} before the previous hop: their clocks differ", span(-delay))
        }
        Some(delay) => format!(", after {}", span(delay)),
        None => String::new(),
    };
    let when = hop.time.and_then(|time| u64::try_from(time).ok()).map_or("no date".into(), time);
    let clause = |word: &str, value: &Option<String>| {
        value.as_ref().map_or(String::new(), |value| format!(" {word} {value}"))
    };
    let clauses = [
        clause("from", &hop.from),
        clause("by", &hop.by),
        clause("with", &hop.with),
        clause("id", &hop.id),
        clause("for", &hop.recipient),
    ];
    format!("{when}{delay}:{}", clauses.concat())
}

fn part_line(part: &PartInfo) -> String {
    let mut words = vec![part.media_type.clone()];
    words.extend(part.charset.clone());
    words.extend(part.transfer_encoding.clone());
    words.push(printable::counted(part.octets, "octet"));
    words.extend(part.file_name.as_ref().map(|name| format!("{name:?}")));
    format!("{}{}", words.join(", "), if part.shown { ": shown as text" } else { "" })
}

fn octets(explanation: &Explanation, page: &mut Page) {
    let measure = &explanation.measure;
    page.title("Octets");
    page.row("on disk", &measure.bytes.to_string());
    page.row("+ bare LFs", &format!("{}, each CRLF on the wire", measure.bare_line_feeds));
    if measure.lacks_last_line_end {
        page.row("+ last line end", "2, which the file lacks");
    }
    let counted = match explanation.counted {
        Counted::ByName => "from the name: its crc32 fits, and S= is the size of the file",
        Counted::ByReading => "from reading the file once; the count is kept in .restante.index",
    };
    page.row("= on the wire", &format!("{} in STAT, LIST and RETR ({counted})", measure.octets));
    let sent = format!(
        "{}: a second dot for {} with one at the begin, and 3 octets that end the message",
        measure.sent,
        printable::counted(measure.stuffed_lines, "line")
    );
    page.row("RETR sends", &sent);
    page.row("longest line", &printable::counted(measure.longest_line, "octet"));
    for (name, count) in [
        ("bare CRs", measure.bare_carriage_returns),
        ("NULs", measure.nuls),
        ("above 127", measure.eight_bit),
    ] {
        if count > 0 {
            page.row(name, &count.to_string());
        }
    }
}

fn others(explanation: &Explanation, page: &mut Page) {
    let (name, measure) = (&explanation.name, &explanation.measure);
    page.title("Other programs");
    let seen = name.flags.iter().any(|(flag, _)| *flag == 'S');
    page.row(
        "mutt",
        match (seen, name.place) {
            (true, _) => "read",
            (false, Some("new")) => "new (N)",
            (false, _) => "old and unread (O)",
        },
    );
    let physical = name
        .size
        .map_or_else(|| format!("{} octets, by stat", measure.bytes), |size| format!("{size} octets, by S="));
    let in_name = name.octets.map_or("by reading", |_| "by W=");
    let virtual_size = name.octets.unwrap_or_else(|| measure.virtual_size());
    page.row("Dovecot", &format!("{physical}; to POP3 clients {virtual_size}, {in_name}"));
    page.row("Courier", &format!("{physical}, in the quota"));
    for (problem, detail, stumbles) in &explanation.problems {
        page.row(problem, &format!("{detail}; affects: {stumbles}"));
    }
}

fn time(seconds: u64) -> String {
    let last = Duration::from_secs(253_402_300_799); // the last second of the year 9999, the limit of the format
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds).min(last)).to_string()
}

fn span(seconds: i64) -> String {
    humantime::format_duration(Duration::from_secs(seconds.unsigned_abs())).to_string()
}
