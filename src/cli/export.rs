//! `restante export`: writes a mailbox into an mbox file, or its UIDs for Dovecot.

use std::{
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum, ValueHint};
use flate2::{Compression, write::GzEncoder};
use indicatif::ProgressBar;

use super::{
    export_dovecot,
    failure::Failure,
    output,
    spool::{SpoolArgs, is_stdio, maildir_at_path},
};
use crate::{
    command_hint::restante,
    ending_signals::{self, EndedBySignal, Held},
    maildir::Maildir,
    printable::{self, counted},
    safe_file::{self, Directory},
    tools::mbox::{Error, Exported, Format, export},
};

/// Write the messages of a mailbox into an mbox file, or the UIDs of mailboxes for Dovecot.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Mailbox, or the path of any Maildir, beginning with / or ./ [default with --dovecot: all mailboxes]
    #[arg(required_unless_present = "dovecot", value_hint = ValueHint::AnyPath)]
    mailbox: Option<String>,
    #[command(flatten)]
    place: SpoolArgs,
    /// Quoting of lines that begin with "From "
    #[arg(long, value_enum, default_value_t = Kind::Mboxrd)]
    format: Kind,
    /// Compress with gzip
    #[arg(long)]
    gz: bool,
    /// Output file, which must not exist yet; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Write dovecot-uidlist, dovecot-keywords and subscriptions into the mailboxes and their folders, so that Dovecot goes on
    /// with the UIDs and flags that IMAP clients know. Stop the server first
    #[arg(long, conflicts_with_all = ["format", "gz", "output"])]
    dovecot: bool,
    /// Replace a dovecot-uidlist that is no earlier one of these UIDs, and export beside a running server
    #[arg(long, requires = "dovecot")]
    force: bool,
}

/// Formats for writing.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Any number of > before "From ": the messages can be restored exactly, up to a line end that the last line lacks
    Mboxrd,
    /// One > before "From ", for programs that know no other format
    Mboxo,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mailbox = match &arguments.mailbox {
        Some(mailbox) if !arguments.dovecot => mailbox,
        mailbox => return export_dovecot::run(&arguments.place, mailbox.as_deref(), arguments.force),
    };
    let maildir = match maildir_at_path(mailbox) {
        Some(maildir) => maildir?,
        None => arguments.place.open(Some(mailbox))?.open_mailbox(mailbox)?,
    };
    let file = &arguments.output;
    let exported = if is_stdio(file) {
        let mut out = io::stdout().lock();
        export_to(arguments, &maildir, &mut out, ("-", None))?
    } else {
        export_to_file(arguments, &maildir, file)?
    };
    let Exported { messages, skipped: left_out, compressed } = exported;
    for error in &left_out {
        output::message(format_args!("skipped: {error}")); // the exit code reports it too
    }
    output::message(format_args!("{}: {}", mailbox, output::message_count(messages)));
    report_folders(&maildir);
    if compressed > 0 {
        return Err(Failure::Other(format!(
            "not in the mbox, because they are compressed in their files, as by the zlib plugin of Dovecot: {}; {} has the \
             command that decompresses them",
            output::message_count(compressed),
            restante(&["fsck"])
        )));
    }
    if left_out.is_empty() {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "not in the mbox because of read errors: {}",
        output::message_count(left_out.len() as u64)
    )))
}

/// Tells of the folders beside the exported mail: each is a Maildir of its own.
fn report_folders(maildir: &Maildir) {
    let Ok(entries) = fs::read_dir(maildir.path()) else { return }; // the mail itself was exported
    let is_folder = |name: &String| name.starts_with('.') && maildir.path().join(name).join("cur").is_dir();
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut folders: Vec<String> = names.filter(is_folder).collect();
    folders.sort_unstable();
    if folders.is_empty() {
        return;
    }
    output::message(format_args!(
        "{} not exported: {}; export each by its own name",
        counted(folders.len(), "folder"),
        printable::escape_line(&folders.join(", "))
    ));
}

/// The file appears only when it is complete and durable. A signal that ends the process takes effect when nothing of an
/// unfinished file is left.
fn export_to_file(arguments: &Arguments, maildir: &Maildir, file: &Path) -> Result<Exported, Failure> {
    let failed =
        |step: &str, error: io::Error| Failure::Other(format!("cannot {step} {}: {error}", file.display()));
    let name =
        file.file_name().ok_or_else(|| Failure::Usage(format!("{} is not a file name", file.display())))?;
    let directory =
        Directory::trusted_if_root(safe_file::parent(file)).map_err(|error| failed("create", error))?;
    if directory.has(name) {
        return Err(Failure::Usage(format!(
            "{} exists already: remove it, or choose another name",
            file.display()
        )));
    }
    let held = ending_signals::hold().map_err(|error| failed("create", error))?;
    let (mut out, unfinished) = directory.create_tmp(0o600).map_err(|error| failed("create", error))?;
    let shown = file.display().to_string();
    let done = export_to(arguments, maildir, &mut out, (&shown, Some(&held))).and_then(|exported| {
        out.sync_all().map_err(|error| failed("write", error))?;
        directory.publish(&unfinished, name).map_err(|error| failed("create", error))?;
        directory.sync().map_err(|error| failed("make durable", error))?;
        Ok(exported)
    });
    if done.is_err() {
        let _ = directory.remove(&unfinished); // the error to report is that of the export
    }
    let signal = held.signal();
    drop(held);
    if let Some(signal) = signal {
        ending_signals::take_effect(signal).map_err(|error| failed("write", error))?;
    }
    done
}

fn export_to(
    arguments: &Arguments,
    maildir: &Maildir,
    to: &mut dyn Write,
    (name, held): (&str, Option<&Held>),
) -> Result<Exported, Failure> {
    let bar = if io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let mut progress = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let format = match arguments.format {
        Kind::Mboxrd => Format::Mboxrd,
        Kind::Mboxo => Format::Mboxo,
    };
    let mut to = BufWriter::new(to);
    let mut write = |to: &mut dyn Write| match held {
        Some(held) => export(maildir, format, &mut EndedBySignal { to, held }, &mut progress),
        None => export(maildir, format, to, &mut progress),
    };
    let done = if arguments.gz {
        let mut packed = GzEncoder::new(&mut to, Compression::default());
        let done = write(&mut packed);
        done.and_then(|done| packed.finish().map(|_| done).map_err(Error::Write))
    } else {
        write(&mut to)
    };
    bar.finish_and_clear();
    let done = done.and_then(|done| to.flush().map(|()| done).map_err(Error::Write));
    done.map_err(|error| match error {
        Error::Write(error) if name == "-" && error.kind() == io::ErrorKind::BrokenPipe => {
            Failure::BrokenPipe
        }
        error => Failure::Other(format!("{name}: {error}")),
    })
}
