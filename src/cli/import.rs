//! `restante import`: mbox files into a mailbox.

use std::{
    fs::{File, TryLockError},
    io::{self, BufReader, IsTerminal, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::{Args, ValueEnum};
use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Failure, output,
    spool::{Office, Where, called, counted, is_standard},
};
use crate::{
    descriptors::most_drafts,
    maildir::Maildir,
    printable,
    tools::mbox::{Earlier, Error, Format, Import, Imported, Source, Stage},
};

/// Put the messages of mbox files into a mailbox.
///
/// A file that is not whole is refused before anything is delivered. An import that was interrupted goes on where
/// it was when it is started again; one that is done is not done twice.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The mbox files; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The mailbox.
    #[arg(long, value_name = "MAILBOX")]
    to: String,
    #[command(flatten)]
    place: Where,
    /// How the files keep lines that begin with "From " apart from the beginnings of messages.
    #[arg(long, value_enum, default_value_t = Kind::Auto)]
    format: Kind,
    /// The files are compressed by gzip.
    #[arg(long)]
    gz: bool,
    /// Make the mailbox if it is not there.
    #[arg(long)]
    create: bool,
    /// Import once more what has been imported already.
    #[arg(long)]
    again: bool,
    /// Deliver what is whole of a file that is not. (Standard input is always taken like that.)
    #[arg(long)]
    partial: bool,
}

/// The formats that a file may be said to have.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Any number of > before "From ".
    Mboxrd,
    /// One > before "From ".
    Mboxo,
    /// As mboxrd, and a line begins a message only if there is a date in it.
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
    // Opened first: what can't be read is told before a mailbox is made.
    let mut files = Vec::new();
    for path in &arguments.files {
        let failed = |error| Failure::Usage(format!("cannot open {}: {error}", path.display()));
        let file = (!is_standard(path)).then(|| File::open(path)).transpose().map_err(failed)?;
        files.push((path, file));
    }
    let office = arguments.place.open()?;
    office.become_owner()?;
    let maildir = office.mailbox_or_new(&arguments.to, arguments.create)?;
    maildir.sync_if_new(SystemTime::now())?;
    for (path, file) in files {
        let one = One { arguments, path, office: &office, maildir: &maildir };
        let done = one.import(file.as_ref())?;
        output::line(format_args!("{}: {done}", printable::line(&called(path))))?;
    }
    Ok(())
}

/// One file.
struct One<'a> {
    arguments: &'a Arguments,
    path: &'a Path,
    office: &'a Office,
    maildir: &'a Maildir,
}

