//! `restante import`: delivers mbox files into a mailbox.

mod directory;

use std::{
    fs::{File, TryLockError},
    io::{self, BufReader, IsTerminal, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::{Args, ValueEnum};
use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    failure::Failure,
    output,
    spool::{SpoolArgs, SpoolContext, display_name, is_stdio},
};
use crate::{
    command_hint::{pipe_end, shell_quoted},
    fd_limits::max_open_tmp_files,
    maildir::Maildir,
    printable,
    tools::mbox::{
        DoubtfulLine, DoubtfulLines, Error, Format, Import, ImportPass, Imported, PreviousRun, Source,
    },
};

/// Import the messages of mbox files into a mailbox.
///
/// An incomplete file is refused before any message is delivered. An interrupted import continues when it is
/// started again, and a completed one is not repeated.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Mbox files; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Mailbox to import into
    #[arg(long, value_name = "MAILBOX")]
    to: String,
    #[command(flatten)]
    place: SpoolArgs,
    /// Quoting of lines that begin with "From "
    #[arg(long, value_enum, default_value_t = Kind::Auto)]
    format: Kind,
    /// Decompress the files with gzip
    #[arg(long)]
    gz: bool,
    /// Create the mailbox if it does not exist
    #[arg(long)]
    create: bool,
    /// Import files again that were imported before
    #[arg(long)]
    again: bool,
    /// Deliver the complete messages of an incomplete file; always the case for standard input
    #[arg(long)]
    partial: bool,
}

/// Formats for reading.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Any number of > before "From "
    Mboxrd,
    /// One > before "From "
    Mboxo,
    /// Like mboxrd, and a line begins a message only if it contains a date, or a header follows
    Auto,
}

impl From<Kind> for Format {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Mboxrd => Self::Mboxrd,
            Kind::Mboxo => Self::Mboxo,
            Kind::Auto => Self::Auto,
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.place.repeat_in_hints();
    // Opens all files first, so that an unreadable one is reported before a mailbox is created.
    let mut files = Vec::new();
    for path in &arguments.files {
        let failed = |error| Failure::Usage(format!("cannot open {}: {error}", path.display()));
        let file = (!is_stdio(path)).then(|| File::open(path)).transpose().map_err(failed)?;
        if file.as_ref().is_some_and(|file| file.metadata().is_ok_and(|data| data.is_dir())) {
            return Err(Failure::Usage(directory::describe(path, &import_of_stdin(arguments))));
        }
        files.push((path, file));
    }
    let context = arguments.place.open()?;
    context.become_owner()?;
    let maildir = context.open_or_create_mailbox(&arguments.to, arguments.create)?;
    maildir.sync_if_new(SystemTime::now())?;
    for (path, file) in files {
        let one = FileImport { arguments, path, context: &context, maildir: &maildir };
        let done = one.import(file.as_ref())?;
        output::line(format_args!("{}: {done}", printable::escape_line(&display_name(path))))?;
    }
    Ok(())
}

/// The command that imports standard input in the same way.
fn import_of_stdin(arguments: &Arguments) -> String {
    let mut words = vec!["import", "-", "--to", &arguments.to];
    let format = arguments.format.to_possible_value();
    if let Some(format) = format.as_ref().filter(|_| !matches!(arguments.format, Kind::Auto)) {
        words.extend(["--format", format.get_name()]);
    }
    for (word, is_given) in [("--create", arguments.create), ("--again", arguments.again)] {
        words.extend(is_given.then_some(word));
    }
    pipe_end(&words)
}

/// The import of one file.
struct FileImport<'a> {
    arguments: &'a Arguments,
    path: &'a Path,
    context: &'a SpoolContext,
    maildir: &'a Maildir,
}

