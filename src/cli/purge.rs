//! `restante purge`: deletes mail between two tests.

use std::{iter, path::Path, sync::Arc};

use clap::{ArgGroup, Args};

use super::{failure::Failure, mailboxes::MailboxArgs, output, spool::must_be_spool};
use crate::{
    command_hint::restante,
    maildir::{Error, Kind, Maildir, Room, Spool},
    printable,
    proto::tagged::TaggedAddress,
    tools::{self, Target},
};

/// Delete all messages of a mailbox, or of all mailboxes, with or without a running server.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").args(["to", "all"]).required(true))]
pub(super) struct Arguments {
    #[command(flatten)]
    place: MailboxArgs,
    /// Address whose mail is deleted; with a +tag, only mail for exactly that address; without one, the mail in all
    /// folders too
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Delete the mail of all mailboxes
    #[arg(long)]
    all: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mailboxes = arguments.place.open()?;
    if !mailboxes.spool.is_dir() {
        return Err(Failure::Usage(mailboxes.absent()));
    }
    let spool = Spool::open(&mailboxes.spool)?;
    if arguments.all {
        must_be_spool(&spool)?;
    }
    if matches!(spool.room(), Ok(Room::ReadOnly)) {
        return Err(Failure::Other(format!("nothing was deleted: {}", read_only(&mailboxes.spool))));
    }
    let targets = arguments.to.as_deref().map(|address| mailboxes.targets(address)).transpose()?;
    let mailboxes_of = |targets: &[Target]| -> Vec<String> {
        targets.iter().map(|target| target.destination.mailbox.as_str().to_owned()).collect()
    };
    let mut unknown = targets.as_deref().map(mailboxes_of).unwrap_or_default();
    // One that this user may not see is told of when it is opened.
    unknown.retain(|mailbox| matches!(mailboxes.spool.join(mailbox).try_exists(), Ok(false)));
    for mailbox in &unknown {
        output::message(format_args!(
            "restante: no mailbox {mailbox} in {}; check --to, --spool and --config",
            mailboxes.spool.display()
        ));
    }
    if !arguments.yes {
        let whose = arguments.to.as_deref().unwrap_or("every mailbox");
        let there = selected(&spool, targets.as_deref())?;
        let count =
            there.filter_map(|(maildir, only)| Some(tools::count(&Arc::new(maildir.ok()?), only.as_ref())));
        let (count, place) = (printable::counted(count.sum::<usize>(), "message"), mailboxes.spool.display());
        if !output::confirm(&format!("Delete all mail of {whose} in {place} ({count})?"))? {
            return Err(Failure::Other("nothing was deleted".into()));
        }
    }
    let maildirs = selected(&spool, targets.as_deref())?;
    let (mut deleted, mut hidden, mut broken) = (0, 0, 0_u64);
    let mut unwritable = None;
    let mut report = |errors: Vec<Error>| {
        broken += u64::from(!errors.is_empty());
        let on_disk = errors.iter().find(|error| error.is_read_only());
        unwritable = unwritable.take().or_else(|| on_disk.map(|error| error.path().to_owned()));
        for error in errors {
            output::message(format_args!("restante: {}", Failure::from(error)));
        }
    };
    for (maildir, only_recipient) in maildirs {
        match maildir {
            Ok(maildir) => {
                let purged = tools::purge(&Arc::new(maildir), only_recipient.as_ref());
                deleted += purged.deleted;
                hidden += purged.hidden;
                report(purged.errors);
            }
            // The mailbox does not exist, or no longer.
            Err(error) if error.kind() == Kind::Gone && !error.is_incomplete_maildir() => {}
            Err(error) => report(vec![error]),
        }
    }
    let has_failed = deleted == 0 && broken > 0;
    if !has_failed {
        output::line(format_args!("{} deleted", printable::counted(deleted, "message")))?;
    }
    if let (1.., Some(to)) = (hidden, &arguments.to) {
        output::message(format_args!(
            "restante: {} to several recipients stayed, because the header does not tell whether {to} is one of them",
            printable::counted(hidden, "message")
        ));
    }
    let advice = || match &unwritable {
        Some(path) => read_only(path),
        None => format!("see {}", restante(&["fsck"])),
    };
    let nothing = if has_failed { "nothing was deleted: " } else { "" };
    match broken {
        0 => Ok(()),
        1 => Err(Failure::Other(format!("{nothing}1 mailbox or folder could not be emptied: {}", advice()))),
        n => Err(Failure::Other(format!(
            "{nothing}{n} mailboxes or folders could not be emptied: {}",
            advice()
        ))),
    }
}

/// The words about a disk that takes no changes, by a path on it.
fn read_only(path: &Path) -> String {
    format!(
        "the disk of {} is read-only; see the log of the kernel (dmesg) for the reason, and mount it writable again \
         (mount -o remount,rw)",
        path.display()
    )
}

/// A mailbox or folder, and the only recipient whose mail is meant.
type Selected = (Result<Maildir, Error>, Option<TaggedAddress>);

/// The mailboxes of the targets, or all of the spool. Each is opened in turn, because there may be more mailboxes than
/// descriptors.
fn selected<'a>(
    spool: &'a Spool,
    targets: Option<&'a [Target]>,
) -> Result<Box<dyn Iterator<Item = Selected> + 'a>, Error> {
    if let Some(targets) = targets {
        return Ok(Box::new(targets.iter().flat_map(|target| maildirs_of(spool, target))));
    }
    let mut names = spool.names()?;
    names.extend(spool.misplaced_names()?);
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    let mailboxes = names.filter(|name| !name.starts_with('.'));
    Ok(Box::new(mailboxes.flat_map(|mailbox| spool.maildirs_of(mailbox)).map(|maildir| (maildir, None))))
}

/// A mailbox with all its folders; for an address with a tag, its folder, and the mail in the mailbox for exactly that
/// address, as `restante wait` counts it.
fn maildirs_of<'a>(
    spool: &'a Spool,
    Target { destination, tagged }: &Target,
) -> Box<dyn Iterator<Item = Selected> + 'a> {
    let mailbox = destination.mailbox.as_str();
    match tagged {
        Some(_) => {
            let inbox = iter::once((spool.maildir(mailbox), tagged.clone()));
            let folder = destination.folder.as_ref();
            Box::new(inbox.chain(folder.map(|folder| (spool.folder(mailbox, folder.directory()), None))))
        }
        None => Box::new(spool.maildirs_of(mailbox.to_owned()).map(|maildir| (maildir, None))),
    }
}
