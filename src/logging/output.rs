//! The destinations of the log and their line formats. Everything here may block, and runs on the log's own
//! thread.
//!
//! The rule: a line that cannot be written is an error of that line only. The next one tries again, and uses
//! free space or a daemon that has come back.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process,
};

use log::Level;

use super::{line::Line, settings::Destination};
use crate::safe_file;

/// The open destination of the log, with the format that it expects.
pub(super) struct Output {
    format: LineFormat,
    sink: Sink,
    /// True if the last line was written partly: the rest is lost, and the next line must not be appended to
    /// it.
    last_write_partial: bool,
}

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineFormat {
    /// With time and level, for files and terminals.
    Dated,
    /// With the priority in front: the journal adds the time (sd-daemon(3)).
    Journal,
    /// As syslog daemons accept it on their local socket (RFC 3164 without the time, which they add).
    Syslog,
}

enum Sink {
    /// Standard error, or the substitute of a test.
    Stream(Box<dyn Write + Send>),
    File(File),
    /// A daemon's socket, connected while the daemon runs.
    Socket(PathBuf, Option<UnixDatagram>),
}

impl Output {
    /// Opens a destination. A syslog daemon may start later.
    pub(super) fn open(to: &Destination) -> io::Result<Self> {
        Ok(match to {
            Destination::Stderr => {
                let form = if is_journal() { LineFormat::Journal } else { LineFormat::Dated };
                Self { format: form, ..Self::stream(io::stderr()) }
            }
            Destination::File(path) => Self::with(LineFormat::Dated, Sink::File(append(path)?)),
            Destination::Syslog(path) => {
                Self::with(LineFormat::Syslog, Sink::Socket(path.clone(), connect(path).ok()))
            }
        })
    }

    pub(super) fn stream(stream: impl Write + Send + 'static) -> Self {
        Self::with(LineFormat::Dated, Sink::Stream(Box::new(stream)))
    }

    const fn with(form: LineFormat, sink: Sink) -> Self {
        Self { format: form, sink, last_write_partial: false }
    }

    /// False if no daemon is connected.
    pub(super) fn is_in_place(&self) -> bool {
        !matches!(self.sink, Sink::Socket(_, None))
    }

    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        let text = self.format.format(line);
        match &mut self.sink {
            Sink::Stream(stream) => write_whole(stream, &text, &mut self.last_write_partial),
            Sink::File(file) => write_whole(file, &text, &mut self.last_write_partial),
            Sink::Socket(path, socket) => send(path, socket, text.as_bytes()),
        }
    }
}

impl LineFormat {
    fn format(self, Line { time, level, text, .. }: &Line) -> String {
        let severity = match level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        match self {
            Self::Dated => format!("{} [{level}] {text}\n", humantime::format_rfc3339_millis(*time)),
            Self::Journal => format!("<{severity}>{text}\n"),
            Self::Syslog => format!("<{}>restante[{}]: {text}", MAIL + severity, process::id()),
        }
    }
}

/// Whether one of the first two lines is dated as [`LineFormat::Dated`] does it: a full disk may have cut the first one.
pub(super) fn is_log(head: &[u8]) -> bool {
    let is_dated = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let mut words = line.split(' ');
        let time = words.next().is_some_and(|time| humantime::parse_rfc3339(time).is_ok());
        let level = words.next().and_then(|level| level.strip_prefix('[')?.strip_suffix(']'));
        time && level.is_some_and(|level| level.parse::<Level>().is_ok())
    };
    head.split(|octet| *octet == b'\n').take(2).any(is_dated)
}

/// Checks that an existing file can be appended to, and changes nothing.
pub(super) fn check_existing(path: &Path) -> io::Result<()> {
    open_existing(path).map(drop)
}

fn open_existing(path: &Path) -> io::Result<File> {
    // Opened by the kernel: `/dev/stdout` is a link that only the kernel can follow.
    if is_of_kernel(path) {
        return OpenOptions::new().append(true).open(path);
    }
    let (directory, name) = safe_file::open_parent_of(path)?;
    directory.append_log(&name)
}

fn is_of_kernel(path: &Path) -> bool {
    ["/dev", "/proc"].iter().any(|place| path.starts_with(place))
}