impl One<'_> {
    fn import(&self, file: Option<&File>) -> Result<String, Failure> {
        let bar =
            Bar::new(file.and_then(|file| file.metadata().ok()).map(|data| data.len()), self.arguments.gz);
        let mut told = |stage, at| bar.told(stage, at);
        let (spool, format) = (&self.office.spool, self.arguments.format.into());
        let regular = file.filter(|file| file.metadata().is_ok_and(|data| data.is_file()));
        let fallback = regular.and_then(|file| file.metadata().ok()?.modified().ok());
        let fallback = fallback.unwrap_or_else(SystemTime::now);
        let mut import = Import::new((spool, self.maildir), &self.office.host, format, fallback, &mut told);
        import.open_at_most(most_drafts());
        let Some(file) = regular else {
            let input: Box<dyn Read> = match file {
                Some(file) => Box::new(file),
                None => Box::new(io::stdin().lock()),
            };
            let done = import.run(self.unpacked(input), 0);
            return self.told(done, import.imported());
        };
        self.lock(file)?;
        let source = Source::of(file).map_err(|error| self.unreadable(error))?;
        let earlier = import.remember(&source, file)?;
        // One that was begun goes on in any case: who says --again says it until it is done.
        if self.arguments.again && !matches!(earlier, Earlier::Begun(_)) {
            import.begin_again(&source);
        } else if let Some(done) = self.earlier(&earlier)? {
            return Ok(done);
        }
        let read = |offset| self.read(file, offset).map_err(|error| self.unreadable(error));
        if !self.arguments.partial {
            import.check(read(0)?).map_err(|error| self.failed(&error, "nothing was delivered"))?;
        }
        let offset = import.settle(SystemTime::now(), self.office.tmp_age)?;
        let mut done = import.run(read(offset)?, offset);
        if done.is_ok() && !source.is(file).map_err(|error| self.unreadable(error))? {
            done = Err(Error::Changed);
        }
        let imported = import.imported();
        if done.is_ok() {
            import.finish(SystemTime::now())?;
        }
        self.told(done, imported)
    }

    /// What an earlier run means for this one: something to tell, if there is nothing to do.
    fn earlier(&self, earlier: &Earlier) -> Result<Option<String>, Failure> {
        let path = printable::path(self.path);
        match earlier {
            Earlier::Nothing => Ok(None),
            Earlier::Begun(messages) => {
                output::tell(format_args!("{path}: going on behind {}", counted(*messages)));
                Ok(None)
            }
            Earlier::Done(messages) => Ok(Some(format!(
                "imported already, all {}; --again imports them once more",
                counted(*messages)
            ))),
            Earlier::Changed => Err(Failure::Other(format!(
                "{path} was imported before it was changed: its first messages are in the mailbox; --again \
                 imports all of it"
            ))),
            Earlier::Format(format) => Err(Failure::Usage(format!(
                "the import of {path} was begun with --format {format}: go on with that, or --again imports all of it"
            ))),
        }
    }

    /// A program that delivers into the mbox, or another import of it, is waited for by nobody.
    fn lock(&self, file: &File) -> Result<(), Failure> {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Failure::Other(format!(
                "{} is locked by another program; try again when it is done",
                self.path.display()
            ))),
            // A file system without locks has none that could be held.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        }
    }

    /// The mbox from that octet on.
    fn read(&self, mut file: &File, offset: u64) -> io::Result<Box<dyn Read>> {
        file.seek(SeekFrom::Start(if self.arguments.gz { 0 } else { offset }))?;
        let mut unpacked = self.unpacked(Box::new(file.try_clone()?));
        if self.arguments.gz {
            io::copy(&mut (&mut unpacked).take(offset), &mut io::sink())?;
        }
        Ok(unpacked)
    }

    fn unpacked<'r>(&self, packed: Box<dyn Read + 'r>) -> Box<dyn Read + 'r> {
        if self.arguments.gz { Box::new(MultiGzDecoder::new(BufReader::new(packed))) } else { packed }
    }

    fn told(&self, done: Result<(), Error>, imported: Imported) -> Result<String, Failure> {
        let Imported { messages, end } = imported;
        match done {
            Ok(()) => Ok(format!("{} in {end} octets", counted(messages))),
            Err(error) => {
                let what = format!("delivered: {}, those before octet {end}", counted(messages));
                Err(self.failed(&error, &what))
            }
        }
    }

    fn failed(&self, error: &Error, what: &str) -> Failure {
        let advice = match error {
            Error::NoMbox if !self.arguments.gz => " (say --gz if it is compressed)",
            Error::Cut { .. } | Error::Read { .. } if !self.arguments.partial && !is_standard(self.path) => {
                " (--partial delivers what is whole)"
            }
            _ => "",
        };
        Failure::Other(format!("{}: {error}; {what}{advice}", called(self.path)))
    }

    fn unreadable(&self, error: io::Error) -> Failure {
        Failure::Other(format!("cannot read {}: {error}", self.path.display()))
    }
}

/// What a person sees meanwhile, on a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new(octets: Option<u64>, packed: bool) -> Self {
        let bar = match octets.filter(|_| !packed) {
            _ if !io::stderr().is_terminal() => ProgressBar::hidden(),
            Some(octets) => ProgressBar::new(octets),
            None => ProgressBar::new_spinner(),
        };
        let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    fn told(&self, stage: Stage, at: u64) {
        self.0.set_message(match stage {
            Stage::Check => "checking",
            Stage::Deliver => "delivering",
        });
        self.0.set_position(at);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
