//! The mail of accounts that come, go and get another name.

use std::{path::Path, thread, time::Duration};

use crate::{
    accounts::{self, UserFile},
    cli::{
        failure::Failure,
        output::{self, Stdout, message_count},
        owner::as_owner_of,
    },
    command_hint::restante,
    config::{Config, UnknownRecipients},
    loaded_config,
    maildir::{
        Kind, Spool, lock,
        relocation::{self, Moved},
        usage::usage,
    },
    proto::{
        request::{AccountDirectory, Lookup, Mailbox},
        smtp::address::Address,
    },
};

/// Refuses an account whose mailbox has the mail of a former one. `otherwise` is the other way of that command to get a
/// mailbox.
pub(super) fn refuse_former_mail(
    config: &Config,
    users: &UserFile,
    mailbox: &Mailbox,
    otherwise: &str,
) -> Result<(), Failure> {
    let found = match Spool::open_existing(&config.spool) {
        Ok(spool) => usage(&spool, mailbox.as_str())?.messages,
        Err(error) if error.kind() == Kind::Gone => 0,
        // Such a user could not write the accounts either.
        Err(error) if error.is_denied() => return Err(error.into()),
        Err(error) => {
            return Err(Failure::Other(format!(
                "cannot look for mail of a former account: {error}; add --keep-mail to do without"
            )));
        }
    };
    if found == 0 {
        return Ok(());
    }
    let (found, place) = (message_count(found), config.spool.join(mailbox.as_str()));
    let (found, place) = (format!("mail is there already, {found} in {}", place.display()), mailbox.as_str());
    Err(Failure::Usage(match users.owners_of(mailbox)?.as_slice() {
        [] => format!(
            "{found}, of a former account: add --keep-mail to give the new account that mail, or {otherwise}; \
             {} deletes it",
            restante(&["user", "remove", place, "--delete-mail"])
        ),
        owners => format!(
            "{found}, the mailbox of {}: add --keep-mail to share it, or {otherwise}",
            owners.join(" and ")
        ),
    }))
}

/// Refuses a first account if the file of accounts was probably lost: a server runs, or one has run and other mailboxes than
/// that of the account have mail. Mailboxes that were copied before the first start are no such sign.
pub(super) fn refuse_new_file(config: &Config, own: &Mailbox) -> Result<(), Failure> {
    let Ok(spool) = Spool::open_existing(&config.spool) else { return Ok(()) };
    let sign = if spool.is_in_use() {
        Some("a server uses the spool".to_owned())
    } else if exists(&config.spool.join(lock::FILE)) {
        other_mail(&spool, own).map(|name| format!("the spool has mail of other accounts, as of {name}"))
    } else {
        None
    };
    let Some(sign) = sign else { return Ok(()) };
    let file = config.accounts.display();
    Err(Failure::Usage(format!(
        "{file} is not there, and {sign}: restore the file from the backup first, because a new one takes the place of all its \
         accounts; if there is to be a new file, add --new-file"
    )))
}

/// Another mailbox that has mail.
fn other_mail(spool: &Spool, own: &Mailbox) -> Option<String> {
    let names = spool.names().ok()?;
    let is_other = |name: &String| Mailbox::named(name).is_some_and(|mailbox| mailbox != *own);
    let has_mail = |name: &String| usage(spool, name).is_ok_and(|usage| usage.messages > 0);
    names.into_iter().filter_map(|name| name.into_string().ok()).filter(is_other).find(has_mail)
}

