//! The import of one input: an mbox, or a file with one message.

use std::{
    ffi::OsStr,
    fs::{File, TryLockError},
    io::{self, BufReader, IsTerminal, Read, Seek, SeekFrom},
    path::Path,
    time::SystemTime,
};

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::{
        failure::Failure,
        output,
        spool::{SpoolContext, display_name, is_stdio},
    },
    command_hint::path_word,
    fd_limits::max_open_tmp_files,
    limits::way_to_list,
    maildir::Maildir,
    printable,
    tools::mbox::{
        AtRisk, DoubtfulLine, DoubtfulLines, Error, Format, Import, ImportPass, Imported, PreviousRun,
        SkippedStart, Source,
    },
};

/// The options of the command.
pub(super) struct Options<'a> {
    pub(super) format: Format,
    pub(super) gz: bool,
    pub(super) again: bool,
    pub(super) partial: bool,
    /// Deliver messages too that the server is about to delete.
    pub(super) even_if_expired: bool,
    /// The command that imports a file, or standard input (`-`), in the same way but for `--gz` and `--partial`.
    pub(super) import_of: &'a dyn Fn(&OsStr) -> String,
}

impl Options<'_> {
    /// The command that imports standard input.
    pub(super) fn pipe_end(&self) -> String {
        (self.import_of)(OsStr::new("-"))
    }
}

/// The import of one input.
pub(super) struct InputImport<'a> {
    pub(super) options: &'a Options<'a>,
    pub(super) path: &'a Path,
    pub(super) context: &'a SpoolContext,
    pub(super) maildir: &'a Maildir,
    /// The end of the result, if the name of the mailbox does not tell the place of the messages.
    pub(super) place: &'a str,
}

impl InputImport<'_> {
    /// Imports an open file, or standard input.
    pub(super) fn import(&self, file: Option<&File>) -> Result<String, Failure> {
        let bar = ImportProgress::new(
            file.and_then(|file| file.metadata().ok()).map(|data| data.len()).filter(|_| !self.options.gz),
            OCTETS,
        );
        let mut progress = |pass, at| bar.update(pass, at);
        let regular = file.filter(|file| file.metadata().is_ok_and(|data| data.is_file()));
        let fallback = regular.and_then(|file| file.metadata().ok()?.modified().ok());
        let fallback = fallback.unwrap_or_else(SystemTime::now);
        let mut import = self.begin(fallback, &mut progress);
        import.set_file_name(self.path);
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
        if let Some(done) = self.open_record(&mut import, &source, file)? {
            return Ok(done);
        }
        let read = |offset| self.read(file, offset).map_err(|error| self.unreadable(error));
        let offset = import.finish_previous_run(SystemTime::now(), self.context.tmp_age)?;
        if !self.options.partial || self.context.expire_days.is_some() {
            let checked = import.check(read(0)?);
            if !self.options.partial {
                checked.map_err(|error| self.failed(&error, nothing_delivered(&import)))?;
            }
            self.refuse_expired(import.expired_to_come(), &import)?;
        }
        let mut done = import.run(read(offset)?, offset);
        if done.is_ok() && !source.matches(file).map_err(|error| self.unreadable(error))? {
            done = Err(Error::Changed);
        }
        if done.is_ok() {
            import.finish(SystemTime::now())?;
        }
        self.summarize(done, &import)
    }

    /// Prepares an import with these options.
    pub(super) fn begin<'p>(
        &'p self,
        fallback: SystemTime,
        progress: &'p mut dyn FnMut(ImportPass, u64),
    ) -> Import<'p> {
        let place = (&self.context.spool, self.maildir);
        let mut import = Import::new(place, &self.context.host, self.options.format, fallback, progress);
        import.set_max_open(max_open_tmp_files());
        import.set_at_risk(AtRisk::new(self.context.expires_before(), self.context.max_listed));
        import
    }

    /// Reads the record of earlier runs. Returns a message if there is nothing left to do.
    pub(super) fn open_record(
        &self,
        import: &mut Import<'_>,
        source: &Source,
        file: &File,
    ) -> Result<Option<String>, Failure> {
        let earlier = import.open_record(source, file)?;
        // An import that was begun goes on even with --again, which the user repeats until it is complete.
        if self.options.again && !matches!(earlier, PreviousRun::Started(_)) {
            import.restart(source);
            return Ok(None);
        }
        self.check_previous_run(&earlier)
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
    pub(super) fn lock(&self, file: &File) -> Result<(), Failure> {
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
        file.seek(SeekFrom::Start(if self.options.gz { 0 } else { offset }))?;
        let mut unpacked = self.decompress(Box::new(file.try_clone()?));
        if self.options.gz {
            io::copy(&mut (&mut unpacked).take(offset), &mut io::sink())?;
        }
        Ok(unpacked)
    }

    fn decompress<'r>(&self, packed: Box<dyn Read + 'r>) -> Box<dyn Read + 'r> {
        if self.options.gz { Box::new(MultiGzDecoder::new(BufReader::new(packed))) } else { packed }
    }

    fn summarize(&self, done: Result<(), Error>, import: &Import<'_>) -> Result<String, Failure> {
        let Imported { messages, end } = import.imported();
        self.report_doubts(import.doubtful_lines());
        if !import.skipped_start().is_nothing() {
            report_skipped_start(self.path, import.skipped_start());
        }
        match done {
            Ok(()) => Ok(self.finished(import, end)),
            Err(error) => {
                self.report_at_risk(import.at_risk());
                let what = format!("delivered: {}, up to octet {end}", output::message_count(messages));
                Err(self.failed(&error, &what))
            }
        }
    }

    /// The result of an import of so many octets.
    pub(super) fn finished(&self, import: &Import<'_>, octets: u64) -> String {
        self.report_at_risk(import.at_risk());
        let deleted = match import.deleted() {
            0 => String::new(),
            n => format!(", {n} of them flagged as deleted (POP3 does not show those)"),
        };
        let messages = output::message_count(import.imported().messages);
        format!("{messages} in {octets} octets{}{deleted}", self.place)
    }

    /// Refuses messages that the server would delete at the end of the next POP3 session: a client that polls logs in before an
    /// operator can change the configuration. Standard input is delivered with a warning instead: it is read only once, and no
    /// record tells the next run how much of it is delivered.
    pub(super) fn refuse_expired(&self, messages: u64, import: &Import<'_>) -> Result<(), Failure> {
        let Some(old) = self.describe_expired(messages).filter(|_| !self.options.even_if_expired) else {
            return Ok(());
        };
        Err(Failure::Other(format!(
            "{}: {old}: the server would delete mail of that age at the end of the next POP3 session; {} ({KEEP_OLD})",
            display_name(self.path),
            nothing_delivered(import)
        )))
    }

    /// Tells of messages that the server is about to delete, or shows to no login, and of the settings that help.
    pub(super) fn report_at_risk(&self, AtRisk { expired, too_large, largest, .. }: AtRisk) {
        self.report_expired(expired);
        if too_large > 0 {
            output::message(format_args!(
                "{}: warning: {} larger than the {} that the server lists, so no login shows such mail: {}",
                display_name(self.path),
                match too_large {
                    1 => "1 message is".to_owned(),
                    _ => format!("{too_large} messages are"),
                },
                printable::size(self.context.max_listed),
                way_to_list(largest),
            ));
        }
    }

    /// Tells of delivered messages that the server is about to delete, and how they are kept.
    fn report_expired(&self, messages: u64) {
        let Some(old) = self.describe_expired(messages) else { return };
        output::message(format_args!(
            "{}: warning: {old}: the server deletes mail of that age at the end of the next POP3 session; to keep it, \
             set expire = \"never\" and reload the server before anybody logs in",
            display_name(self.path)
        ));
    }

    /// The number of messages that are too old; `None` if it is 0.
    fn describe_expired(&self, messages: u64) -> Option<String> {
        let days = self.context.expire_days.filter(|_| messages > 0)?;
        let old = match messages {
            1 => "1 message is".to_owned(),
            _ => format!("{messages} messages are"),
        };
        Some(format!("{old} older than `expire = \"{}\"`", printable::counted(days, "day")))
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
            Error::NoMbox(other) => other.advice(&path_word(self.path), &self.options.pipe_end()),
            Error::Read { at: 0, .. } if self.options.gz => {
                "leave out --gz if it is not compressed with gzip".into()
            }
            Error::Cut { .. } | Error::Read { .. } if !self.options.partial && !is_stdio(self.path) => {
                "--partial delivers the complete messages".into()
            }
            _ => String::new(),
        };
        let advice = if advice.is_empty() { advice } else { format!(" ({advice})") };
        Failure::Other(format!("{name}: {error}; {what}{advice}"))
    }

    pub(super) fn unreadable(&self, error: io::Error) -> Failure {
        Failure::Other(format!("cannot read {}: {error}", self.path.display()))
    }
}

