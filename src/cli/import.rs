//! `restante import`: delivers mbox files, messages and directories of messages into a mailbox.

mod directory;
mod input;

use std::{ffi::OsStr, fs::File, io, path::PathBuf, time::SystemTime};

use clap::{Args, ValueEnum};

use self::{
    directory::Directory,
    input::{InputImport, Options},
};
use super::{
    failure::Failure,
    output,
    spool::{SpoolArgs, display_name, is_stdio},
};
use crate::{command_hint::with_paths, printable, tools::mbox::Format};

/// Import mbox files, messages and directories of messages into a mailbox.
///
/// An incomplete file is refused before any message is delivered. An interrupted import continues when it is
/// started again, and a completed one is not repeated.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Mbox files, files with one message each (.eml), and directories of such files (also of MH); - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Mailbox to import into; with a +tag, its folder of that name, if there is one
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
    /// Create the mailbox, and the folder of a +tag, if it does not exist
    #[arg(long)]
    create: bool,
    /// Import files again that were imported before
    #[arg(long)]
    again: bool,
    /// Deliver the complete messages of an incomplete file, or of a directory in which some cannot be read; always the
    /// case for standard input
    #[arg(long)]
    partial: bool,
    /// Deliver messages too that are older than `expire` in the configuration, although the server will delete them; always the
    /// case for standard input
    #[arg(long)]
    even_if_expired: bool,
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
    let options = Options {
        format: arguments.format.into(),
        gz: arguments.gz,
        again: arguments.again,
        partial: arguments.partial,
        even_if_expired: arguments.even_if_expired,
        import_of: &|file: &OsStr| import_command(arguments, file),
    };
    // Opens all files first, so that an unreadable one is reported before a mailbox is created.
    let mut opened = Vec::new();
    for path in &arguments.files {
        let failed = |error: io::Error| {
            let advice = if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) {
                ": name their directory instead"
            } else {
                ""
            };
            Failure::Usage(format!("cannot open {}: {error}{advice}", path.display()))
        };
        let file = (!is_stdio(path)).then(|| File::open(path)).transpose().map_err(failed)?;
        let is_directory = file.as_ref().is_some_and(|file| file.metadata().is_ok_and(|data| data.is_dir()));
        if let Some(other) =
            Some(path).filter(|_| is_directory).and_then(|path| directory::other_way(path, &options))
        {
            return Err(Failure::Usage(other));
        }
        opened.push((path, file, is_directory));
    }
    let mut context = arguments.place.open(Some(&arguments.to))?;
    context.become_owner()?;
    let mut inputs = Vec::new();
    for (path, file, is_directory) in opened {
        inputs.push((
            path,
            match file {
                Some(dir) if is_directory => {
                    Input::Directory(Directory::scan(path, dir, &options, context.expires_before())?)
                }
                file => Input::File(file),
            },
        ));
    }
    let maildir = context.open_or_create_mailbox(&arguments.to, arguments.create)?;
    maildir.sync_if_new(SystemTime::now())?;
    // The server deletes old mail at the end of a POP3 session, which opens no folder.
    if maildir.path().parent() != Some(context.spool.path()) {
        context.expire_days = None;
    }
    let place = context.place_of(&arguments.to, &maildir)?;
    let mut left_out = 0;
    for (path, input) in inputs {
        let one =
            InputImport { options: &options, path, context: &context, maildir: &maildir, place: &place };
        let done = match &input {
            Input::File(file) => one.import(file.as_ref())?,
            Input::Directory(directory) => {
                left_out += directory.left_out();
                directory.import(&one)?
            }
        };
        output::line(format_args!("{}: {done}", printable::escape_line(&display_name(path))))?;
    }
    match left_out {
        0 => Ok(()),
        n => Err(Failure::Other(format!("not imported: {}, named above", printable::counted(n, "file")))),
    }
}

enum Input {
    /// A file; `None` is standard input.
    File(Option<File>),
    Directory(Directory),
}

/// The command that imports that file in the same way, without `--gz` and `--partial`: the file may be one that is
/// decompressed already, or standard input, whose complete messages are always delivered.
fn import_command(arguments: &Arguments, file: &OsStr) -> String {
    let mut words: Vec<&OsStr> = vec!["import".as_ref(), file, "--to".as_ref(), arguments.to.as_ref()];
    let format = arguments.format.to_possible_value();
    if let Some(format) = format.as_ref().filter(|_| !matches!(arguments.format, Kind::Auto)) {
        words.extend(["--format", format.get_name()].map(OsStr::new));
    }
    for (word, is_given) in [
        ("--create", arguments.create),
        ("--again", arguments.again),
        ("--even-if-expired", arguments.even_if_expired),
    ] {
        words.extend(is_given.then_some(OsStr::new(word)));
    }
    with_paths(&words)
}
