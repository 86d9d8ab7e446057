//! `restante purge`: deletes mail between two tests.

use std::{iter, sync::Arc};

use clap::Args;

use super::{failure::Failure, mailboxes::MailboxArgs, output};
use crate::{
    command_hint::restante,
    maildir::{Error, Kind, Maildir, Spool},
    printable,
    tools::{self, Target},
};

/// Delete all messages of a mailbox, or of all mailboxes, with or without a running server.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: MailboxArgs,
    /// Address whose mail is deleted; with a +tag, only mail for exactly that address; without one, the mail in all
    /// folders too
    #[arg(long, value_name = "ADDRESS", required_unless_present = "all")]
    to: Option<String>,
    /// Delete the mail of all mailboxes
    #[arg(long, conflicts_with = "to")]
    all: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mailboxes = arguments.place.open()?;
    let broken = |error: Error| Failure::Other(error.to_string());
    if !mailboxes.spool.is_dir() {
        let spool = mailboxes.spool.display();
        return Err(Failure::Usage(format!(
            "{spool} does not exist; choose the spool with --spool or --config"
        )));
    }
    let spool = Spool::open(&mailboxes.spool).map_err(broken)?;
    // Opens each mailbox in turn, because there may be more mailboxes than descriptors.
    let mut unknown = Vec::new();
    let maildirs: Box<dyn Iterator<Item = (Result<Maildir, Error>, Option<String>)>> = match &arguments.to {
        None => {
            let names = spool.names().map_err(broken)?;
            let names = names.into_iter().filter_map(|name| name.into_string().ok());
            let mailboxes = names.filter(|name| !name.starts_with('.'));
            Box::new(mailboxes.flat_map(|mailbox| spool.maildirs_of(mailbox)).map(|maildir| (maildir, None)))
        }
        Some(address) => {
            let targets = mailboxes.targets(address)?;
            let mailbox_of = |target: &Target| target.destination.mailbox.as_str().to_owned();
            let is_missing = |mailbox: &String| !mailboxes.spool.join(mailbox).exists();
            unknown.extend(targets.iter().map(mailbox_of).filter(is_missing));
            Box::new(targets.into_iter().flat_map(|target| maildirs_of(&spool, &target)))
        }
    };
    for mailbox in &unknown {
        output::message(format_args!(
            "restante: no mailbox {mailbox} in {}; check --to, --spool and --config",
            mailboxes.spool.display()
        ));
    }
    let whose = arguments.to.as_deref().unwrap_or("every mailbox");
    if !arguments.yes && !output::confirm(&format!("Delete all mail of {whose}?"))? {
        return Err(Failure::Other("nothing was deleted".into()));
    }
    let (mut deleted, mut broken) = (0, 0_u64);
    let mut report = |errors: Vec<Error>| {
        broken += u64::from(!errors.is_empty());
        for error in errors {
            output::message(format_args!("restante: {error}"));
        }
    };
    for (maildir, only_recipient) in maildirs {
        match maildir {
            Ok(maildir) => {
                let purged = tools::purge(&Arc::new(maildir), only_recipient.as_deref());
                deleted += purged.deleted;
                report(purged.errors);
            }
            // The mailbox does not exist, or no longer.
            Err(error) if error.kind() == Kind::Gone && !error.is_incomplete_maildir() => {}
            Err(error) => report(vec![error]),
        }
    }
    output::line(format_args!("{} deleted", printable::counted(deleted, "message")))?;
    match broken {
        0 => Ok(()),
        1 => Err(Failure::Other(format!(
            "1 mailbox or folder could not be emptied: see {}",
            restante(&["fsck"])
        ))),
        n => Err(Failure::Other(format!(
            "{n} mailboxes or folders could not be emptied: see {}",
            restante(&["fsck"])
        ))),
    }
}

/// A mailbox with all its folders; for an address with a tag, its folder, and the mail in the mailbox for exactly that
/// address, as `restante wait` counts it.
fn maildirs_of<'a>(
    spool: &'a Spool,
    Target { destination, address }: &Target,
) -> Box<dyn Iterator<Item = (Result<Maildir, Error>, Option<String>)> + 'a> {
    let mailbox = destination.mailbox.as_str();
    match &destination.folder {
        Some(folder) => {
            let inbox = iter::once((spool.maildir(mailbox), Some(address.clone())));
            Box::new(inbox.chain(iter::once((spool.folder(mailbox, folder.directory()), None))))
        }
        None => Box::new(spool.maildirs_of(mailbox.to_owned()).map(|maildir| (maildir, None))),
    }
}