/// Renames an account, and moves its mailbox.
pub(super) fn rename(
    config: &Config,
    (old, new): (&str, &str),
    (keep_mail, keep_address): (bool, bool),
    out: &mut Stdout,
) -> Result<(), Failure> {
    let users = UserFile::at(config.accounts.clone());
    let mailbox = accounts::own_mailbox(new);
    // With the new name there, this goes on with a rename that was not finished, or is a mistake.
    let is_new = !keep_mail && users.has(old)? && !users.has(new)?;
    if let Some(mailbox) = mailbox.as_ref().filter(|_| is_new) {
        refuse_former_mail(config, &users, mailbox, "take another new name")?;
    }
    let moved = users.rename(old, new, keep_address).map_err(|error| match error {
        accounts::Error::Exists(new) => Failure::Other(format!(
            "there is an account {new} already: nothing was renamed; take another new name, or remove that account first: {}",
            restante(&["user", "remove", &new])
        )),
        error => error.into(),
    })?;
    out.line(format_args!("renamed {old} to {new}, with its password and its settings"))?;
    if let (Some(from), Some(to)) = (&moved, &mailbox) {
        out.flush()?;
        move_mail(config, from.as_str(), to.as_str(), out)?;
    }
    out.line(format_args!(
        "in mail programs, change the user name and the address to {new}; the password is the same"
    ))?;
    out.line(mail_to_old_name(config, old, new, moved.is_some()))
}

/// The sentence about mail to the old name of an account, as the files have it now. `can_repeat` tells that the same
/// rename is accepted again.
fn mail_to_old_name(config: &Config, old: &str, new: &str, can_repeat: bool) -> String {
    let file = config.accounts.display();
    match UserFile::at(&config.accounts).owner_of(old) {
        Ok(Some(owner)) if owner == new => {
            return format!("mail to {old} still arrives: it is a further address of {new} in {file}");
        }
        Ok(Some(owner)) => return format!("mail to {old} goes to {owner}, which has that address"),
        _ => {}
    }
    // A mistake in the aliases is told after this, and then they count for nothing.
    let accounts = loaded_config::account_sources(config).load().ok();
    let lookup = Address::parse(old).ok().and_then(|old| Some(accounts?.lookup(&old)));
    if config.unknown_recipients == UnknownRecipients::Create {
        format!("mail to {old} gets a mailbox of its own, because `unknown_recipients` is \"create\"")
    } else if matches!(lookup, Some(Lookup::Local(_))) {
        format!("mail to {old} is taken by an alias now")
    } else if can_repeat {
        let again = restante(&["user", "rename", old, new, "--keep-address"]);
        format!("mail to {old} is refused now; to take it, run {again}")
    } else {
        format!(
            "mail to {old} is refused now; to take it, add \"addresses\": [{old:?}] to the account in {file}"
        )
    }
}

/// Moves a mailbox. A server that runs goes on delivering to the old one until it has read the accounts again.
fn move_mail(config: &Config, from: &str, to: &str, out: &mut Stdout) -> Result<(), Failure> {
    let spool = match Spool::open_existing(&config.spool) {
        Ok(spool) => spool,
        Err(error) if error.kind() == Kind::Gone => return Ok(()), // no mail has ever arrived
        Err(error) => return Err(error.into()),
    };
    let to_new = || Ok(relocation::move_mailbox(&spool, from, to)?);
    let mut moved = as_owner_of(&config.spool, to_new)?;
    if spool.is_in_use() {
        wait_for_reload(config, out)?;
        moved = as_owner_of(&config.spool, to_new)?;
    }
    let messages = message_count(usage(&spool, to)?.messages);
    out.line(format_args!("{messages} in {}", config.spool.join(to).display()))?;
    if moved == Moved::Part {
        out.line(format_args!(
            "some files are left in {}: a message that is arriving, or files of other programs; the same command \
             moves what has arrived",
            config.spool.join(from).display()
        ))?;
    }
    Ok(())
}