/// Opens a file to append to. A new file is readable for its group: logrotate and mail administrators.
fn append(path: &Path) -> io::Result<File> {
    if is_of_kernel(path) {
        return open_existing(path);
    }
    let (directory, name) = safe_file::open_parent_of(path)?;
    match directory.create(&name, MODE) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open_existing(path),
        made => {
            drop(made?);
            directory.append_log(&name) // the next writer may be another process
        }
    }
}

/// Writes a line, after a line end if the last line was torn.
fn write_whole(out: &mut impl Write, line: &str, torn: &mut bool) -> io::Result<()> {
    let whole = if *torn { format!("\n{line}") } else { line.to_owned() };
    let mut rest = whole.as_bytes();
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                rest = &rest[n..];
                *torn = !rest.is_empty();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends a line to a daemon, and reconnects if the daemon was restarted.
fn send(path: &Path, socket: &mut Option<UnixDatagram>, line: &[u8]) -> io::Result<()> {
    if let Some(there) = socket
        && there.send(line).is_ok()
    {
        return Ok(());
    }
    *socket = None;
    let there = connect(path)?;
    there.send(line)?;
    *socket = Some(there);
    Ok(())
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

/// True if standard error is the journal: systemd names its file in JOURNAL_STREAM (systemd.exec(5)).
fn is_journal() -> bool {
    let stated = rustix::fs::fstat(io::stderr());
    std::env::var("JOURNAL_STREAM")
        .is_ok_and(|stream| stated.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino)))
}

/// The facility `mail` of syslog, shifted as in a priority (RFC 5424 section 6.2.1).
const MAIL: u32 = 2 << 3;
const MODE: u32 = 0o640;

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// A disk with that much free space.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Disk {
        fn make_room(&self, octets: usize) {
            self.0.lock().unwrap().1 += octets;
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let (text, room) = &mut *self.0.lock().unwrap();
            let n = octets.len().min(*room);
            text.extend_from_slice(&octets[..n]);
            *room -= n;
            if n == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(n) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(text: &str) -> Line {
        Line::new(Level::Info, text.into())
    }

    #[test]
    fn o04_a_line_that_was_cut_off_does_not_swallow_the_next_one() {
        let disk = Disk::default();
        let mut output = Output::stream(disk.clone());
        disk.make_room(39);
        output.write(&line("the first of them is cut")).unwrap_err();
        output.write(&line("the second has no room at all")).unwrap_err();
        disk.make_room(100);
        output.write(&line("third")).unwrap();
        let text = disk.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("[INFO] the fir") && lines[1].ends_with("[INFO] third"), "{text:?}");
        assert_eq!((lines.len(), text.ends_with('\n')), (2, true));
    }

    #[test]
    fn each_place_has_its_form() {
        let line = Line::new(Level::Warn, "c1 smtp connected".into());
        assert_eq!(LineFormat::Journal.format(&line), "<4>c1 smtp connected\n");
        assert_eq!(
            LineFormat::Syslog.format(&line),
            format!("<20>restante[{}]: c1 smtp connected", process::id())
        );
        let dated = LineFormat::Dated.format(&line);
        let (time, rest) = dated.split_once(' ').unwrap();
        assert_eq!((time.len(), &time[10..11], &time[23..]), ("2025-01-01T00:00:00.000Z".len(), "T", "Z"));
        assert_eq!(rest, "[WARN] c1 smtp connected\n");
    }

    #[test]
    fn o04_a_syslog_daemon_may_come_late_and_go_in_between() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        let mut output = Output::open(&Destination::Syslog(path.clone())).unwrap();
        assert!(!output.is_in_place());
        output.write(&line("nobody")).unwrap_err();
        for text in ["one", "two"] {
            let daemon = UnixDatagram::bind(&path).unwrap();
            output.write(&line(text)).unwrap();
            let mut said = [0; 100];
            let length = daemon.recv(&mut said).unwrap();
            let said = String::from_utf8_lossy(&said[..length]).into_owned();
            assert!(said.starts_with("<22>restante[") && said.ends_with(&format!("]: {text}")), "{said}");
            drop(daemon);
            fs::remove_file(&path).unwrap();
            output.write(&line("nobody")).unwrap_err();
        }
    }

    #[test]
    fn a_file_is_appended_to_and_its_group_may_read_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        for text in ["one", "two"] {
            Output::open(&Destination::File(path.clone())).unwrap().write(&line(text)).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        // The creator of the file decides about its mode.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        Output::open(&Destination::File(path.clone())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
