//! `restante export --dovecot`: the way back to Dovecot, with the UIDs and the flags that clients know.

use crate::{
    accounts,
    command_hint::restante,
    maildir::{
        Maildir,
        folders::{FolderError, FolderTree},
        forwarded_export::{self, ForwardedExport},
        uid_export::{self, UidExport},
    },
    printable,
};

use super::{
    failure::Failure,
    output,
    spool::{SpoolArgs, SpoolContext},
};

/// Writes the UIDs, the keyword `$Forwarded` and the subscriptions of a mailbox or of all, each with its folders.
pub(super) fn run(place: &SpoolArgs, mailbox: Option<&str>, force: bool) -> Result<(), Failure> {
    let context = place.open(mailbox)?;
    context.become_owner()?;
    if context.spool.is_in_use() && !force {
        return Err(Failure::Other(format!(
            "a server uses {}: stop it first, because UIDs that it gives after the export would be given again by Dovecot \
             (--force exports all the same, for a look)",
            context.path.display()
        )));
    }
    let mut left = 0;
    for name in select(&context, mailbox)? {
        left += export(&context, &name, force)?;
    }
    match left {
        0 => Ok(()),
        left => Err(Failure::Other(format!("not exported: {}", printable::counted(left, "folder")))),
    }
}

/// The mailboxes to export.
fn select(context: &SpoolContext, mailbox: Option<&str>) -> Result<Vec<String>, Failure> {
    if let Some(mailbox) = mailbox {
        return Ok(vec![mailbox.to_owned()]);
    }
    let names = context.spool.names()?.into_iter().filter_map(|name| name.into_string().ok());
    let mut names: Vec<String> = names.filter(|name| accounts::own_mailbox(name).is_some()).collect();
    names.sort_unstable();
    Ok(names)
}

/// Exports a mailbox with its folders, or the folder that `name` has. Returns the number of folders that were left as they are.
fn export(context: &SpoolContext, name: &str, force: bool) -> Result<u64, Failure> {
    let (mailbox, folder) = context.directory_names(name)?;
    let opened = context.open_mailbox(name)?;
    let mut left = export_one(&opened, &printable::escape_line(name), force)?;
    if folder.is_some() {
        return Ok(left);
    }
    let folders = FolderTree::of(&opened, usize::MAX);
    for entry in folders.list()? {
        let shown = format!("{mailbox}/{}", entry.directory);
        match folders.open(&entry.directory) {
            Ok(folder) => left += export_one(&folder, &printable::escape_line(&shown), force)?,
            Err(FolderError::Missing) => {} // removed meanwhile
            Err(error) => return Err(failed(&shown, &error)),
        }
    }
    match folders.write_subscriptions() {
        Ok(true) => {
            output::line(format_args!("{}: subscribed to all folders", printable::escape_line(&mailbox)))?
        }
        Ok(false) => {}
        Err(error) => return Err(failed(&mailbox, &error)),
    }
    Ok(left)
}

fn export_one(maildir: &Maildir, shown: &str, force: bool) -> Result<u64, Failure> {
    let guid = u128::from(random()) << 64 | u128::from(random());
    match uid_export::write(maildir, guid, force)? {
        UidExport::Written { uid_validity, messages, others } => {
            let rest = match others {
                0 => String::new(),
                others => format!(
                    "; Dovecot numbers {} that no IMAP client has seen",
                    output::message_count(others as u64)
                ),
            };
            output::line(format_args!(
                "{shown}: UIDVALIDITY {uid_validity}, UIDs of {}{rest}",
                output::message_count(messages as u64)
            ))?;
            export_forwarded(maildir, shown)?;
            Ok(0)
        }
        UidExport::NoUids => {
            output::line(format_args!("{shown}: no IMAP client has seen it, Dovecot gives its own UIDs"))?;
            export_forwarded(maildir, shown)?;
            Ok(0)
        }
        UidExport::Newer(why) => {
            output::message(format_args!(
                "{shown}: dovecot-uidlist stays, because {why}; `{} --force` replaces it",
                restante(&["export", shown, "--dovecot"])
            ));
            Ok(1)
        }
        UidExport::Locked => {
            output::message(format_args!(
                "{shown}: dovecot-uidlist.lock is there: stop Dovecot, or remove the file if Dovecot does not run"
            ));
            Ok(1)
        }
    }
}

/// Gives Dovecot the flag `$Forwarded`, and tells of messages that it will show without it.
fn export_forwarded(maildir: &Maildir, shown: &str) -> Result<(), Failure> {
    let ForwardedExport { renamed, without_room, kept } = forwarded_export::write(maildir)?;
    if renamed > 0 {
        let renamed = output::message_count(renamed as u64);
        output::line(format_args!("{shown}: $Forwarded of {renamed} is a keyword of Dovecot now"))?;
    }
    if without_room > 0 {
        output::message(format_args!(
            "{shown}: Dovecot will show {} without $Forwarded, because dovecot-keywords has 26 keywords already, or cannot be \
             read by this user",
            output::message_count(without_room as u64)
        ));
    }
    if kept > 0 {
        output::message(format_args!(
            "{shown}: Dovecot will show {} without $Forwarded, because another file has the new name, the name is too long, or \
             the file has changed: after a change, run the command again",
            output::message_count(kept as u64)
        ));
    }
    Ok(())
}

fn failed(shown: &str, error: &FolderError) -> Failure {
    let why = match error {
        FolderError::Disk(error) => error.to_string(),
        _ => "its folders change at the moment, try again".to_owned(), // no other error of these steps
    };
    Failure::Other(format!("{shown}: {why}"))
}

fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}