impl FileImport<'_> {
    fn import(&self, file: Option<&File>) -> Result<String, Failure> {
        let bar = ImportProgress::new(
            file.and_then(|file| file.metadata().ok()).map(|data| data.len()),
            self.arguments.gz,
        );
        let mut progress = |pass, at| bar.update(pass, at);
        let (spool, format) = (&self.context.spool, self.arguments.format.into());
        let regular = file.filter(|file| file.metadata().is_ok_and(|data| data.is_file()));
        let fallback = regular.and_then(|file| file.metadata().ok()?.modified().ok());
        let fallback = fallback.unwrap_or_else(SystemTime::now);
        let mut import =
            Import::new((spool, self.maildir), &self.context.host, format, fallback, &mut progress);
        import.set_max_open(max_open_tmp_files());
        let age = self.context.expire_days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600));
        import.count_older_than(age.and_then(|age| SystemTime::now().checked_sub(age)));
        let Some(file) = regular else {
            let input: Box<dyn Read> = match file {
                Some(file) => Box::new(file),
                None => Box::new(io::stdin().lock()),
            };
            let done = import.run(self.decompress(input), 0);
            return self.summarize(done, &import);
        };
        self.lock(file)?;
        let source = Source::of(file).map_err(|error| self.unreadable(error))?;
        let earlier = import.open_record(&source, file)?;
        // An import that was begun goes on even with --again, which the user repeats until it is complete.
        if self.arguments.again && !matches!(earlier, PreviousRun::Started(_)) {
            import.restart(&source);
        } else if let Some(done) = self.check_previous_run(&earlier)? {
            return Ok(done);
        }
        let read = |offset| self.read(file, offset).map_err(|error| self.unreadable(error));
        if !self.arguments.partial {
            import.check(read(0)?).map_err(|error| self.failed(&error, "nothing was delivered"))?;
        }
        let offset = import.finish_previous_run(SystemTime::now(), self.context.tmp_age)?;
        let mut done = import.run(read(offset)?, offset);
        if done.is_ok() && !source.matches(file).map_err(|error| self.unreadable(error))? {
            done = Err(Error::Changed);
        }
        if done.is_ok() {
            import.finish(SystemTime::now())?;
        }
        self.summarize(done, &import)
    }

    /// Decides by the progress of an earlier run. Returns a message if there is nothing left to do.
    fn check_previous_run(&self, earlier: &PreviousRun) -> Result<Option<String>, Failure> {
        let path = printable::escape_path(self.path);
        match earlier {
            PreviousRun::Nothing => Ok(None),
            PreviousRun::Started(messages) => {
                output::message(format_args!(
                    "{path}: continuing after {}",
                    output::message_count(*messages)
                ));
                Ok(None)
            }
            PreviousRun::Done(messages) => Ok(Some(format!(
                "already imported, {}; --again imports them once more",
                output::message_count(*messages)
            ))),
            PreviousRun::Changed => Err(Failure::Other(format!(
                "{path} was changed since its import began: its first messages are in the mailbox; --again \
                 imports all of it"
            ))),
            PreviousRun::Format(format) => Err(Failure::Usage(format!(
                "the import of {path} was begun with --format {format}: continue with that, or import all of it with --again"
            ))),
        }
    }

    /// Fails at once if another program holds the lock: a mail delivery, or another import of the file.
    fn lock(&self, file: &File) -> Result<(), Failure> {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Failure::Other(format!(
                "{} is locked by another program; try again when it is done",
                self.path.display()
            ))),
            // A file system without locks: no program can hold one.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        }
    }

    /// Opens the mbox at that offset.
    fn read(&self, mut file: &File, offset: u64) -> io::Result<Box<dyn Read>> {
        file.seek(SeekFrom::Start(if self.arguments.gz { 0 } else { offset }))?;
        let mut unpacked = self.decompress(Box::new(file.try_clone()?));
        if self.arguments.gz {
            io::copy(&mut (&mut unpacked).take(offset), &mut io::sink())?;
        }
        Ok(unpacked)
    }

    fn decompress<'r>(&self, packed: Box<dyn Read + 'r>) -> Box<dyn Read + 'r> {
        if self.arguments.gz { Box::new(MultiGzDecoder::new(BufReader::new(packed))) } else { packed }
    }

    fn summarize(&self, done: Result<(), Error>, import: &Import<'_>) -> Result<String, Failure> {
        let Imported { messages, end } = import.imported();
        self.report_doubts(import.doubtful_lines());
        self.report_expired(import.expired());
        match done {
            Ok(()) => {
                let deleted = match import.deleted() {
                    0 => String::new(),
                    n => format!(", {n} of them flagged as deleted (POP3 does not show those)"),
                };
                Ok(format!("{} in {end} octets{deleted}", output::message_count(messages)))
            }
            Err(error) => {
                let what = format!("delivered: {}, up to octet {end}", output::message_count(messages));
                Err(self.failed(&error, &what))
            }
        }
    }

    /// Tells of messages that the server is about to delete, and how they are kept.
    fn report_expired(&self, messages: u64) {
        let Some(days) = self.context.expire_days.filter(|_| messages > 0) else { return };
        output::message(format_args!(
            "{}: warning: {} older than `expire = \"{}\"`: the server deletes mail of that age at the end of the next \
             POP3 session; to keep it, set expire = \"never\" and reload the server before anybody logs in",
            display_name(self.path),
            match messages {
                1 => "1 message is".to_owned(),
                _ => format!("{messages} messages are"),
            },
            printable::counted(days, "day"),
        ));
    }

    /// Tells how each line was taken that may be a From_ line or text.
    fn report_doubts(&self, lines: &DoubtfulLines) {
        let path = display_name(self.path);
        for DoubtfulLine { at, text, begins_message } in &lines.first {
            let taken = if *begins_message {
                "has no date that is understood: taken for the beginning of a message, because a header follows"
            } else {
                "taken for text, because it has no date and no header follows (--format mboxrd begins a message there)"
            };
            output::message(format_args!("{path}: octet {at}: {text:?} {taken}"));
        }
        let more = lines.count - lines.first.len() as u64;
        if more > 0 {
            output::message(format_args!("{path}: and {more} more such lines"));
        }
    }

    fn failed(&self, error: &Error, what: &str) -> Failure {
        let name = display_name(self.path);
        let advice = match error {
            Error::NoMbox(other) => other.advice(&shell_quoted(&name), &import_of_stdin(self.arguments)),
            Error::Read { at: 0, .. } if self.arguments.gz => {
                "leave out --gz if it is not compressed with gzip".into()
            }
            Error::Cut { .. } | Error::Read { .. } if !self.arguments.partial && !is_stdio(self.path) => {
                "--partial delivers the complete messages".into()
            }
            _ => String::new(),
        };
        let advice = if advice.is_empty() { advice } else { format!(" ({advice})") };
        Failure::Other(format!("{name}: {error}; {what}{advice}"))
    }

    fn unreadable(&self, error: io::Error) -> Failure {
        Failure::Other(format!("cannot read {}: {error}", self.path.display()))
    }
}

/// The progress bar on a terminal.
struct ImportProgress(ProgressBar);

impl ImportProgress {
    fn new(octets: Option<u64>, packed: bool) -> Self {
        let bar = match octets.filter(|_| !packed) {
            _ if !io::stderr().is_terminal() => ProgressBar::hidden(),
            Some(octets) => ProgressBar::new(octets),
            None => ProgressBar::new_spinner(),
        };
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    fn update(&self, pass: ImportPass, at: u64) {
        self.0.set_message(match pass {
            ImportPass::Check => "checking",
            ImportPass::Deliver => "delivering",
        });
        self.0.set_position(at);
    }
}

impl Drop for ImportProgress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