/// Removes an account, with its mail if that is wanted. Without the account, it deletes the mail that is left of it.
pub(super) fn remove_with_mail(
    config: &Config,
    name: &str,
    yes: bool,
    out: &mut Stdout,
) -> Result<(), Failure> {
    let users = UserFile::at(config.accounts.clone());
    let spool = match Spool::open_existing(&config.spool) {
        Ok(spool) => Some(spool),
        Err(error) if error.kind() == Kind::Gone => None, // no mail has ever arrived, or its disk is not mounted
        Err(error) => return Err(error.into()),
    };
    let account = match users.users() {
        Ok(users) => users.into_iter().find(|(known, _)| known == name).map(|(_, account)| account),
        Err(accounts::Error::Missing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let mailbox =
        account.as_ref().map_or_else(|| accounts::own_mailbox(name), |account| account.mailbox(name));
    let Some(mailbox) = mailbox else { return Err(accounts::Error::Absent(name.to_owned()).into()) };
    let others: Vec<String> = users.owners_of(&mailbox)?.into_iter().filter(|owner| owner != name).collect();
    if !others.is_empty() {
        return Err(Failure::Usage(format!(
            "the mailbox {} is that of {} too: nothing was removed; leave out --delete-mail",
            mailbox.as_str(),
            others.join(" and ")
        )));
    }
    let place = config.spool.join(mailbox.as_str());
    let is_partly_deleted = |spool| relocation::is_partly_deleted(spool, mailbox.as_str());
    let is_there = exists(&place) || spool.as_ref().is_some_and(is_partly_deleted);
    if account.is_none() && !is_there {
        return Err(accounts::Error::Absent(name.to_owned()).into());
    }
    let Some(spool) = spool else {
        users.remove(name)?;
        return out.line(format_args!(
            "removed {name}, which has no mail: there is no spool {}; if a disk has to be mounted there, mount it, and run {}",
            config.spool.display(),
            restante(&["user", "remove", name, "--delete-mail"])
        ));
    };
    if !is_there && !spool.is_in_use() {
        users.remove(name)?;
        return out.line(format_args!("removed {name}, which has no mail: there is no {}", place.display()));
    }
    let messages = message_count(usage(&spool, mailbox.as_str())?.messages);
    let question = format!("Delete {messages} in {}, for good?", place.display());
    if !yes && !output::confirm(&question)? {
        return Err(Failure::Other("nothing was removed".into()));
    }
    if account.is_some() {
        users.remove(name)?;
        out.line(format_args!("removed {name}"))?;
    }
    out.flush()?;
    let delete = || Ok(relocation::delete_mailbox(&spool, mailbox.as_str())?);
    as_owner_of(&config.spool, delete)?;
    if spool.is_in_use() {
        wait_for_reload(config, out)?;
        as_owner_of(&config.spool, delete)?;
    }
    out.line(format_args!("deleted {messages} in {}", place.display()))
}

/// The words about the mail of an account that is removed without it: where it stays, and the command that deletes it.
pub(super) fn left_behind(config: &Config, users: &UserFile, name: &str) -> String {
    let all = users.users().unwrap_or_default();
    let mailbox = all.iter().find(|(known, _)| known == name).and_then(|(_, account)| account.mailbox(name));
    let place = |mailbox: &Mailbox| Some(config.spool.join(mailbox.as_str())).filter(|place| exists(place));
    let Some((mailbox, place)) = mailbox.and_then(|mailbox| place(&mailbox).map(|place| (mailbox, place)))
    else {
        return ", which had no mail".into();
    };
    let is_shared = users.owners_of(&mailbox).is_ok_and(|owners| owners.len() > 1);
    if is_shared || accounts::own_mailbox(name) != Some(mailbox) {
        return format!(", whose mail stays in {}", place.display());
    }
    let delete = restante(&["user", "remove", name, "--delete-mail"]);
    format!(", whose mail stays in {}: {delete} deletes it", place.display())
}

/// Waits until a server that runs has read the accounts again.
fn wait_for_reload(config: &Config, out: &mut Stdout) -> Result<(), Failure> {
    out.line(format_args!("waiting until the server has read the accounts again"))?;
    out.flush()?;
    thread::sleep(config.limits.auth.reload_interval.0 + SLACK);
    Ok(())
}

fn exists(place: &Path) -> bool {
    place.symlink_metadata().is_ok()
}

/// Time for the reading itself.
const SLACK: Duration = Duration::from_secs(1);