/// The result of an import that was refused before it delivered a message.
fn nothing_delivered(import: &Import<'_>) -> &'static str {
    if import.has_delivered() { "nothing more was delivered" } else { "nothing was delivered" }
}

/// Tells of octets before the header of a message that are no part of it.
pub(super) fn report_skipped_start(path: &Path, skipped: SkippedStart) {
    let mark = skipped.byte_order_mark.then(|| "a byte order mark".to_owned());
    let lines = (skipped.empty_lines > 0).then(|| printable::counted(skipped.empty_lines, "empty line"));
    let what: Vec<String> = mark.into_iter().chain(lines).collect();
    output::message(format_args!(
        "{}: left out before the header: {}",
        display_name(path),
        what.join(" and ")
    ));
}

/// The progress bar on a terminal.
pub(super) struct ImportProgress(ProgressBar);

impl ImportProgress {
    /// `position` is the part of the template that shows how much is done of `all`.
    pub(super) fn new(all: Option<u64>, position: &str) -> Self {
        let bar = match all {
            _ if !io::stderr().is_terminal() => ProgressBar::hidden(),
            Some(all) => ProgressBar::new(all),
            None => ProgressBar::new_spinner(),
        };
        let style = ProgressStyle::with_template(&format!("{{msg}} {{wide_bar}} {position} {{eta}}"));
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    pub(super) fn update(&self, pass: ImportPass, at: u64) {
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

/// The two ways to import messages that are older than `expire`.
const KEEP_OLD: &str = "to keep them, set expire = \"never\", reload the server, and import again; --even-if-expired delivers them all \
                        the same";
/// The progress in an mbox.
const OCTETS: &str = "{bytes}/{total_bytes}";
/// The progress in a directory.
pub(super) const FILES: &str = "{pos}/{len}";
